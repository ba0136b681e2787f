// js-libp2p uses Promise.withResolvers, which Node has from version 22 on.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((...functions) => { [resolve, reject] = functions })
  return { promise, resolve, reject }
}
