"""What is over leaves the queue of timers; what is not keeps its place."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tunstack.stack.timers import TimerQueue


@dataclass(eq=False)
class Alarm:
    """Something with a deadline."""

    when: float | None
    scheduled: float | None = None

    def deadline(self) -> float | None:
        return self.when


def test_what_is_forgotten_does_not_stay_until_its_time() -> None:
    queue: TimerQueue[Alarm] = TimerQueue()
    lasting = Alarm(10.0)
    queue.schedule(lasting)
    for number in range(1000):
        passing = Alarm(7200.0 + number)
        queue.schedule(passing)
        queue.forget(passing)
        assert len(queue) <= 10
    assert queue.due(10.0) == [lasting]
    assert queue.due(1e9) == []


def test_deadlines_that_come_before_a_distant_one_leave_nothing_behind() -> None:
    # As with keep-alive: each request starts a timer that soon ends, and then two hours of quiet.
    queue: TimerQueue[Alarm] = TimerQueue()
    alarms = [Alarm(7200.0) for _ in range(10)]
    for alarm in alarms:
        queue.schedule(alarm)
    now = 0.0
    for _ in range(500):
        for alarm in alarms:
            alarm.when = now + 0.2
            queue.schedule(alarm)
            alarm.when = 7200.0  # What the short timer was for has come.
        now += 1.0
        assert queue.due(now) == []
        assert len(queue) <= 28
    due = queue.due(7200.0)
    assert (len(due), set(due)) == (10, set(alarms))
    assert queue.due(1e9) == []
    assert len(queue) == 0


def test_an_ended_connection_leaves_no_timer_entries() -> None:
    """As a connection does that had a timer for its SYN, and then a shorter one for data."""
    queue: TimerQueue[Alarm] = TimerQueue()
    for number in range(1000):
        passing = Alarm(7200.0 + number)
        queue.schedule(passing)
        passing.when = 3600.0 + number
        queue.schedule(passing)
        queue.forget(passing)
        assert len(queue) <= 10


def test_short_and_long_by_turns_does_not_add_up() -> None:
    """Delayed ACKs and keep-alive: the entry for the one is stale, and the other makes a new."""
    queue: TimerQueue[Alarm] = TimerQueue()
    alarm = Alarm(7200.0)
    for turn in range(1000):
        alarm.when = turn + 7200.0
        queue.schedule(alarm)
        alarm.when = turn + 0.04
        queue.schedule(alarm)
        assert queue.due(turn + 0.04) == [alarm]
        assert len(queue) <= 10


def test_what_is_not_scheduled_is_forgotten_too() -> None:
    queue: TimerQueue[Alarm] = TimerQueue()
    alarm = Alarm(None)
    queue.schedule(alarm)
    queue.forget(alarm)
    queue.forget(alarm)
    assert len(queue) == 0


def test_all_others_ring_in_their_order() -> None:
    rng = Random(1)
    queue: TimerQueue[Alarm] = TimerQueue()
    alarms = [Alarm(rng.uniform(1.0, 100.0)) for _ in range(500)]
    for alarm in alarms:
        queue.schedule(alarm)
    kept = []
    for alarm in alarms:
        if rng.random() < 0.7:
            alarm.when = None
            queue.forget(alarm)
        else:
            kept.append(alarm)
    assert len(queue) <= 2 * len(kept) + 8
    whens = [alarm.when for alarm in kept if alarm.when is not None]
    assert [alarm.when for alarm in queue.due(100.0)] == sorted(whens)
    assert queue.deadline() is None
