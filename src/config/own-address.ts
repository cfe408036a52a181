import { readFileSync } from 'node:fs'

/**
 * The IPv4 address of this machine on the way out: of its own addresses the one in the network of the default
 * route's interface, else the first, else 127.0.0.1. Read from files, for the unit allows no netlink, by
 * which the runtime would ask. Source of the meaning: oslo_utils/netutils.py, `get_my_ipv4`;
 * cinder/common/config.py, `my_ip`; of the columns: proc(5).
 */
export function ownAddress(
  routes = readText('/proc/net/route'),
  addresses = readText('/proc/net/fib_trie'),
): string {
  const own = [...addresses.matchAll(/\|-- ([\d.]+)\n\s+\/32 host LOCAL/g)]
    .map(([, address = '']) => address)
    .filter((address) => !address.startsWith('127.'))
  const networks = networksOf(routes)
  const outward = own.find((address) => networks.some((network) => isIn(address, network)))
  return outward ?? own[0] ?? '127.0.0.1'
}

type Network = { readonly base: number; readonly mask: number }

/** Those that the interface of the default route is connected to; of several routes that of the least metric. */
function networksOf(text: string): readonly Network[] {
  const routes = text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(({ length }) => length > 7)
    .map(([device, target = '', gateway = '', , , , metric, mask = '']) => {
      return {
        device,
        base: hexAddress(target),
        gateway,
        metric: Number(metric),
        mask: hexAddress(mask),
      }
    })
  const [out] = routes
    .filter(({ base, mask }) => base === 0 && mask === 0)
    .toSorted((a, b) => a.metric - b.metric)
  return routes.filter(({ device, mask }) => device === out?.device && mask !== 0)
}

/** The kernel writes them as numbers of the machine, whose bytes are the other way round. */
function hexAddress(hex: string): number {
  return Buffer.from(hex, 'hex').readUInt32LE()
}

function isIn(address: string, { base, mask }: Network): boolean {
  const value = Buffer.from(address.split('.').map(Number)).readUInt32BE()
  return (value & mask) >>> 0 === (base & mask) >>> 0
}

/** Empty where it cannot be read. */
function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
