"""PyPI's p2pclient starts `p2pd` from PATH by itself, waits for its lines and uses it.

No arguments; succeeds when a value put through one daemon is found through another.
"""

from contextlib import AsyncExitStack
from pathlib import Path

import anyio
from p2pclient.daemon import DaemonTuple, make_p2pd_pair_unix
from p2pclient.exceptions import ControlFailure

PATIENCE_S = 60


async def main() -> None:
    with anyio.fail_after(2 * PATIENCE_S):
        async with AsyncExitStack() as stack:
            a, b = [await started(stack) for _ in range(2)]
            id_b, addrs_b = await b.client.identify()
            await a.client.connect(id_b, addrs_b)
            while not await is_put(a):  # noqa: ASYNC110
                await anyio.sleep(0.05)
            assert await b.client.dht_get_value(b"key") == b"value"


async def started(stack: AsyncExitStack) -> DaemonTuple:
    options = {"enable_control": True, "enable_connmgr": True, "enable_dht": True, "enable_pubsub": False}
    pair = await stack.enter_async_context(make_p2pd_pair_unix("p2pd", **options))
    for left_over in (pair.daemon.log_filename, str(pair.client.control.listen_maddr).removeprefix("/unix")):
        stack.callback(Path(left_over).unlink, missing_ok=True)
    return pair


async def is_put(pair: DaemonTuple) -> bool:
    try:
        await pair.client.dht_put_value(b"key", b"value")
    except ControlFailure:
        return False
    return True


anyio.run(main)
