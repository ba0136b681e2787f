"""Work that waits for one of a few tasks."""

from contextvars import ContextVar

import trio

from primedht.dht.work_queue import WorkQueue

CALLER = ContextVar("caller", default="nobody")


class Bench:
    """Items under way wait for `go`."""

    def __init__(self, *, at_once=2, waiting_max=3):
        self.begun, self.done, self.callers = [], [], []
        self.go = trio.Event()
        self.queue = WorkQueue(self.work, at_once=at_once, waiting_max=waiting_max)

    async def work(self, item):
        self.begun.append(item)
        self.callers.append(CALLER.get())
        await self.go.wait()
        self.done.append(item)


async def test_so_many_at_once_and_in_order(autojump_clock, nursery):
    bench = Bench()
    nursery.start_soon(bench.queue.serve)
    await trio.testing.wait_all_tasks_blocked()
    assert [bench.queue.put(item) for item in range(3)] == [True] * 3
    await trio.testing.wait_all_tasks_blocked()
    assert bench.begun == [0, 1]
    bench.go.set()
    await trio.testing.wait_all_tasks_blocked()
    assert bench.begun == [0, 1, 2]
    bench.queue.put(3)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(bench.done) == [0, 1, 2, 3]
    nursery.cancel_scope.cancel()


async def test_what_was_put_before_waits_and_too_many_are_refused(autojump_clock, nursery):
    bench = Bench()
    assert [bench.queue.put(item) for item in range(4)] == [True, True, True, False]
    bench.go.set()
    nursery.start_soon(bench.queue.serve)
    await trio.testing.wait_all_tasks_blocked()
    assert bench.begun == [0, 1, 2]
    nursery.cancel_scope.cancel()


async def test_work_is_done_for_nobody_who_puts(autojump_clock, nursery):
    bench = Bench()
    nursery.start_soon(bench.queue.serve)
    await trio.testing.wait_all_tasks_blocked()
    token = CALLER.set("a lookup")
    bench.queue.put(1)
    CALLER.reset(token)
    await trio.testing.wait_all_tasks_blocked()
    assert bench.callers == ["nobody"]
    nursery.cancel_scope.cancel()


async def test_an_idle_queue_has_no_tasks_beside_its_own(autojump_clock, nursery):
    bench = Bench()
    bench.go.set()
    nursery.start_soon(bench.queue.serve)
    bench.queue.put(1)
    await trio.testing.wait_all_tasks_blocked()
    assert bench.done == [1]
    (task,) = nursery.child_tasks
    assert not any(inner.child_tasks for inner in task.child_nurseries)
    nursery.cancel_scope.cancel()
