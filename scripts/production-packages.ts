// Prints the folders of the packages that the agent needs at run time, one a line. The Node that
// runs it is copied apart.

import { existsSync, readFileSync } from 'node:fs'
import process from 'node:process'

type Lock = { readonly packages: Readonly<Record<string, { dev?: true; devOptional?: true }>> }

const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as Lock
const folders = Object.entries(packages)
  .filter(([folder, { dev, devOptional }]) => folder !== '' && !dev && !devOptional)
  .map(([folder]) => folder)
  .filter((folder) => !folder.startsWith('node_modules/node-linux-') && existsSync(folder))

process.stdout.write(folders.map((folder) => `${folder}\n`).join(''))
