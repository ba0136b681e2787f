// What every pairing of implementations has to stand, beside echo and sink.
import { open, readAll, send, UNLIMITED } from './streams.mjs'

const RESET = '/test/reset/1.0.0'
const ABANDONED = new Uint8Array(100_000)

// Reads something of each stream, and resets it.
export async function serveResets (node) {
  await node.handle(RESET, (stream) => {
    readAll(stream, () => stream.abort(new Error('reset as asked')))
  }, UNLIMITED)
}

const message = (number) => new TextEncoder().encode(`${String(number).padStart(9, '0')} `.repeat(10))

// A stream whose answers can be awaited: `take(count)` resolves to so many bytes, `end` to how it ended.
async function openReader (node, request, signal) {
  const stream = await open(node, request, signal)
  let input = Buffer.alloc(0)
  let wanted = null
  let ended = null
  const settle = () => {
    if (wanted == null) return
    if (input.byteLength >= wanted.count) {
      const taken = input.subarray(0, wanted.count)
      input = input.subarray(wanted.count)
      const { resolve } = wanted
      wanted = null
      resolve(taken)
    } else if (ended != null) {
      wanted.reject(new Error(`the stream ended by ${ended}`))
    }
  }
  const end = readAll(stream, (data) => {
    input = Buffer.concat([input, data])
    settle()
  }).then((how) => {
    ended = how
    settle()
    if (how === 'eof' && input.byteLength > 0) throw new Error('more came back than was sent')
    return how
  })
  end.catch(() => {})
  const take = (count) => new Promise((resolve, reject) => {
    wanted = { count, resolve, reject }
    settle()
  })
  const call = async (body) => {
    await send(stream, body, signal)
    const got = await take(body.byteLength)
    if (!got.equals(body)) throw new Error(`${got} came back for ${Buffer.from(body)}`)
  }
  return { stream, call, end }
}

async function parallel (count, work) {
  await Promise.all(Array.from({ length: count }, (_, index) => work(index)))
}

// Has `count` messages of 100 bytes echoed, `streams` at a time, each on a stream of its own if `fresh`.
export async function calls (node, request, signal) {
  const { count, streams, fresh = false } = request
  const each = Math.floor(count / streams)
  await parallel(streams, async (worker) => {
    let reader = null
    for (let i = 0; i < each; i++) {
      reader ??= await openReader(node, request, signal)
      await reader.call(message(worker * each + i))
      if (fresh) {
        await reader.stream.close({ signal })
        reader = null
      }
    }
    await reader?.stream.close({ signal })
  })
  return { count: each * streams }
}

// Has `count` streams open at the same moment; each works before and after that, and ends.
export async function together (node, request, signal) {
  let waiting = request.count
  const { promise: allOpen, resolve } = Promise.withResolvers()
  await parallel(request.count, async (index) => {
    const reader = await openReader(node, request, signal)
    await reader.call(message(index))
    if (--waiting === 0) resolve()
    await allOpen
    await reader.call(message(index + request.count))
    await reader.stream.close({ signal })
    const how = await reader.end
    if (how !== 'eof') throw new Error(`a stream ended by ${how}`)
  })
  return { count: request.count }
}

// Writes to `count` streams and resets them; then one more must work.
export async function abandon (node, request, signal) {
  for (let i = 0; i < request.count; i++) {
    const stream = await open(node, request, signal)
    stream.send(ABANDONED)
    stream.abort(new Error('abandoned'))
  }
  return await calls(node, { ...request, count: 1, streams: 1 }, signal)
}
