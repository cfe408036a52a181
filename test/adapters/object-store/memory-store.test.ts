import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { testObjectStore } from '../../contracts/object-store.ts'

testObjectStore('memoryStore', async () => ({ store: memoryStore(2), container: 'backups' }))
