"""Any task, whatever its runner does and whenever it is told to stop: conditions hold, and its end is told once (compute/local/task.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.compute.local import task
from batchyard.compute.local.loop import Timer
from batchyard.compute.local.runner import Ending, Run
from batchyard.compute.local.task import Room, TaskRun
from batchyard.model.capacity import Resources
from batchyard.model.messages import Launch
from batchyard.model.task import Condition, StartsAfter, TaskContainer


class Clock:
    """A loop whose time is the test's."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timers: list[Timer] = []
        self._order = 0

    def at(self, when_s: float, callback: Callable[[], None]) -> Timer:
        self._order += 1
        timer = Timer(when_s, self._order, callback)
        self.timers.append(timer)
        return timer

    def cancel(self, timer: Timer | None) -> None:
        if timer is not None:
            timer.callback = None

    def run_to(self, when_s: float) -> None:
        while due := sorted(timer for timer in self.timers if timer.callback and timer.when_s <= when_s):
            self.now_s = max(self.now_s, due[0].when_s)
            callback, due[0].callback = due[0].callback, None
            assert callback is not None
            callback()
        self.now_s = when_s


class FakeRun:
    """A container that begins and ends when the test says so, and at once when it is killed."""

    def __init__(self, runner: FakeRunner, name: str, watcher: Any) -> None:
        self.runner, self.name, self.watcher = runner, name, watcher
        self.running = self.over = self.told = False

    def begin(self) -> None:
        if not self.over and not self.running:
            self.running = True
            self.watcher.began(self, 1000 + int(self.runner.clock.now_s * 1000), self.runner.clock.now_s)

    def end(self, code: int | None, lost: bool = False) -> None:
        if not self.over:
            self.running, self.over = False, True
            self.runner.codes[self.name] = code
            self.watcher.ended(self, Ending(code, self.runner.clock.now_s, reason="" if code is not None else "broken", lost=lost))

    def terminate(self) -> None:
        assert self.running, "only what runs is asked to end"
        self.told = True

    def kill(self) -> None:
        if self.running:
            self.end(137)
        else:
            self.end(None)


class FakeRunner:
    def __init__(self, clock: Clock, full: int) -> None:
        self.clock, self.full = clock, full
        self.runs: dict[str, FakeRun] = {}
        self.codes: dict[str, int | None] = {}
        self.conditions: dict[str, tuple[StartsAfter, ...]] = {}
        self.open_rooms = 0

    def prepare(self, launch: Launch, watcher: Any, name: str = "") -> FakeRun:
        assert launch.containers == () and launch.needs.memory_mib == 64
        return FakeRun(self, name, watcher)

    def begin(self, run: FakeRun) -> bool:
        assert run.name not in self.runs, "nothing is begun twice"
        assert self.open_rooms == 1
        if self.full:
            self.full -= 1
            return False
        for after in self.conditions[run.name]:
            other = self.runs[after.container]
            if after.condition is Condition.START:
                assert other.running or other.over
            else:
                assert other.over and self.codes[after.container] is not None
                assert after.condition is Condition.COMPLETE or self.codes[after.container] == 0
        self.runs[run.name] = run
        return True

    def open(self, launch: Launch) -> Room:
        self.open_rooms += 1
        return Room({})

    def furnish(self, launch: Launch, room: Room, name: str) -> Launch:
        return launch

    def close(self, launch: Launch) -> None:
        self.open_rooms -= 1


class Told:
    def __init__(self) -> None:
        self.began_at: list[int] = []
        self.endings: list[Ending] = []

    def began(self, run: Run, at_ms: int, at_s: float) -> None:
        assert not self.endings
        self.began_at.append(at_ms)

    def ended(self, run: Run, ending: Ending) -> None:
        self.endings.append(ending)


