// Cinder's own backup service: what our agent must do as well in its place.

import { backupScenarios } from './scenarios.ts'

backupScenarios('stock')
