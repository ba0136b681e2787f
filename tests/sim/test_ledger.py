"""The ledger calls every wrong answer by its name, and no right one wrong."""

import pytest
import trio

from primedht.results import FoundValue, PutResult
from primedht.sim.checkers import CheckFailed
from primedht.sim.clock import true_unix_now
from primedht.sim.ledger import Ledger

KEY = b"key"


def found(value):
    return FoundValue(key=KEY, value=value, payload=value, authenticated=False, sources=())


def acknowledge(ledger, value, *, life_s=600.0):
    ledger.on_attempt(KEY, value)
    result = PutResult(KEY, (), (), 1, 1, False, None, true_unix_now() + life_s)
    ledger.on_put(result, value)


async def test_answers_are_judged_by_what_was_acknowledged(autojump_clock):
    ledger = Ledger()
    acknowledge(ledger, b"v1")
    await trio.sleep(1)
    acknowledge(ledger, b"v2")
    await trio.sleep(1)
    judged = {value: ledger.judge(KEY, found(value)) for value in (b"v1", b"v2", b"never")}
    assert judged == {b"v1": "stale", b"v2": "ok", b"never": "foreign"}
    assert ledger.judge(KEY, None) == "missing"
    with pytest.raises(CheckFailed, match="not found"):
        ledger.check(KEY, None)
    await trio.sleep(600)
    assert ledger.judge(KEY, found(b"v2")) == "expired"
    assert ledger.judge(KEY, None) == "ok"


async def test_a_read_may_see_what_was_newest_at_any_moment_of_it(autojump_clock):
    ledger = Ledger()
    acknowledge(ledger, b"v1")
    await trio.sleep(1)
    began = ledger.begin_read(KEY)
    await trio.sleep(1)
    acknowledge(ledger, b"v2")
    assert ledger.judge(KEY, found(b"v1"), began) == "ok"
    assert ledger.judge(KEY, found(b"v2"), began) == "ok"
    assert ledger.judge(KEY, None, began) == "missing"
    await trio.sleep(1)
    assert ledger.judge(KEY, found(b"v1"), ledger.begin_read(KEY)) == "stale"


async def test_what_failed_may_turn_up_until_a_later_write_succeeds(autojump_clock):
    ledger = Ledger()
    acknowledge(ledger, b"v1")
    ledger.on_attempt(KEY, b"failed")
    assert ledger.judge(KEY, found(b"failed")) == "ok"
    assert ledger.judge(KEY, found(b"v1")) == "ok"
    await trio.sleep(1)
    acknowledge(ledger, b"v2")
    await trio.sleep(1)
    assert ledger.judge(KEY, found(b"failed")) == "stale"


async def test_deleted_values_stay_deleted(autojump_clock):
    ledger = Ledger()
    acknowledge(ledger, b"v1")
    await trio.sleep(1)
    ledger.on_delete(KEY)
    await trio.sleep(1)
    assert ledger.judge(KEY, None) == "ok"
    assert ledger.judge(KEY, found(b"v1")) == "deleted"


async def test_clocks_may_err_by_the_skew(autojump_clock):
    ledger = Ledger(skew_s=10)
    acknowledge(ledger, b"v1", life_s=100)
    await trio.sleep(95)
    assert ledger.judge(KEY, None) == "ok"
    await trio.sleep(10)
    assert ledger.judge(KEY, found(b"v1")) == "ok"
    await trio.sleep(10)
    assert ledger.judge(KEY, found(b"v1")) == "expired"
