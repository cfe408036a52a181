import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { goldenBytes, goldenChain, goldenCodecs } from './golden.ts'

for (const codec of goldenCodecs) {
  test(`the golden chain of ${codec} is whole: every object has the ETag that Swift gave it`, () => {
    const chain = goldenChain(codec)

    for (const backup of chain.backups) {
      const chunks = backup.objects.filter(({ name }) => /-\d{5}$/.test(name))
      assert.equal(chunks.length, backup.object_count)
      assert.equal(backup.row.service_metadata, backup.prefix)
      for (const object of backup.objects) {
        const bytes = goldenBytes(chain, object)
        assert.equal(bytes.byteLength, object.bytes)
        assert.equal(createHash('md5').update(bytes).digest('hex'), object.etag)
      }
    }
    const [full, first, second] = chain.backups
    assert.deepEqual([full.parent_id, first.parent_id, second.parent_id], [null, full.id, first.id])
  })
}
