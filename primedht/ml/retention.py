"""What of a run is kept here: pins of manifests and parts, until the run's record lists them no longer.

`checkpoint:<run>@<step>` pins a manifest; that of a step of one part keeps the part too. Of more parts, each
that is here has a pin of its own, `checkpoint:<run>@<step>#<i>-of-<n>`, as a node needs not have them all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from primedht.blocks.blocks import Blocks
from primedht.cids import Cid
from primedht.ml.run_records import FoundCheckpoint
from primedht.ml.runs import RunName, Shard, Steps

_PIN = "checkpoint:"
_STEP = re.compile(r"(?P<step>[0-9]+)(#[0-9]+-of-[0-9]+)?", re.ASCII)  # users may call theirs otherwise


def manifest_pin(run: RunName, step: int) -> str:
    """Return the name of a manifest's pin."""
    return f"{_PIN}{run}@{step}"


def part_pin(run: RunName, step: int, shard: Shard) -> str:
    """Return the name of a part's pin."""
    return f"{_PIN}{run}@{step}#{shard[0]}-of-{shard[1]}"


class Retention:
    """The pins of all runs of a node."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._busy: Counter[tuple[RunName, int]] = Counter()

    @contextmanager
    def busy(self, run: RunName, step: int) -> Iterator[None]:
        """Retire nothing of a step that is published or fetched within the block."""
        self._busy[run, step] += 1
        try:
            yield
        finally:
            self._busy[run, step] -= 1
            if not self._busy[run, step]:
                del self._busy[run, step]

    async def keep(self, found: FoundCheckpoint) -> None:
        """Pin a manifest, and the part of a step of one."""
        alone = len(found.manifest.parts) == 1
        name = manifest_pin(found.run, found.step)
        await self._blocks.pin(found.cid, name=name, recursive=alone, announce=False)

    async def keep_partly(self, found: FoundCheckpoint) -> list[tuple[Cid, str]]:
        """Keep what there is of a step from now on, all of which is being fetched; return the pins made."""
        parts = found.manifest.parts
        wanted = [(found.cid, manifest_pin(found.run, found.step))]
        if len(parts) > 1:
            count = len(parts)
            wanted = [(each.cid, part_pin(found.run, found.step, (i, count))) for i, each in enumerate(parts)]
        known = await self._pins(found.run)
        made = [each for each in wanted if (found.step, *each) not in known]
        for cid, name in made:
            await self._blocks.pins.add(cid, name=name, partial=True)
        return made

    async def retire(self, run: RunName, steps: Steps, found: FoundCheckpoint) -> None:
        """Unpin the steps that are listed no longer, and what was `found`'s before it was replaced."""
        latest = steps.listed[-1].step if steps.listed else -1
        listed = {each.step for each in steps.listed}
        own = {found.cid, *(part.cid for part in found.manifest.parts)}
        alone = len(found.manifest.parts) == 1
        for step, cid, name in await self._pins(run):
            is_over = step not in listed and step < latest and not self._busy[run, step]
            is_replaced = step == found.step and (cid not in own or (alone and cid != found.cid))
            if is_over or is_replaced:
                await self._blocks.unpin(cid, name=name)

    async def drop(self, run: RunName, step: int | None) -> int:
        """Unpin a step, or all of a run; return how many pins there were."""
        pins = [(cid, name) for number, cid, name in await self._pins(run) if step in (None, number)]
        return sum([await self._blocks.unpin(cid, name=name) for cid, name in pins])

    async def _pins(self, run: RunName) -> list[tuple[int, Cid, str]]:
        """Return what is pinned for a run: step, CID and the pin's name."""
        prefix = f"{_PIN}{run}@"
        return [
            (int(named["step"]), pin.cid, pin.name)
            async for pin in self._blocks.pins.all()
            if pin.name.startswith(prefix) and (named := _STEP.fullmatch(pin.name, len(prefix)))
        ]
