import { randomUUID } from 'node:crypto'

import { keystoneToken } from '../test/support/keystone.ts'
import { serviceScript, services } from '../test/support/services.ts'
import { containerOf } from '../test/support/stores.ts'
import { cpuSecondsOf } from './process-usage.ts'

export type RealSwift = {
  readonly projectId: string
  readonly token: string
  /** `http://…/v1/AUTH_`. */
  readonly url: string
  readonly origin: string
  /** A container that is gone, with what is in it, when the stack ends. */
  readonly container: string
  /** Makes so many objects of a few bytes, named as the chunks of a backup. */
  makeChunks(prefix: string, count: number): Promise<void>
  /** Whether nothing is there whose name starts so. */
  isEmpty(prefix: string): Promise<boolean>
}

/** The Swift of `scripts/services`, with a token that lives an hour. */
export async function realSwift(stack: AsyncDisposableStack): Promise<RealSwift> {
  const { token, projectId, swiftUrl } = await keystoneToken('demo')
  const name = `bench-${randomUUID()}`
  const login = async () => ({ url: swiftUrl, token: (await keystoneToken('demo')).token })
  const container = await containerOf(login, name)
  await container.create()
  stack.defer(() => container.destroy())
  const origin = services().swift.url

  async function extract(archive: Buffer): Promise<void> {
    const answer = await fetch(`${swiftUrl}/${name}?extract-archive=tar`, {
      method: 'PUT',
      headers: { 'x-auth-token': token, accept: 'application/json' },
      body: new Uint8Array(archive),
    })
    const told = (await answer.json()) as { readonly 'Response Status': string }
    if (told['Response Status'] !== '201 Created') {
      throw new Error(`swift did not take an archive: ${JSON.stringify(told)}`)
    }
  }

  return {
    projectId,
    token,
    url: `${origin}/v1/AUTH_`,
    origin,
    container: name,
    async makeChunks(prefix, count) {
      const numbers = Array.from({ length: count }, (_, index) => index + 1)
      const writers = 8
      const share = Math.ceil(count / writers)
      await Promise.all(
        Array.from({ length: writers }, (_, writer) => {
          const own = numbers.slice(writer * share, (writer + 1) * share)
          return own.length === 0 ? null : extract(archiveOf(prefix, own))
        }),
      )
    },
    isEmpty: async (prefix) => (await container.list(prefix)).length === 0,
  }
}

const tarBlock = 512

/** A tar of small files `<prefix>-<number>`, in the form that POSIX calls ustar. */
function archiveOf(prefix: string, numbers: readonly number[]): Buffer {
  const cut = prefix.lastIndexOf('/')
  const entries = numbers.map((number) => {
    const entry = Buffer.alloc(2 * tarBlock)
    const name = `${prefix.slice(cut + 1)}-${String(number).padStart(5, '0')}`
    const content = `chunk ${number}\n`
    entry.write(name, 0)
    entry.write('0000644\x000000000\x000000000\0', 100)
    entry.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124)
    entry.write('00000000000\0        0', 136)
    entry.write('ustar\u000000', 257)
    entry.write(prefix.slice(0, cut), 345)
    const sum = entry.subarray(0, tarBlock).reduce((total, byte) => total + byte, 0)
    entry.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    entry.write(content, tarBlock)
    return entry
  })
  return Buffer.concat([...entries, Buffer.alloc(2 * tarBlock)])
}

let swiftPids: readonly number[] | undefined

/** User and system time of the Swift servers and their workers so far. */
export async function swiftCpuSeconds(): Promise<number> {
  swiftPids ??= [
    ...(await serviceScript()('status')).matchAll(/^swift-\S+ up \(pid (\d+)\)$/gm),
  ].map(([, pid]) => Number(pid))
  return cpuSecondsOf(swiftPids)
}
