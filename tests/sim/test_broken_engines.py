"""Each oracle catches an engine that was broken on purpose."""

import logging
import re
from contextlib import suppress

import pytest
import structlog
import trio

from primedht import limits
from primedht.dht import values
from primedht.dht.dht import Dht
from primedht.dht.lookup import LookupResult, Lookups
from primedht.dht.peers import Peers
from primedht.dht.repair import Repair
from primedht.dht.value_store import ValueStore
from primedht.errors import PrimeDhtError
from primedht.records import lifetimes
from primedht.records.record import compare
from primedht.records.signatures import SignatureCache
from primedht.sim.checkers import CheckFailed, check_tables
from primedht.sim.clock import EPOCH_UNIX_S, SimClock
from primedht.sim.run import run_scenario
from primedht.sim.scenarios import SCENARIOS
from primedht.sim.world import SimWorld

NODES = 24


@pytest.fixture(autouse=True)
def _quiet():
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def run(name, *, duration_s=30.0, **parameters):
    return run_scenario(
        SCENARIOS[name], nodes=NODES, seed=3, duration_s=duration_s, parameters={"reads": 100, **parameters}
    )


def failures(name, **parameters):
    return "; ".join(run(name, **parameters).failures)


def test_nothing_is_caught_where_nothing_is_broken():
    assert failures("static", values=0.5) == ""
    assert failures("partition") == ""


def test_lookups_that_leave_out_the_closest_peer(monkeypatch):
    whole = Lookups.closest_peers

    async def without_the_closest(self, *args, **options):
        result = await whole(self, *args, **options)
        return LookupResult(result.closest[1:], result.trace)

    monkeypatch.setattr(Lookups, "closest_peers", without_the_closest)
    assert "lookups found" in failures("static", lookups=1)


def test_acknowledged_values_that_are_not_stored(monkeypatch):
    async def forget(self, stored, better, **options):
        await trio.lowlevel.checkpoint()
        return True

    monkeypatch.setattr(ValueStore, "put_if_better", forget)
    found = run("static", lookups=0)
    assert found.measures.bad_reads["missing"] > 50
    assert any("reads failed" in failure for failure in found.failures)


def test_lower_sequences_that_win(monkeypatch):
    """Deleted values come back by it, too."""
    monkeypatch.setattr(values, "compare", lambda a, b: -compare(a, b))
    assert "stale" in failures("partition", converge_limit=40)


def test_lives_that_every_copy_lengthens(monkeypatch):
    left = lifetimes.ttl_left_s

    monkeypatch.setattr(lifetimes, "ttl_left_s", lambda expires, now: left(expires, now) + 1000)
    assert "too long" in failures("static", lookups=0)


def test_tasks_that_pile_up(monkeypatch):
    read = Dht.get_value

    async def leak(self, *args, **options):
        for _ in range(100):
            self._nursery.start_soon(trio.sleep_forever)
        return await read(self, *args, **options)

    monkeypatch.setattr(Dht, "get_value", leak)
    assert "tasks live" in failures("static", lookups=0)


def test_answers_that_are_kept_for_ever(monkeypatch):
    take = Lookups._take

    def keep(self, outcome, *args):
        self.__dict__.setdefault("kept", []).append(outcome.reply)
        return take(self, outcome, *args)

    monkeypatch.setattr(Lookups, "_take", keep)
    assert "bytes in memory" in failures("static", lookups=10, values=0, reads=10)


def test_neighbours_that_are_asked_all_the_time(monkeypatch):
    monkeypatch.setattr(limits, "NEIGHBOUR_PROBE_S", 0.0)
    monkeypatch.setattr(limits, "LIVENESS_TICK_S", 0.5)
    monkeypatch.setattr(limits, "LIVENESS_SCAN_TICKS", 1)
    assert "at rest" in failures("static", duration_s=1.0, lookups=0.1, values=0, reads=10)


def test_lookups_that_start_again_and_again(monkeypatch):
    once = Lookups.closest_peers

    async def often(self, *args, **options):
        for _ in range(14):
            await once(self, *args, **options)
        return await once(self, *args, **options)

    monkeypatch.setattr(Lookups, "closest_peers", often)
    assert "a lookup took" in failures("static", lookups=0.25, values=0, reads=10)


def test_signatures_that_nobody_checks(monkeypatch):
    monkeypatch.setattr(SignatureCache, "verify", lambda self, *args: True)
    assert "reads returned forgeries" in failures("adversaries", share=0.3, floods=0)


def test_clocks_that_stand_still(monkeypatch):
    """What has expired is served on."""
    monkeypatch.setattr(SimClock, "unix_now", lambda self: EPOCH_UNIX_S)
    assert "what is expired" in failures("partition", converge_limit=1)


async def test_clients_that_stay_in_tables(autojump_clock, monkeypatch):
    async with SimWorld(seed=2, nodes=3, start="prefilled") as world:
        check_tables(world)
        monkeypatch.setattr(Peers, "on_identified", lambda self, peer, protocols: None)
        await world.nodes[1].host.serve_kad(None)
        await trio.sleep(1)
        with pytest.raises(CheckFailed, match="client"):
            check_tables(world)


def test_repair_that_never_comes(monkeypatch):
    async def never(self):
        await trio.sleep_forever()

    monkeypatch.setattr(Repair, "serve", never)
    assert re.search(r"copies still miss 60 s .* is with ranks \[", failures("partition", converge_limit=60))


def test_repair_that_ignores_its_budget(monkeypatch):
    async def send_on(self, key):
        stored = await self._values.store.get(key)
        for peer in self._peers.table.peers()[:2]:
            for _ in range(5):
                with suppress(PrimeDhtError):
                    await self._values.send(peer, stored)

    monkeypatch.setattr(Repair, "_repair", send_on)
    found = failures(
        "churn", duration_s=8.0, median=10, down=2, repair_bytes_per_s=100, converge_max=0, reads=20
    )
    assert "went over its budget" in found


def test_newcomers_that_are_seen_to_late(monkeypatch):
    monkeypatch.setattr(limits, "REPAIR_CHANGES_S", 5.0)
    found = run_scenario(SCENARIOS["small"], nodes=5, seed=3, parameters={"reads": 20, "values": 3})
    assert "round trips after the first admission" in "; ".join(found.failures)
