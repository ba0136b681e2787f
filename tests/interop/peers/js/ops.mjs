import { publicKeyToProtobuf } from '@libp2p/crypto/keys'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { createIPNSRecord, marshalIPNSRecord, multihashToIPNSRoutingKey } from 'ipns'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import * as Digest from 'multiformats/hashes/digest'
import { setTimeout as sleep } from 'node:timers/promises'
import { abandon, calls, together } from './pairs.mjs'
import { echo, holdStream, rawRequest, sink } from './streams.mjs'

const bytes = (base64) => new Uint8Array(Buffer.from(base64, 'base64'))
const text = (value) => value == null ? '' : new TextDecoder().decode(value)
const infos = (peers) => peers.map(({ id, multiaddrs }) => ({
  id: id.toString(), addrs: multiaddrs.map(String)
}))

// A DHT operation only runs while its events are read; `found` picks what the caller wants.
async function collect (events, found) {
  const results = []
  for await (const event of events) results.push(...found(event))
  return results
}

async function orNull (promise) {
  try {
    return await promise
  } catch (error) {
    if (error.name === 'NotFoundError') return null
    throw error
  }
}

// The ops of one peer: functions of a request and the signal of its time limit.
export function operations ({ node, privateKey }) {
  const dht = node.services.dht
  const contentKey = (request) => request.cid != null
    ? CID.decode(bytes(request.cid))
    : CID.createV1(raw.code, Digest.decode(bytes(request.multihash)))

  // Reports how many peers took the record, which the DHT counts as events and not as failures.
  async function put (key, value, signal) {
    const replies = await collect(dht.put(key, value, { signal }), (event) =>
      event.name === 'PEER_RESPONSE' && event.messageName === 'PUT_VALUE' ? [event] : [])
    return { stored: replies.length }
  }

  return {
    async connect ({ addr }, signal) {
      await node.dial(multiaddr(addr), { signal })
    },
    async disconnect ({ peer }, signal) {
      await node.hangUp(peerIdFromString(peer), { signal })
    },
    async peers () {
      const table = [...dht.routingTable.kb.toIterable()].map(({ peerId }) => peerId.toString())
      return {
        connected: node.getPeers().map(String),
        table: table.filter((id) => id !== node.peerId.toString())
      }
    },
    async ping ({ peer }, signal) {
      return { rtt_ms: await node.services.ping.ping(peerIdFromString(peer), { signal }) }
    },
    // What the peer store holds, so also what a later identify push changed.
    async identify ({ peer }, signal) {
      const id = peerIdFromString(peer)
      let entry = await orNull(node.peerStore.get(id))
      while (!entry?.protocols.length) {
        await sleep(20, undefined, { signal })
        entry = await orNull(node.peerStore.get(id))
      }
      return {
        protocols: entry.protocols,
        addrs: entry.addresses.map(({ multiaddr }) => multiaddr.toString()),
        signed_record: entry.peerRecordEnvelope != null,
        agent: text(entry.metadata.get('AgentVersion')),
        protocol_version: text(entry.metadata.get('ProtocolVersion'))
      }
    },
    async find_peer ({ peer }, signal) {
      const found = await collect(dht.findPeer(peerIdFromString(peer), { signal }), (event) =>
        event.name === 'FINAL_PEER' ? [event.peer] : [])
      if (found.length === 0) throw new Error('not found')
      return { addrs: found[0].multiaddrs.map(String) }
    },
    async closest_peers ({ key }, signal) {
      const peers = await collect(dht.getClosestPeers(bytes(key), { signal }), (event) =>
        event.name === 'FINAL_PEER' ? [event.peer.id.toString()] : [])
      return { peers }
    },
    async put ({ key, value }, signal) {
      return await put(bytes(key), bytes(value), signal)
    },
    async get ({ key }, signal) {
      const values = await collect(dht.get(bytes(key), { signal }), (event) =>
        event.name === 'VALUE' ? [event.value] : [])
      return { value: values.at(-1) ?? null }
    },
    async local_record ({ key }) {
      const record = await orNull(dht.contentFetching.getLocal(bytes(key), {}))
      return record == null
        ? { value: null }
        : { value: record.value, time_received: record.timeReceived.toISOString() }
    },
    async provide (request, signal) {
      await collect(dht.provide(contentKey(request), { signal }), () => [])
    },
    async find_providers (request, signal) {
      const found = []
      const limit = request.count > 0 ? request.count : Infinity
      for await (const event of dht.findProviders(contentKey(request), { signal })) {
        if (event.name === 'PROVIDER') found.push(...event.providers)
        if (found.length >= limit) break
      }
      return { providers: infos(found.slice(0, limit)) }
    },
    async local_providers (request) {
      const ids = await dht.providers.getProviders(contentKey(request))
      return { providers: ids.map((id) => ({ id: id.toString(), addrs: [] })) }
    },
    async publish_pk (_request, signal) {
      const key = Buffer.concat([Buffer.from('/pk/'), node.peerId.toMultihash().bytes])
      const value = publicKeyToProtobuf(privateKey.publicKey)
      return { key, value, ...await put(new Uint8Array(key), value, signal) }
    },
    async make_ipns ({ value, seq, lifetime_s: lifetime }) {
      const record = await createIPNSRecord(privateKey, text(bytes(value)), seq, lifetime * 1000)
      return {
        key: multihashToIPNSRoutingKey(node.peerId.toMultihash()), record: marshalIPNSRecord(record)
      }
    },
    async set_mode ({ mode }, signal) {
      await dht.setMode(mode, { signal })
    },
    raw_request: (request, signal) => rawRequest(node, request, signal),
    hold_stream: (request, signal) => holdStream(node, request, signal),
    echo: (request, signal) => echo(node, request, signal),
    sink: (request, signal) => sink(node, request, signal),
    calls: (request, signal) => calls(node, request, signal),
    together: (request, signal) => together(node, request, signal),
    abandon: (request, signal) => abandon(node, request, signal)
  }
}
