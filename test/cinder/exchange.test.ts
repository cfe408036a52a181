// Backups outlive the service that wrote them: each goes on with what the other made, and back.

import { exchangeScenario } from './scenarios.ts'

exchangeScenario('stock', 'stock')
exchangeScenario('stock', 'ours')
exchangeScenario('ours', 'stock')
