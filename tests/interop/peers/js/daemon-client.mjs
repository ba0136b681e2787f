// Every call of npm's @libp2p/daemon-client against two daemons that know each other; PUBSUB's are
// refused. Arguments: CONTROL_A CONTROL_B PEER_ADDR ECHO; PEER_ADDR is a third peer, which serves
// ECHO. When all calls have passed, B's handler of ECHO serves one stream, `ready` is printed, and
// the end of standard input ends the program.
import './polyfill.mjs' // first: it must run before libp2p is evaluated
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@libp2p/daemon-client'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'

const PATIENCE_MS = 30_000
const [controlA, controlB, peerAddr, echo] = process.argv.slice(2)
// js writes a Unix path as one component.
const [a, b] = [controlA, controlB].map((text) => createClient(multiaddr(
  text.startsWith('/unix/') ? `/unix/${encodeURIComponent(text.slice('/unix'.length))}` : text
)))
const bytes = (text) => new TextEncoder().encode(text)
const text = (raw) => new TextDecoder().decode(raw.subarray())
const [idA, idB] = [await a.identify(), await b.identify()]

async function all (iterable) {
  const items = []
  for await (const item of iterable) items.push(item)
  return items
}

async function eventually (condition) {
  const deadline = Date.now() + PATIENCE_MS
  while (!await condition()) {
    assert(Date.now() < deadline, `not in time: ${condition}`)
    await sleep(50)
  }
}

// Resolves to what `count` bytes are that the other side sends.
async function read (stream, count) {
  let heard = Buffer.alloc(0)
  for await (const chunk of stream) {
    heard = Buffer.concat([heard, chunk.subarray()])
    if (heard.length >= count) break
  }
  return heard
}

async function connections () {
  await a.connect(idB.peerId, idB.addrs)
  assert((await a.listPeers()).some((id) => id.equals(idB.peerId)))
  await assert.rejects(a.connect(peerIdFromString('12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5'),
    [multiaddr('/ip4/127.0.0.1/tcp/1')]))
}

async function dht () {
  await eventually(() => a.dht.put(bytes('js key'), bytes('js value')).then(() => true, () => false))
  assert.equal(text(await b.dht.get(bytes('js key'))), 'js value')
  await assert.rejects(a.dht.get(bytes('nobody has this')), /routing: not found/)
  const found = await a.dht.findPeer(idB.peerId)
  const own = idB.addrs.map(String)
  assert(found.id.equals(idB.peerId))
  assert(found.multiaddrs.every((addr) => own.includes(String(addr))))
  const digest = Digest.create(0x12, new Uint8Array(32).fill(7))
  for (const cid of [CID.createV0(digest), CID.createV1(0x55, digest)]) {
    await a.dht.provide(cid)
    const providers = await all(b.dht.findProviders(cid, 3))
    assert.deepEqual(providers.map((info) => String(info.id)), [String(idA.peerId)])
  }
  const closest = await all(a.dht.getClosestPeers(idB.peerId.toMultihash().bytes))
  assert(closest.some((info) => info.id.equals(idB.peerId)))
  const publicKey = await a.dht.getPublicKey(idB.peerId)
  assert.deepEqual(Buffer.from(publicKey), Buffer.from(idB.peerId.toMultihash().digest))
}

async function streams () {
  await b.registerStreamHandler('/test/upper/1.0.0', async (stream) => {
    stream.send(bytes(text(await read(stream, 8)).toUpperCase()))
    await stream.close()
  })
  const ours = await a.openStream(idB.peerId, '/test/upper/1.0.0')
  ours.send(bytes('question'))
  assert.equal(text(await read(ours, 8)), 'QUESTION')
  await ours.close()
  await assert.rejects(a.openStream(idB.peerId, '/nobody/serves/this'))
  await assert.rejects(b.registerStreamHandler('/ipfs/ping/1.0.0', async () => {}))

  const [where, id] = peerAddr.split('/p2p/')
  await a.connect(peerIdFromString(id), [multiaddr(where)])
  const theirs = await a.openStream(peerIdFromString(id), echo)
  theirs.send(bytes('to another implementation'))
  assert.equal(text(await read(theirs, 25)), 'to another implementation')
  await theirs.close()
}

async function refused () {
  await assert.rejects(a.pubsub.getTopics(), /PUBSUB/)
  await assert.rejects(a.pubsub.publish('topic', bytes('data')), /PUBSUB/)
}

await connections()
await dht()
await streams()
await refused()
await b.registerStreamHandler(echo, async (stream) => {
  for await (const chunk of stream) {
    if (!stream.send(chunk)) await stream.onDrain()
  }
  await stream.close()
})
process.stdout.write('ready\n')
process.stdin.resume().once('end', () => process.exit(0))
