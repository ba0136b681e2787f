"""`tensor`: single tensors of models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from primedht.cli import common
from primedht.cli.common import AsJson, Control, DataDirOption, Timeout
from primedht.cli.help import App
from primedht.cli.model import NameArgument
from primedht.cli.progress import Meter
from primedht.errors import InvalidArgument

if TYPE_CHECKING:
    from primedht.tensors.arrays import Array

app = App(name="tensor", help="Single tensors of models.")


@app.command(epilog="Example: primedht tensor get org/llama model.norm.weight -o norm.npy --as float32")
def get(
    name: NameArgument,
    tensor: Annotated[str, typer.Argument(metavar="TENSOR", help="Its name, such as model.norm.weight.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Write it here: .safetensors or .npy.")
    ],
    as_type: Annotated[
        str | None, typer.Option("--as", metavar="TYPE", help="Convert it, such as to float32.")
    ] = None,
    timeout: Timeout = "10m",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write one tensor of a model to a file; only its blocks are fetched."""
    if output.suffix not in (".safetensors", ".npy"):
        raise InvalidArgument(f"{output} ends in neither .safetensors nor .npy; name it so")
    from primedht.tensors.dtypes import dtype_named, dtype_of

    wanted = None if as_type is None else dtype_of(as_type)
    daemon, limit_s = common.client(control, data_dir), common.timeout_s(timeout)
    place = daemon.models.find_tensor(name, tensor, timeout=limit_s)
    dtype = dtype_named(place.dtype) if wanted is None else wanted
    if output.suffix == ".npy" and dtype.extension:
        raise InvalidArgument(
            f"numpy's files have no {dtype.numpy_name}; add --as float32, or write a .safetensors file"
        )
    from primedht.tensors.arrays import numpy_dtype, save_tensors

    with Meter("fetching", quiet=as_json):
        array = daemon.models.tensor(name, tensor, timeout=limit_s)
    array = array.astype(numpy_dtype(dtype), copy=False)
    if output.suffix == ".npy":
        _save_npy(output, array)
    else:
        save_tensors(output, {tensor: array})
    shown = {"path": str(output), "dtype": dtype.numpy_name, "shape": list(array.shape)}
    common.print_result(shown, f"{output}  {dtype.numpy_name} {list(array.shape)}", as_json=as_json)


def _save_npy(path: Path, array: Array) -> None:
    import numpy as np

    from primedht.whole_file import WholeFile

    whole = WholeFile(path)
    try:
        np.lib.format.write_array(whole, array, allow_pickle=False)
        whole.commit()
    finally:
        whole.close()
