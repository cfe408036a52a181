// Our agent in the place of Cinder's own backup service.

import { backupScenarios } from './scenarios.ts'

backupScenarios('ours')
