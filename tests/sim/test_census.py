from random import Random
from types import SimpleNamespace

from primedht.kad.key import key_of
from primedht.sim.census import Census


def test_the_census_agrees_with_sorting_everybody():
    rng = Random(1)
    nodes = [SimpleNamespace(key=key_of(rng.randbytes(8))) for _ in range(300)]
    census = Census(nodes)
    for _ in range(100):
        target = key_of(rng.randbytes(8))
        for n in (1, 3, 20, 299, 300, 400):
            wanted = sorted(nodes, key=lambda node: node.key ^ target)[:n]
            assert census.closest(target, n) == wanted
    assert census.closest(b"x", 5) == census.closest(key_of(b"x"), 5)
    assert Census([]).closest(b"x", 5) == []
