// Helia over this peer's libp2p, its blocks in memory.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'

export async function startHelia (libp2pConfig) {
  const helia = withBitswap(withLibp2pLight(createHeliaLight(), libp2pConfig))
  await helia.start()
  return helia
}

export function blockOperations (helia) {
  const fs = unixfs(helia)
  return {
    // Helia's own defaults: 1 MiB chunks, raw leaves, 1024 links.
    async add_file ({ path }, signal) {
      const cid = await fs.addByteStream(createReadStream(path), { signal })
      return { cid: cid.bytes }
    },
    async fetch ({ cid }, signal) {
      const started = performance.now()
      const hash = createHash('sha256')
      let size = 0
      for await (const piece of fs.cat(CID.decode(Buffer.from(cid, 'base64')), { signal })) {
        hash.update(piece)
        size += piece.length
      }
      return { seconds: (performance.now() - started) / 1000, bytes_n: size, sha256: hash.digest('hex') }
    }
  }
}
