"""Sessions have the median that was asked for, and nodes come and go by them."""

from random import Random
from statistics import mean, median

import pytest
import trio

from primedht.sim.sessions import WEIBULL_SHAPE, Churn, Sessions
from primedht.sim.world import SimWorld


@pytest.mark.parametrize("shape", [1.0, WEIBULL_SHAPE])
def test_the_median_and_the_mean_are_as_said(shape):
    sessions, rng = Sessions(3600.0, shape), Random(1)
    drawn = [sessions.draw_s(rng) for _ in range(20_000)]
    assert median(drawn) == pytest.approx(3600, rel=0.05)
    assert mean(drawn) == pytest.approx(sessions.mean_s, rel=0.05)


def test_exponential_sessions_forget_their_age_and_weibull_ones_do_not():
    rng = Random(2)
    exponential, weibull = Sessions(100.0), Sessions(100.0, WEIBULL_SHAPE)
    assert mean(exponential.draw_rest_s(rng) for _ in range(5000)) == pytest.approx(
        exponential.mean_s, rel=0.1
    )
    assert mean(weibull.draw_rest_s(rng) for _ in range(5000)) > 1.3 * weibull.mean_s


async def test_nodes_come_and_go(autojump_clock):
    churn = Churn(Sessions(60.0), Sessions(10.0), orderly_share=0.3, keep_share=0.5)
    async with SimWorld(seed=1, nodes=20, start="prefilled") as world, trio.open_nursery() as nursery:
        churn.start(nursery, world.nodes[2:], seed=1)
        await trio.sleep(300)
        assert churn.ends_count > 30
        assert 0 <= churn.ends_count - churn.restarts_count <= 18
        assert all(node.starts_count == 1 for node in world.nodes[:2])
        assert all(node.running for node in world.nodes[:2])
        nursery.cancel_scope.cancel()
