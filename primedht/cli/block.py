"""`block get` and `block put`: single blocks, whatever is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from primedht.cids import CODEC_NAMES, Cid
from primedht.cli import common
from primedht.cli.common import AsJson, CidArgument, Control, DataDirOption, Timeout
from primedht.cli.help import App
from primedht.errors import InvalidArgument
from primedht.limits import BLOCK_BYTES_MAX

app = App(name="block", help="Single blocks.")


@app.command(epilog="Example: primedht block get bafkrei... -o block.bin")
def get(
    cid: CidArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")
    ] = None,
    timeout: Timeout = "60s",
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print a block's bytes, as they are."""
    wanted, limit_s = Cid.from_text(cid), common.timeout_s(timeout)
    data = common.client(control, data_dir).get_block(wanted, timeout=limit_s)
    common.write_output(data, output, what="the block")


@app.command(epilog="Example: primedht block put node.bin --codec dag-pb")
def put(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Its bytes; - is standard input.")],
    codec: Annotated[
        str, typer.Option(metavar="NAME", help=f"What the bytes are: {', '.join(CODEC_NAMES.values())}.")
    ] = "raw",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Store a block and print its CID; it stays until `primedht gc`, unless it is pinned."""
    codes = {name: code for code, name in CODEC_NAMES.items()}
    if codec not in codes:
        raise InvalidArgument(f"no codec {codec[:20]!r} here; choose one of {', '.join(codes)}")
    data = common.read_input(file, bytes_max=BLOCK_BYTES_MAX)
    cid = common.client(control, data_dir).put_block(data, codec=codes[codec])
    common.print_result({"cid": str(cid)}, str(cid), as_json=as_json)
