"""What `gc` tells a person, above all where it can remove nothing."""

from primedht.cids import Cid
from primedht.cli.content import gc_lines
from primedht.client._blocks import Collected, Pin

ROOT, NODE = Cid.of(b"root"), Cid.of(b"node")
PIN = Pin(ROOT, "model:me/big model@1", True, False, 0.0, None)


def test_what_was_removed_is_said() -> None:
    assert gc_lines(Collected(3, 2048, 1, 5, ())) == [
        "3 blocks removed, 2.0 KiB",
        "1 file could not be removed; the next run tries again",
    ]


def test_a_broken_pin_is_named_with_what_it_costs_and_what_to_do() -> None:
    done = Collected(0, 0, 0, 5, ((PIN, NODE, "block_not_found"),), 12, 3 << 20)
    assert gc_lines(done) == [
        "no block removed: a broken pin may keep the 12 blocks, 3.0 MiB, that no other pin needs",
        f"broken pin {ROOT} model:me/big model@1: {NODE} is not here, and no peer gave it (block_not_found)",
        f"  to get it back: primedht pin {ROOT} --name 'model:me/big model@1'",
        f"  to give it up:  primedht unpin {ROOT} --name 'model:me/big model@1'",
    ]
    unnamed = PIN._replace(name="")
    [first, second, third, _] = gc_lines(Collected(0, 0, 0, 5, ((unnamed, NODE, "invalid_dag"),)))
    assert first == "no block removed: a pin is broken, and nothing else could go"
    assert second == f"broken pin {ROOT}: {NODE} cannot be followed (invalid_dag)"
    assert third == f"  to get it back: primedht pin {ROOT}"
