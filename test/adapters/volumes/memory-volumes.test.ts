import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import { testVolumes } from '../../contracts/volumes.ts'

testVolumes('memoryVolumes', async () => {
  const contents = new Map<string, Uint8Array>()
  return {
    volumes: memoryVolumes(contents),
    async put(id, bytes) {
      contents.set(id, bytes.slice())
    },
    async bytes(id) {
      return contents.get(id) ?? new Uint8Array()
    },
    async replace(id, bytes) {
      contents.set(id, bytes.slice())
    },
    async [Symbol.asyncDispose]() {},
  }
})
