"""THE table: every state and event, what each move does to the record, and the diagram that is drawn from it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from batchyard.core import lifecycle
from batchyard.core.lifecycle import (
    ARRAY_MOVES,
    MOVES,
    CancelAsked,
    Doomed,
    Ended,
    Event,
    Held,
    IllegalMove,
    Placed,
    Released,
    Settled,
    Started,
    TerminateAsked,
    advance,
)
from batchyard.model.capacity import Resources
from batchyard.model.job import Attempt, Dependency, Job, RetryRule, Specification, Status
from batchyard.model.messages import AttemptEnded

S = Status
NOW = 10_000
ROOT = Path(__file__).parents[2]
SPEC = Specification(
    id="job", account="1", region="r", name="n", queue="q", definition="d:1", needs=Resources(1, 100), attempts=2, array_size=3
)
ATTEMPT = Attempt(id="a" * 32, number=1, instance="i-1", environment="ce", log_stream="s", placed_at_ms=5_000)


def ended(cause: str = "exited", exit_code: int | None = 1, at_ms: int = 9_000, **more: Any) -> Ended:
    return Ended(AttemptEnded(ATTEMPT.id, at_ms, cause, exit_code=exit_code, **more))


EVENTS: dict[type[Event], tuple[Event, ...]] = {
    Held: (Held(),),
    Released: (Released(),),
    Doomed: (Doomed(),),
    Placed: (Placed(ATTEMPT),),
    Started: (Started(6_000),),
    Ended: (
        ended(exit_code=0),
        ended(exit_code=3),
        ended("stopped", 143),
        ended("timeout", 137),
        ended("lost", None),
        ended("not-started", None, reason="no such file"),
    ),
    CancelAsked: (CancelAsked("enough"),),
    TerminateAsked: (TerminateAsked("stop it"),),
    Settled: (Settled(2, 1), Settled(3, 0)),
}


def job_in(status: Status, *, is_array: bool = False) -> Job:
    job = Job(id="job", spec_id="job", status=status, created_at_ms=1_000, is_array=is_array)
    if status is S.PENDING:
        return replace(job, waits_for=(Dependency("other"),))
    if status is S.STARTING:
        return replace(job, current=ATTEMPT)
    if status is S.RUNNING:
        return replace(job, current=replace(ATTEMPT, started_at_ms=6_000), started_at_ms=6_000)
    return job


@pytest.mark.parametrize("is_array", [False, True], ids=["job", "array"])
@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("status", Status)
def test_every_state_and_event(status: Status, kind: type[Event], is_array: bool) -> None:
    """What is in the table leads to one of its states; what is not raises and leaves the record as it was."""
    table = ARRAY_MOVES if is_array else MOVES
    job = job_in(status, is_array=is_array)
    before = replace(job)
    reached = set()
    for event in EVENTS[kind]:
        if (status, kind) not in table:
            with pytest.raises(IllegalMove):
                advance(job, SPEC, event, NOW)
        else:
            reached.add(advance(job, SPEC, event, NOW).status)
    assert reached <= set(table[status, kind][1]) if (status, kind) in table else not reached
    assert job == before
    if status.is_final:
        assert reached <= {status}, "final states are final"


def test_every_target_of_the_table_is_reached() -> None:
    """No entry promises a state that its handler never leaves a job in."""
    for is_array, table in ((False, MOVES), (True, ARRAY_MOVES)):
        for (status, kind), (_handler, targets) in table.items():
            one_attempt = replace(SPEC, attempts=1)
            specs = (SPEC, one_attempt)
            job = job_in(status, is_array=is_array)
            reached = {advance(job, spec, event, NOW).status for event in EVENTS[kind] for spec in specs}
            assert reached == set(targets), (status, kind)


def test_all_states_are_reachable_and_nothing_leaves_a_final_one() -> None:
    for table, never in ((MOVES, set()), (ARRAY_MOVES, {S.RUNNABLE, S.STARTING, S.RUNNING})):
        reached = {S.SUBMITTED}
        while new := {t for (s, _), (_, targets) in table.items() if s in reached for t in targets} - reached:
            reached |= new
        assert reached == set(Status) - never
        assert all(set(targets) == {status} for (status, _), (_, targets) in table.items() if status.is_final)


def test_a_handler_that_strays_from_the_table_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, _ = MOVES[S.SUBMITTED, Held]
    monkeypatch.setitem(MOVES, (S.SUBMITTED, Held), (handler, (S.RUNNABLE,)))
    with pytest.raises(IllegalMove, match="from SUBMITTED to PENDING"):
        advance(job_in(S.SUBMITTED), SPEC, Held(), NOW)


def test_the_kinds_of_state() -> None:
    for status in Status:
        assert [status.is_waiting, status.is_placed, status.is_final].count(True) == 1


# --- what the moves write ---


def test_release_and_doom() -> None:
    released = advance(job_in(S.PENDING), SPEC, Released(), NOW)
    assert (released.runnable_at_ms, released.waits_for) == (NOW, ())
    doomed = advance(job_in(S.PENDING), SPEC, Doomed(), NOW)
    assert (doomed.status_reason, doomed.stopped_at_ms, doomed.children) == ("Dependent Job failed", NOW, (0, 0))
    array = advance(job_in(S.PENDING, is_array=True), SPEC, Doomed(), NOW)
    assert (array.status_reason, array.children) == ("Dependent Job failed", (0, 3))


def test_an_array_that_was_stopped_keeps_the_callers_words_when_its_dependency_fails_too() -> None:
    stopped = advance(job_in(S.PENDING, is_array=True), SPEC, CancelAsked("enough"), NOW)
    assert advance(stopped, SPEC, Doomed(), NOW).status_reason == "enough"


def test_place_clears_what_the_last_attempt_left() -> None:
    again = replace(job_in(S.RUNNABLE), status_reason="Essential container in task exited", started_at_ms=7)
    placed = advance(again, SPEC, Placed(ATTEMPT), NOW)
    assert (placed.status, placed.current, placed.status_reason, placed.started_at_ms) == (S.STARTING, ATTEMPT, "", None)


@pytest.mark.parametrize(("reported_ms", "started_ms"), [(6_000, 6_000), (4_000, 5_000)])
def test_a_start_is_never_before_the_placement(reported_ms: int, started_ms: int) -> None:
    running = advance(job_in(S.STARTING), SPEC, Started(reported_ms), NOW)
    assert running.current is not None
    assert running.started_at_ms == running.current.started_at_ms == started_ms


def close(event: Ended, job: Job | None = None, spec: Specification = SPEC) -> tuple[Job, Attempt]:
    after = advance(job or job_in(S.RUNNING), spec, event, NOW)
    assert after.current is None
    return after, after.attempts[-1]


def test_a_good_end() -> None:
    job, attempt = close(ended(exit_code=0, peak_memory_mib=12.5, cpu_s=3.0))
    assert (job.status, job.status_reason, job.started_at_ms, job.stopped_at_ms) == (S.SUCCEEDED, lifecycle.EXITED, 6_000, 9_000)
    assert (attempt.exit_code, attempt.status_reason, attempt.reason) == (0, lifecycle.EXITED, "")
    assert (attempt.peak_memory_mib, attempt.cpu_s) == (12.5, 3.0)


def test_exit_0_counts_even_if_a_child_process_was_killed_for_memory() -> None:
    job, attempt = close(ended(exit_code=0, oom=True))
    assert job.status is S.SUCCEEDED
    assert attempt.reason == lifecycle.OUT_OF_MEMORY


def test_a_failure_is_tried_again_while_attempts_remain() -> None:
    job, attempt = close(ended(exit_code=137, oom=True))
    assert (job.status, job.runnable_at_ms, job.stopped_at_ms) == (S.RUNNABLE, NOW, None)
    assert (attempt.exit_code, attempt.reason) == (137, lifecycle.OUT_OF_MEMORY)
    job, _ = close(ended(exit_code=1), spec=replace(SPEC, attempts=1))
    assert (job.status, job.status_reason, job.stopped_at_ms) == (S.FAILED, lifecycle.EXITED, 9_000)


def test_the_infrastructure_never_has_an_exit_code() -> None:
    job, attempt = close(ended("lost", exit_code=0))
    assert (job.status, attempt.status_reason, attempt.exit_code) == (S.RUNNABLE, "Host EC2 (instance i-1) terminated.", None)
    job, attempt = close(ended("not-started", exit_code=1, reason="x" * 300, started_at_ms=6_000), job_in(S.STARTING))
    assert (attempt.status_reason, attempt.reason, attempt.exit_code) == (lifecycle.NOT_STARTED, "x" * 255, None)
    assert attempt.started_at_ms is None


def test_a_timeout_is_never_tried_again() -> None:
    spec = replace(SPEC, retry_rules=(RetryRule("RETRY"),))
    job, attempt = close(ended("timeout", 137), spec=spec)
    assert (job.status, job.status_reason, attempt.exit_code) == (S.FAILED, lifecycle.TIMED_OUT, 137)


def test_a_terminated_job_fails_with_the_callers_words_however_it_ends() -> None:
    for event in (ended(exit_code=0), ended("stopped", 143), ended("lost", None)):
        marked = advance(job_in(S.RUNNING), SPEC, TerminateAsked("stop it"), NOW)
        assert marked.status is S.RUNNING and marked.is_terminated
        assert advance(marked, SPEC, TerminateAsked("again"), NOW) is marked, "the first reason stays"
        job, _ = close(event, marked)
        assert (job.status, job.status_reason) == (S.FAILED, "stop it")
    _, attempt = close(ended("stopped", 143), marked)
    assert (attempt.status_reason, attempt.exit_code) == ("stop it", 143)


def test_an_end_without_a_seen_start() -> None:
    """The report of the start was lost: the end carries it."""
    _, attempt = close(ended(exit_code=0, started_at_ms=4_000), job_in(S.STARTING))
    assert attempt.started_at_ms == 5_000, "not before the placement"
    _, attempt = close(ended(exit_code=0, started_at_ms=7_000), job_in(S.STARTING))
    assert attempt.started_at_ms == 7_000
    _, attempt = close(ended("lost", None, at_ms=1), job_in(S.STARTING))
    assert (attempt.started_at_ms, attempt.stopped_at_ms) == (None, 5_000)


def test_an_attempt_does_not_begin_before_the_last_one_ended() -> None:
    again = advance(job_in(S.RUNNING), SPEC, ended(at_ms=NOW + 60_000), NOW)  # then the clock is set back
    placed = advance(again, SPEC, Placed(replace(ATTEMPT, placed_at_ms=NOW)), NOW)
    started = advance(placed, SPEC, Started(NOW + 1), NOW + 1)
    assert started.started_at_ms == again.attempts[-1].stopped_at_ms == NOW + 60_000


def test_timestamps_never_run_backwards() -> None:
    job, attempt = close(ended(exit_code=0, at_ms=10))
    assert job.stopped_at_ms == attempt.stopped_at_ms == 6_000


def test_cancel_and_terminate_of_a_waiting_job() -> None:
    for status in (S.SUBMITTED, S.PENDING, S.RUNNABLE):
        job = advance(job_in(status), SPEC, CancelAsked("enough"), NOW)
        assert (job.status_reason, job.stop_reason, job.is_cancelled, job.is_terminated) == ("enough", "enough", True, False)
        assert (job.stopped_at_ms, job.waits_for) == (NOW, ())
        job = advance(job_in(status), SPEC, TerminateAsked("stop it"), NOW)
        assert (job.status_reason, job.is_cancelled, job.is_terminated) == ("stop it", False, True)


def test_cancel_has_no_effect_from_starting_on() -> None:
    for status in (S.STARTING, S.RUNNING, S.SUCCEEDED, S.FAILED):
        job = job_in(status)
        assert advance(job, SPEC, CancelAsked("enough"), NOW) is job


def test_the_mark_on_an_array() -> None:
    cancelled = advance(job_in(S.PENDING, is_array=True), SPEC, CancelAsked("enough"), NOW)
    assert (cancelled.status, cancelled.is_cancelled, cancelled.stop_reason) == (S.PENDING, True, "enough")
    assert advance(cancelled, SPEC, CancelAsked("again"), NOW) is cancelled
    terminated = advance(cancelled, SPEC, TerminateAsked("now"), NOW)
    assert (terminated.is_cancelled, terminated.is_terminated, terminated.stop_reason) == (True, True, "enough")
    assert terminated.stop_asked_at_ms == cancelled.stop_asked_at_ms
    assert advance(terminated, SPEC, TerminateAsked("again"), NOW) is terminated
    assert advance(terminated, SPEC, CancelAsked("again"), NOW) is terminated


def test_an_array_settles() -> None:
    array = job_in(S.PENDING, is_array=True)
    good = advance(array, SPEC, Settled(3, 0), NOW)
    assert (good.status, good.status_reason, good.children, good.stopped_at_ms) == (S.SUCCEEDED, "", (3, 0), NOW)
    bad = advance(array, SPEC, Settled(2, 1), NOW)
    assert (bad.status, bad.status_reason, bad.children) == (S.FAILED, "Array Child Job failed", (2, 1))
    stopped = advance(advance(array, SPEC, CancelAsked("enough"), NOW), SPEC, Settled(0, 3), NOW)
    assert stopped.status_reason == "enough"


# --- the drawing ---


def test_the_diagram_in_the_architecture_page_is_drawn_from_the_table() -> None:
    script = importlib.util.spec_from_file_location("draw_states", ROOT / "scripts" / "draw_states.py")
    assert script is not None and script.loader is not None
    drawing = importlib.util.module_from_spec(script)
    script.loader.exec_module(drawing)
    page = (ROOT / "ARCHITECTURE.md").read_text()
    start, end = drawing.MARKS
    assert drawing.block() == page.partition(start)[2].partition(end)[0].lstrip("\n"), "run: python scripts/draw_states.py --write"
