import { memorySpool } from '#src/adapters/spool/memory-spool.ts'

import { spoolContract } from '../../contracts/spool.ts'

spoolContract('memory spool', async () => memorySpool())
