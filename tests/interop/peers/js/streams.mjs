import { createHash, randomBytes } from 'node:crypto'
import { peerIdFromString } from '@libp2p/peer-id'
import * as varint from 'uint8-varint'

const ECHO = '/test/echo/1.0.0'
const SINK = '/test/sink/1.0.0'
const DISCARD = '/test/discard/1.0.0'
const SOURCE = '/test/source/1.0.0'
const SOURCE_CHUNK = new Uint8Array(64 << 10)
export const UNLIMITED = { maxInboundStreams: 100_000, maxOutboundStreams: 100_000 }
const held = [] // keeps streams from being collected

// Answers the test protocols: echo; sink (8-byte count, then SHA-256); for benchmarks discard, a sink
// that only counts, and source, which sends as many bytes as 8 bytes ask for.
export async function serveStreams (node) {
  await node.handle(ECHO, async (stream) => {
    const end = await readAll(stream, async (data) => await send(stream, data))
    if (end === 'eof') await stream.close()
  }, UNLIMITED)
  await node.handle(SINK, async (stream) => {
    const digest = createHash('sha256')
    let count = 0n
    const end = await readAll(stream, (data) => {
      digest.update(data)
      count += BigInt(data.byteLength)
    })
    if (end !== 'eof') return
    await send(stream, sinkAnswer(count, digest.digest()))
    await stream.close()
  }, UNLIMITED)
  await node.handle(DISCARD, async (stream) => {
    let count = 0n
    const end = await readAll(stream, (data) => { count += BigInt(data.byteLength) })
    if (end !== 'eof') return
    await send(stream, sinkAnswer(count, Buffer.alloc(0)))
    await stream.close()
  }, UNLIMITED)
  await node.handle(SOURCE, (stream) => {
    let asked = Buffer.alloc(0)
    readAll(stream, (data) => {
      asked = Buffer.concat([asked, data])
      if (asked.byteLength >= 8) sendZeros(stream, Number(asked.readBigUInt64BE()))
    })
  }, UNLIMITED)
}

async function sendZeros (stream, count) {
  for (let left = count; left > 0; left -= SOURCE_CHUNK.byteLength) {
    await send(stream, SOURCE_CHUNK.subarray(0, left))
  }
  await stream.close()
}

function sinkAnswer (count, digest) {
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64BE(BigInt(count))
  return new Uint8Array(Buffer.concat([prefix, digest]))
}

export async function open (node, { peer, protocol }, signal) {
  const options = { signal, maxOutboundStreams: UNLIMITED.maxOutboundStreams }
  return await node.dialProtocol(peerIdFromString(peer), [protocol], options)
}

export async function send (stream, data, signal) {
  if (!stream.send(data)) await stream.onDrain({ signal })
}

// Passes all input to `onData`, one piece at a time, and tells how it ended: eof, reset or aborted.
// Not `for await` over the stream, which misses an end that came before the loop began.
export function readAll (stream, onData) {
  stream.maxReadBufferLength = Infinity // a paused stream is bounded by its window
  return new Promise((resolve, reject) => {
    const atEnd = () => {
      resolve({ reset: 'reset', aborted: 'aborted' }[stream.status] ?? 'eof')
    }
    let waiting = false
    let ended = false
    stream.addEventListener('message', ({ data }) => {
      const done = onData(data.subarray())
      if (done == null) return
      waiting = true
      if (stream.readStatus === 'readable') stream.pause()
      done.then(() => {
        waiting = false
        if (ended) atEnd()
        else if (stream.readStatus === 'paused') stream.resume()
      }, reject)
    })
    stream.addEventListener('end', () => {
      ended = true
      if (!waiting || stream.status !== 'open') atEnd()
    })
    if (stream.readableEnded) atEnd()
  })
}

// Reports the frames that came and how the stream stood after the last one.
export async function rawRequest (node, request, signal) {
  const { frames_b64: frames = [], raw_b64: rest = '', half_close: halfClose = false, read_frames: wanted = 0 } = request
  const stream = await open(node, request, signal)
  const received = []
  let input = Buffer.alloc(0)
  const enough = new Promise((resolve) => {
    if (wanted === 0) resolve('open')
    readAll(stream, (data) => {
      input = Buffer.concat([input, data])
      for (let frame; received.length < wanted && (frame = takeFrame(input)) != null;) {
        received.push(frame.body)
        input = frame.rest
      }
      if (received.length === wanted) resolve('open')
    }).then(resolve)
  })
  const timeout = new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve('timeout'))
  })
  try {
    const output = frames.map((frame) => Buffer.from(frame, 'base64'))
      .flatMap((frame) => [varint.encode(frame.byteLength), frame])
    const all = Buffer.concat([...output, Buffer.from(rest, 'base64')])
    if (all.byteLength > 0) await send(stream, new Uint8Array(all), signal)
    if (halfClose) await stream.close({ signal })
  } catch (error) {
    // A reset by the other side is a result here; `enough` has it.
    if (stream.status !== 'reset') throw error
  }
  const end = await Promise.race([enough, timeout])
  if (end === 'timeout') stream.abort(new Error('timeout'))
  else if (stream.status === 'open') await stream.close()
  return { frames_b64: received, end }
}

function takeFrame (input) {
  let size
  try {
    size = varint.decode(input)
  } catch {
    return null // the length itself is not all there
  }
  const begin = varint.encodingLength(size)
  if (input.byteLength < begin + size) return null
  return { body: input.subarray(begin, begin + size), rest: input.subarray(begin + size) }
}

export async function holdStream (node, request, signal) {
  const stream = await open(node, request, signal)
  stream.inactivityTimeout = 2 ** 31 - 1
  held.push(stream)
}

// Sends pseudo-random bytes while reading them back, half-closing after the last one.
export async function echo (node, request, signal) {
  const began = performance.now()
  const received = createHash('sha256')
  const { sent, count } = await exchange(node, request, signal, (data) => { received.update(data) })
  if (!sent.equals(received.digest())) {
    throw new Error(`echo differs: ${count} of ${request.bytes_n} bytes came back`)
  }
  return { bytes_n: count, seconds: (performance.now() - began) / 1000 }
}

export async function sink (node, request, signal) {
  const began = performance.now()
  const pieces = []
  const { sent } = await exchange(node, request, signal, (data) => { pieces.push(data) })
  const want = sinkAnswer(request.bytes_n, sent)
  const got = Buffer.concat(pieces)
  if (!got.equals(want)) throw new Error(`sink answered ${got.toString('hex')}`)
  return { bytes_n: request.bytes_n, seconds: (performance.now() - began) / 1000 }
}

async function exchange (node, request, signal, onData) {
  const stream = await open(node, request, signal)
  signal.addEventListener('abort', () => stream.abort(new Error('timeout')))
  let count = 0
  const input = readAll(stream, (data) => {
    count += data.byteLength
    onData(data)
  })
  const digest = createHash('sha256')
  for (let left = request.bytes_n; left > 0;) {
    const piece = randomBytes(Math.min(left, Math.max(request.chunk ?? 65536, 1)))
    left -= piece.byteLength
    digest.update(piece)
    await send(stream, new Uint8Array(piece), signal)
  }
  await stream.close({ signal })
  const end = await input
  if (end !== 'eof') throw new Error(`stream ended by ${end} after ${count} bytes`)
  return { sent: digest.digest(), count }
}