@st.composite
def containers(draw: st.DrawFn) -> tuple[TaskContainer, ...]:
    count = draw(st.integers(1, 5))
    is_pod = draw(st.booleans())
    essential = [not is_pod and draw(st.booleans()) for _ in range(count)]
    if not is_pod:
        essential[draw(st.integers(0, count - 1))] = True
    made = []
    for number in range(count):
        after = []
        for other in range(number):
            if draw(st.integers(0, 3)) == 0:
                legal = [Condition.START] if essential[other] else list(Condition)
                after.append(StartsAfter(f"c{other}", draw(st.sampled_from(legal))))
        made.append(
            TaskContainer(
                name=f"c{number}",
                memory_mib=64,
                essential=essential[number],
                depends_on=tuple(after),
                start_timeout_s=draw(st.sampled_from((None, None, 3))),
                stop_timeout_s=draw(st.sampled_from((2, 30))),
                log_group="g",
                log_stream="s",
            )
        )
    return tuple(made)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 4)),
        st.tuples(st.just("end"), st.tuples(st.integers(0, 4), st.sampled_from((0, 0, 1, 7)))),
        st.tuples(st.just("fail"), st.integers(0, 4)),
        st.tuples(st.just("wait"), st.sampled_from((0.5, 5.0))),
        st.tuples(st.just("stop"), st.just(0)),
        st.tuples(st.just("kill"), st.just(0)),
        st.tuples(st.just("lose"), st.integers(0, 4)),
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(containers(), STEPS, st.integers(0, 2))
def test_whatever_happens_the_end_is_told_once(made: tuple[TaskContainer, ...], steps: list[tuple[str, Any]], full: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock, told = Clock(), Told()
        patch.setattr(task, "boot_s", lambda: clock.now_s)
        runner = FakeRunner(clock, full)
        runner.conditions = {container.name: container.depends_on for container in made}
        launch = Launch("a", "j", 1, "i", (), {}, Resources(1, 64), "g", "s", "1", "r", containers=made)

        def begun() -> TaskRun:
            while True:
                run = TaskRun(launch, told, runner, runner, clock)  # type: ignore[arg-type]
                if run.begin():
                    return run

        run = begun()
        asked = False
        for what, which in steps:
            if told.endings:
                break
            asked = asked or what in ("stop", "kill")
            _step(run, runner, clock, what, which)
        if not told.endings:
            _let_it_end(run, runner, clock, told)
        (ending,) = told.endings
        assert runner.open_rooms == 0 and len(told.began_at) <= 1
        assert all(one.over for one in runner.runs.values())
        _is_right(made, runner, told, ending, asked, any(what == "lose" for what, _ in steps))


def _step(run: TaskRun, runner: FakeRunner, clock: Clock, what: str, which: Any) -> None:
    runs = list(runner.runs.values())
    number = which[0] if isinstance(which, tuple) else which
    one = runs[number] if isinstance(number, int) and number < len(runs) else None
    match what:
        case "wait":
            clock.run_to(clock.now_s + which)
        case "stop":
            run.terminate()
        case "kill":
            run.kill()
        case "begin" if one:
            one.begin()
        case "end" if one and one.running:
            one.end(which[1])
        case "fail" if one and not one.running:
            one.end(None)
        case "lose" if one and one.running:
            one.end(None, lost=True)


def _let_it_end(run: TaskRun, runner: FakeRunner, clock: Clock, told: Told) -> None:
    """From here on all goes well: what is begun runs, and what runs ends when it is told or in its own time."""
    for _ in range(200):
        if told.endings:
            return
        for one in list(runner.runs.values()):
            one.begin()
        clock.run_to(clock.now_s + 1.0)
        for one in list(runner.runs.values()):
            if one.told:
                one.end(143)
        running = [one for one in runner.runs.values() if one.running]
        if running:
            running[-1].end(0)
    raise AssertionError("it does not end")


def _is_right(made: tuple[TaskContainer, ...], runner: FakeRunner, told: Told, ending: Ending, asked: bool, lost: bool) -> None:
    assert [end.name for end in ending.containers] == [container.name for container in made]
    assert all(end.exit_code == runner.codes.get(end.name) for end in ending.containers)
    counting = {container.name for container in made if container.essential} or {container.name for container in made}
    codes = {name: code for name, code in runner.codes.items() if name in counting}
    by_itself = {name: code for name, code in codes.items() if not runner.runs[name].told and code not in (None, 137)}
    if ending.lost:
        assert lost and ending.exit_code is None
    elif ending.reason:
        assert ending.exit_code is None and not told.began_at
    elif any(by_itself.values()):
        assert ending.exit_code in by_itself.values() and ending.exit_code
    elif by_itself and not asked:
        assert ending.exit_code == 0
    if ending.exit_code is not None and not asked and not lost:
        assert told.began_at


@pytest.mark.parametrize("code", [0, 3])
def test_an_essential_container_that_ends_before_another_has_begun(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, told = Clock(), Told()
    monkeypatch.setattr(task, "boot_s", lambda: clock.now_s)
    runner = FakeRunner(clock, 0)
    made = tuple(TaskContainer(name=name, memory_mib=64, log_group="g", log_stream="s") for name in ("quick", "slow"))
    runner.conditions = {container.name: () for container in made}
    run = TaskRun(Launch("a", "j", 1, "i", (), {}, Resources(1, 64), "g", "s", "1", "r", containers=made), told, runner, runner, clock)  # type: ignore[arg-type]
    assert run.begin()
    runner.runs["quick"].begin()
    clock.run_to(2.0)
    runner.runs["quick"].end(code)
    (ending,) = told.endings
    assert ending.exit_code == code and told.began_at == [1000]
    assert [end.exit_code for end in ending.containers] == [code, None]
