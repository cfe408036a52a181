// Writes the files that come from the schema. Run it after a change of an option or an error code.

import { writeFileSync } from 'node:fs'

import { sampleFile } from '#src/config/sample.ts'
import { configurationPage } from './configuration-page.ts'

writeFileSync('config/agent.conf.sample', sampleFile())
writeFileSync('docs/configuration.md', configurationPage())
