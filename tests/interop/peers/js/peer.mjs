// A js-libp2p peer with its Kademlia DHT, driven by JSON lines (see ../README.md).
import './polyfill.mjs' // first: it must run before libp2p is evaluated
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { generateKeyPair, generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { identify, identifyPush } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { preSharedKey } from '@libp2p/pnet'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { ipnsSelector } from 'ipns/selector'
import { ipnsValidator } from 'ipns/validator'
import { createLibp2p } from 'libp2p'
import { operations } from './ops.mjs'
import { serveResets } from './pairs.mjs'
import { serveStreams } from './streams.mjs'

const { values: flags } = parseArgs({
  options: {
    prefix: { type: 'string', default: '/ipfs' },
    mode: { type: 'string', default: 'server' },
    listen: { type: 'string', default: '/ip4/127.0.0.1/tcp/0' },
    'key-type': { type: 'string', default: 'ed25519' },
    seed: { type: 'string', default: '-1' },
    tls: { type: 'boolean', default: false },
    psk: { type: 'string', default: '' },
    'lifetime-s': { type: 'string', default: '600' },
    bitswap: { type: 'boolean', default: false },
    'refresh-s': { type: 'string', default: '10' },
    'kad-streams-max': { type: 'string', default: '32' }, // its own default, of one connection
    validator: { type: 'string', multiple: true, default: [] }
  }
})

setTimeout(() => {
  console.error('lifetime over')
  process.exit(3)
}, Number(flags['lifetime-s']) * 1000).unref()

// A seed gives the same Ed25519 identity here as in the go peer.
async function identity (keyType, seed) {
  if (seed >= 0) {
    if (keyType !== 'ed25519') throw new Error('only an ed25519 identity can come from a seed')
    const digest = createHash('sha256').update(`primedht-interop-${seed}`).digest()
    return await generateKeyPairFromSeed('Ed25519', new Uint8Array(digest))
  }
  const name = { ed25519: 'Ed25519', rsa: 'RSA', secp256k1: 'secp256k1', ecdsa: 'ECDSA' }[keyType]
  if (name == null) throw new Error(`unknown key type ${keyType}`)
  return name === 'RSA' ? await generateKeyPair(name, 2048) : await generateKeyPair(name)
}

async function start () {
  if (!['server', 'client'].includes(flags.mode)) throw new Error(`unknown mode ${flags.mode}`)
  const privateKey = await identity(flags['key-type'], Number(flags.seed))
  const validators = { ipns: ipnsValidator }
  const selectors = { ipns: ipnsSelector }
  for (const name of flags.validator) {
    validators[name] = () => {}
    selectors[name] = selectGreatest
  }
  const config = {
    privateKey,
    addresses: { listen: [flags.listen] },
    transports: [tcp()],
    connectionEncrypters: flags.tls ? [noise(), tls()] : [noise()],
    // The default is 1000 each way, of all protocols; the tests have 1000 of one.
    streamMuxers: [yamux({ maxInboundStreams: 2000, maxOutboundStreams: 2000 })],
    connectionProtector: flags.psk === '' ? undefined : preSharedKey({ psk: readFileSync(flags.psk) }),
    nodeInfo: { userAgent: 'primedht-interop-js' },
    // The default admits 5 connections a second from one host, and here every peer is on one.
    connectionManager: { inboundConnectionThreshold: Infinity, maxIncomingPendingConnections: 1000 },
    services: {
      identify: identify(),
      push: identifyPush(),
      ping: ping({ maxOutboundStreams: 64 }), // the default is one, which the DHT also uses
      dht: kadDHT({
        protocol: `${flags.prefix}/kad/1.0.0`,
        clientMode: flags.mode === 'client',
        maxInboundStreams: Number(flags['kad-streams-max']),
        peerInfoMapper: passthroughMapper, // the default drops private and loopback addresses
        allowQueryWithZeroPeers: true, // or an operation without peers waits for ever
        initialQuerySelfInterval: 200,
        querySelfInterval: Number(flags['refresh-s']) * 1000,
        validators,
        selectors
      })
    }
  }
  // Helia takes seconds to load, so only peers that need it do.
  const blocks = flags.bitswap ? await import('./blocks.mjs') : null
  const helia = await blocks?.startHelia(config)
  const node = helia?.libp2p ?? await createLibp2p(config)
  await serveStreams(node)
  await serveResets(node)
  return { node, privateKey, stop: () => (helia ?? node).stop(), blockHandlers: blocks?.blockOperations(helia) }
}

// The greater value wins, byte by byte; the first of equal ones.
function selectGreatest (_key, records) {
  let best = 0
  records.forEach((record, index) => {
    if (Buffer.compare(record, records[best]) > 0) best = index
  })
  return best
}

// Binary fields are base64 in JSON; make every Uint8Array of an answer so.
function write (message) {
  const text = JSON.stringify(message, (_name, value) => {
    if (value?.type === 'Buffer') return Buffer.from(value.data).toString('base64')
    return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value
  })
  process.stdout.write(text + '\n')
}

async function answer (handlers, request) {
  const signal = AbortSignal.timeout(request.timeout_ms ?? 30_000)
  try {
    const handler = handlers[request.op]
    if (handler == null) throw new Error(`unknown op ${request.op}`)
    write({ ...await handler(request, signal), id: request.id, ok: true })
  } catch (error) {
    const causes = error.errors?.map((cause) => cause.message).join('; ')
    write({ id: request.id, ok: false, error: `${error.name}: ${error.message}${causes ? ` (${causes})` : ''}` })
  }
}

const peer = await start()
const handlers = { ...operations(peer), ...peer.blockHandlers }
write({
  event: 'ready',
  peer_id: peer.node.peerId.toString(),
  addrs: peer.node.getMultiaddrs().map(String)
})
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  if (request.op === 'stop') {
    write({ id: request.id, ok: true })
    break
  }
  void answer(handlers, request)
}
await peer.stop()
process.exit(0)
