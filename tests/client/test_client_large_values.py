"""Values that one answer of the control socket cannot take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parents[1] / "control"))

from control_lab import open_lab
from model_lab import open_nodes

from primedht.client import AsyncClient
from primedht.errors import ValueTooLarge


async def test_get_many_says_which_values_are_to_be_got_by_themselves(tmp_path: Path) -> None:
    large = bytes(3 << 20)
    async with (
        open_nodes(1) as (node,),
        open_lab(cast("Any", node), tmp_path) as lab,
        AsyncClient(str(lab.addr)) as client,
    ):
        await client.put("large", large)
        await client.put("small", large[: 1 << 20])
        found = {item.key: item async for item in client.get_many(["large", "small"])}
        assert found[b"small"].result is not None
        assert found[b"small"].result.value == large[: 1 << 20]
        error = found[b"large"].error
        assert isinstance(error, ValueTooLarge)
        assert "by itself" in str(error)
        assert await client.get("large") == large
