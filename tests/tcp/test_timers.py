"""The queue of timers: nobody is called too early, nobody too late, nobody twice."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from tunstack.stack.timers import TimerQueue

examples = settings(deadline=None, derandomize=True, max_examples=300)


@dataclass(eq=False)
class Alarm:
    """Something with a deadline."""

    when: float | None = None
    scheduled: float | None = None
    rung: list[float] = field(default_factory=list)

    def deadline(self) -> float | None:
        return self.when


def ring(queue: TimerQueue[Alarm], now: float) -> list[Alarm]:
    due = queue.due(now)
    for alarm in due:
        assert alarm.when is not None
        assert alarm.when <= now
        alarm.rung.append(now)
        alarm.when = None
        queue.schedule(alarm)
    return due


def test_due_when_the_deadline_has_come() -> None:
    queue: TimerQueue[Alarm] = TimerQueue()
    alarm = Alarm(5.0)
    queue.schedule(alarm)
    assert queue.deadline() == 5.0
    assert ring(queue, 4.9) == []
    assert ring(queue, 5.0) == [alarm]
    assert (queue.deadline(), len(queue)) == (None, 0)


def test_in_the_order_of_their_deadlines() -> None:
    queue: TimerQueue[Alarm] = TimerQueue()
    late, early, also_early = Alarm(2.0), Alarm(1.0), Alarm(1.0)
    for alarm in (late, early, also_early):
        queue.schedule(alarm)
    assert ring(queue, 3.0) == [early, also_early, late]


def test_a_later_deadline_costs_no_entry() -> None:
    queue: TimerQueue[Alarm] = TimerQueue()
    alarm = Alarm(1.0)
    for when in (1.0, 2.0, 3.0):
        alarm.when = when
        queue.schedule(alarm)
    assert len(queue) == 1
    assert ring(queue, 2.9) == []
    assert queue.deadline() == 3.0
    assert ring(queue, 3.0) == [alarm]


def test_an_earlier_deadline_counts_at_once() -> None:
    queue: TimerQueue[Alarm] = TimerQueue()
    alarm = Alarm(3.0)
    queue.schedule(alarm)
    alarm.when = 1.0
    queue.schedule(alarm)
    assert queue.deadline() == 1.0
    assert ring(queue, 1.0) == [alarm]
    assert ring(queue, 5.0) == []
    assert len(queue) == 0


def test_no_deadline_any_more() -> None:
    queue: TimerQueue[Alarm] = TimerQueue()
    alarm = Alarm(1.0)
    queue.schedule(alarm)
    alarm.when = None
    queue.schedule(alarm)
    assert ring(queue, 1.0) == []
    assert len(queue) == 0


@examples
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),  # which one
            st.one_of(st.none(), st.integers(0, 50)),  # its new deadline, from now
            st.integers(0, 20),  # how much time passes then
        ),
        max_size=60,
    )
)
def test_every_alarm_rings_once_at_its_deadline(steps: list[tuple[int, int | None, int]]) -> None:
    queue: TimerQueue[Alarm] = TimerQueue()
    alarms = [Alarm() for _ in range(5)]
    model: list[float | None] = [None] * 5
    rung: list[list[float]] = [[] for _ in range(5)]
    now = 0.0
    for number, delay, pause in [*steps, (0, None, 1000)]:
        alarms[number].when = model[number] = None if delay is None else now + delay
        queue.schedule(alarms[number])
        until = now + pause
        # As a host does: it wakes when the queue says, and may find nothing.
        while (deadline := queue.deadline()) is not None and deadline <= until:
            now = max(now, deadline)
            due = ring(queue, now)
            for index, when in enumerate(model):
                assert (alarms[index] in due) is (when is not None and when <= now)
                if when is not None and when <= now:
                    assert when == now
                    rung[index].append(now)
                    model[index] = None
        now = until
    assert [alarm.rung for alarm in alarms] == rung
    assert len(queue) == 0


def test_what_is_over_is_let_go_of() -> None:
    """An entry for it would keep it alive until its time comes: for a few that is no matter."""
    queue: TimerQueue[Alarm] = TimerQueue()
    alarms = [Alarm(1000.0 + number) for number in range(400)]
    for alarm in alarms:
        queue.schedule(alarm)
    for alarm in alarms[::4]:
        queue.forget(alarm)
    assert len(queue) <= 300 + 300 // 4 + 8
    for alarm in alarms[1::4]:
        queue.forget(alarm)
    assert len(queue) <= 200 + 200 // 4 + 8
    assert ring(queue, 2000.0) == [alarm for number, alarm in enumerate(alarms) if number % 4 > 1]
