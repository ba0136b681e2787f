"""Plans, sleeps and time limits without a cancel scope each."""

import math

import pytest
import trio
from trio._core._run import CancelReason, Deadlines

from primedht.sim.determinism import simulate
from primedht.sim.timeline import Timeline, tick_after


def test_trio_still_has_the_heap_that_we_use():
    """Pins trio's private names: an upgrade that drops them fails here and nowhere else."""

    class Alarm:
        _registered_deadline = 3.0

        def _cancel(self, reason):
            rung.append(reason)

    rung, deadlines = [], Deadlines()
    deadlines._heap.append((3.0, -1, Alarm()))
    deadlines._active += 1
    assert deadlines.next_deadline() == 3.0
    assert not deadlines.expire(2.9)
    assert deadlines.expire(3.0)
    assert rung == [CancelReason(source="deadline")]
    deadlines.remove(3.0, None)
    assert deadlines._active == 0


async def test_calls_come_in_order_of_time_then_of_planning(autojump_clock):
    timeline, seen = Timeline(), []
    for name, when_s in (("late", 2.0), ("early", 1.0), ("late too", 2.0), ("past", -5.0)):
        timeline.plan(when_s, lambda name: seen.append((name, trio.current_time())), name)
    await trio.sleep(3)
    assert seen == [("past", 0.0), ("early", 1.0), ("late", 2.0), ("late too", 2.0)]


async def test_a_cancelled_plan_is_none_and_costs_no_jump(autojump_clock):
    timeline, seen = Timeline(), []
    plans = [timeline.plan(when_s, seen.append, when_s) for when_s in (1.0, 2.0, 3.0)]
    plans[0].cancel()
    plans[1].cancel()
    await trio.sleep(2.5)
    assert seen == []
    await trio.sleep(1)
    assert seen == [3.0]


async def test_plans_made_by_plans_are_carried_out(autojump_clock):
    timeline, seen = Timeline(), []
    timeline.plan(1.0, lambda: timeline.plan(1.0, lambda: timeline.plan(2.0, seen.append, "third")))
    await trio.sleep(1.5)
    assert seen == []
    await trio.sleep(1)
    assert seen == ["third"]


async def test_a_sleep_that_is_cancelled_wakes_nobody_later(autojump_clock):
    timeline = Timeline()
    with trio.move_on_after(1) as limit:
        await timeline.sleep_until(5)
    assert limit.cancelled_caught
    assert trio.current_time() == 1
    await trio.sleep(10)


async def test_a_sleep_ends_on_a_tick_and_always_yields(autojump_clock):
    timeline = Timeline()
    for delay_s in (0.0123456, 0.1999999, 3.00049):
        started = trio.current_time()
        await timeline.sleep_ticks(delay_s)
        now = trio.current_time()
        assert now * 1000 == pytest.approx(round(now * 1000), abs=1e-6)
        assert now - started == pytest.approx(delay_s, abs=0.00051)
    with trio.CancelScope() as scope:
        scope.cancel()
        await timeline.sleep_ticks(0)
    assert scope.cancelled_caught
    assert tick_after(1.0002) == pytest.approx(trio.current_time() + 1)


async def test_a_plan_comes_before_a_time_limit_of_the_same_moment(autojump_clock):
    timeline, order = Timeline(), []
    with trio.move_on_at(1.0):
        timeline.plan(1.0, order.append, "plan")
        try:
            await trio.sleep_forever()
        finally:
            order.append("limit")
    assert order == ["plan", "limit"]


async def test_nothing_happens_after_close(autojump_clock):
    timeline, seen = Timeline(), []
    timeline.plan(1.0, seen.append, 1)
    timeline.close()
    await trio.sleep(5)
    assert seen == []


def test_thousands_of_alarms_do_not_pile_up_in_trios_heap():
    async def chatter():
        timeline = Timeline()
        for _ in range(5000):
            timeline.plan(trio.current_time() + 100, lambda: None).cancel()
            await timeline.sleep_until(trio.current_time() + 0.5)
        heap = trio._core._run.GLOBAL_RUN_CONTEXT.runner.deadlines._heap
        return trio.current_time(), len(heap)

    now_s, entries = simulate(chatter, seed=1)
    assert now_s == 2500
    assert entries < 3000


def test_time_jumps_exactly_to_the_next_deadline():
    async def sleep_thrice():
        times = []
        for when_s in (0.1, 0.3, 1e6 + 0.7):
            await trio.sleep_until(when_s)
            times.append(trio.current_time())
        with trio.move_on_after(math.inf):
            await trio.testing.wait_all_tasks_blocked()
        return times

    assert simulate(sleep_thrice, seed=1) == [0.1, 0.3, 1e6 + 0.7]
