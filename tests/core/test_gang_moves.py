"""The tables of multi-node parallel jobs: every state and event of a job that is its own main node, and of its other nodes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from batchyard.core.lifecycle import (
    GANG_MOVES,
    MAIN_NODE_ENDED,
    NODE_MOVES,
    Called,
    CancelAsked,
    Dismissed,
    Doomed,
    Ended,
    Event,
    Held,
    IllegalMove,
    JobEnded,
    Move,
    NodeLost,
    NodesEnded,
    Placed,
    Released,
    Reserved,
    Settled,
    Started,
    TerminateAsked,
    advance,
)
from batchyard.model.capacity import Resources
from batchyard.model.job import Attempt, Dependency, Job, NodeGroup, Specification, Status, node_id, split_node
from batchyard.model.messages import AttemptEnded

S = Status
NOW = 10_000
NEEDS = Resources(1, 100)
SPEC = Specification(
    id="job",
    account="1",
    region="r",
    name="n",
    queue="q",
    definition="d:1",
    needs=NEEDS,
    attempts=2,
    nodes=(NodeGroup(first=0, last=2, needs=NEEDS),),
)
ONCE = replace(SPEC, attempts=1)
ATTEMPT = Attempt(id="a" * 32, number=1, instance="i-1", environment="ce", log_stream="s", placed_at_ms=5_000)
RAN = replace(ATTEMPT, started_at_ms=6_000)
TABLES: dict[str, dict[tuple[Status, type[Event]], Move]] = {"gang": GANG_MOVES, "node": NODE_MOVES}


def closed(exit_code: int | None, status_reason: str = "Essential container in task exited") -> Attempt:
    return replace(RAN, stopped_at_ms=9_000, exit_code=exit_code, status_reason=status_reason)


def ended(cause: str = "exited", exit_code: int | None = 1) -> Ended:
    return Ended(AttemptEnded(ATTEMPT.id, 9_000, cause, exit_code=exit_code))


WHOLE = Job(id="job", spec_id="job", status=S.FAILED, created_at_ms=1_000, is_multi_node=True, attempts=(closed(1),), status_reason="why")
EVENTS: dict[type[Event], tuple[Event, ...]] = {
    Held: (Held(),),
    Released: (Released(),),
    Doomed: (Doomed(),),
    Placed: (Placed(ATTEMPT),),
    Started: (Started(6_000),),
    Ended: (ended(exit_code=0), ended(), ended("stopped", 143), ended("timeout", 137), ended("lost", None), ended("not-started", None)),
    CancelAsked: (CancelAsked("enough"),),
    TerminateAsked: (TerminateAsked("stop it"),),
    Settled: (Settled(1, 1),),
    NodeLost: (NodeLost("i-9"),),
    NodesEnded: (NodesEnded(),),
    Reserved: (Reserved(ATTEMPT),),
    Called: (Called(),),
    Dismissed: (Dismissed("over"), Dismissed("stop it", is_terminated=True)),
    JobEnded: (JobEnded(WHOLE), JobEnded(replace(WHOLE, status=S.SUCCEEDED, status_reason=""))),
}


def jobs_in(form: str, status: Status, kind: type[Event]) -> list[Job]:
    """Records in this state that this event may come to."""
    job = Job(id="job", spec_id="job", status=status, created_at_ms=1_000, is_multi_node=True)
    if form == "node":
        job = replace(job, id="job#1", node=1, is_multi_node=False)
    if status is S.PENDING:
        return [replace(job, waits_for=(Dependency("other"),))]
    if kind is NodesEnded and status.is_placed:
        return [replace(job, attempts=(closed(0),)), replace(job, attempts=(closed(1),))]
    if kind is JobEnded:
        return [job, replace(job, attempts=(closed(0),)), replace(job, attempts=(closed(1),))]
    if status is S.RUNNING:
        return [replace(job, current=RAN, started_at_ms=6_000)]
    if status is S.STARTING or (form == "node" and kind is not Reserved and status is S.RUNNABLE):
        return [replace(job, current=ATTEMPT)]
    return [job]


@pytest.mark.parametrize("form", TABLES)
@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("status", Status)
def test_every_state_and_event(status: Status, kind: type[Event], form: str) -> None:
    """What is in the table leads to exactly its states; what is not raises and leaves the record as it was."""
    table = TABLES[form]
    reached = set()
    for job in jobs_in(form, status, kind):
        for event in EVENTS[kind]:
            for spec in (SPEC, ONCE):
                if (status, kind) not in table:
                    with pytest.raises(IllegalMove):
                        advance(job, spec, event, NOW)
                else:
                    reached.add(advance(job, spec, event, NOW).status)
    expected = set(table[status, kind][1]) if (status, kind) in table else set()
    assert reached == expected
    assert not status.is_final or reached <= {status}, "final states are final"


def job(**more: Any) -> Job:
    return Job(**{"id": "job", "spec_id": "job", "status": S.RUNNING, "created_at_ms": 1_000, "is_multi_node": True, **more})


def node(**more: Any) -> Job:
    return Job(**{"id": "job#1", "spec_id": "job", "status": S.RUNNING, "created_at_ms": 1_000, "node": 1, **more})


def test_a_job_waits_for_its_nodes_and_then_follows_its_main_node() -> None:
    waits = advance(job(current=RAN, started_at_ms=6_000), SPEC, ended(exit_code=0), NOW)
    assert (waits.status, waits.is_ending, waits.attempts[0].exit_code) == (S.RUNNING, True, 0)
    over = advance(waits, SPEC, NodesEnded(), NOW + 5_000)
    assert (over.status, over.started_at_ms, over.stopped_at_ms) == (S.SUCCEEDED, 6_000, 9_000)


@pytest.mark.parametrize(
    ("cause", "exit_code", "status"),
    [("exited", 1, S.RUNNABLE), ("timeout", 137, S.FAILED), ("timeout", 0, S.FAILED), ("lost", None, S.RUNNABLE)],
)
def test_how_a_main_node_may_fail(cause: str, exit_code: int | None, status: Status) -> None:
    waits = advance(job(current=RAN, started_at_ms=6_000), SPEC, ended(cause, exit_code), NOW)
    assert advance(waits, SPEC, NodesEnded(), NOW).status is status
    last = advance(advance(job(current=RAN, started_at_ms=6_000), ONCE, ended(cause, exit_code), NOW), ONCE, NodesEnded(), NOW)
    assert (last.status, last.status_reason) == (S.FAILED, last.attempts[0].status_reason)


def test_a_terminated_job_fails_even_with_exit_code_0_but_not_after_its_main_node_succeeded() -> None:
    marked = advance(job(current=RAN, started_at_ms=6_000), SPEC, TerminateAsked("stop it"), NOW)
    waits = advance(marked, SPEC, ended("stopped", 0), NOW)
    over = advance(waits, SPEC, NodesEnded(), NOW)
    assert (over.status, over.status_reason, over.attempts[0].status_reason) == (S.FAILED, "stop it", "stop it")
    succeeded = job(attempts=(closed(0),))
    assert advance(succeeded, SPEC, TerminateAsked("late"), NOW) is succeeded
    failed = advance(job(attempts=(closed(1),)), SPEC, TerminateAsked("no more"), NOW)
    assert advance(failed, SPEC, NodesEnded(), NOW).status_reason == "no more", "and it is not tried again"


def test_a_lost_node_takes_the_attempt_with_it_only_before_the_main_node_runs() -> None:
    starting = advance(job(status=S.STARTING, current=ATTEMPT), SPEC, NodeLost("i-9"), NOW)
    assert starting.is_being_stopped
    over = advance(advance(starting, SPEC, ended("stopped", 143), NOW), SPEC, NodesEnded(), NOW)
    assert (over.status, over.broken_by) == (S.RUNNABLE, "")
    assert (over.attempts[0].status_reason, over.attempts[0].exit_code) == ("Host EC2 (instance i-9) terminated.", None)
    running = job(current=RAN)
    assert advance(running, SPEC, NodeLost("i-9"), NOW) is running


def test_a_node_holds_room_and_gives_it_up_without_a_trace() -> None:
    waits = node(status=S.RUNNABLE, attempts=(), stop_reason="over", broken_by="i-7")
    held = advance(waits, SPEC, Reserved(ATTEMPT), NOW)
    assert (held.current, held.stop_reason, held.broken_by, held.is_being_stopped) == (ATTEMPT, "", "", False)
    given_up = advance(held, SPEC, Dismissed("over"), NOW)
    assert (given_up.status, given_up.current, given_up.attempts, given_up.broken_by) == (S.RUNNABLE, None, (), "")
    assert advance(held, SPEC, ended("lost", None), NOW).broken_by == "i-1"


def test_what_a_stopped_node_says() -> None:
    told = advance(node(current=RAN, started_at_ms=6_000), ONCE, Dismissed(MAIN_NODE_ENDED), NOW)
    assert advance(told, ONCE, Dismissed("again"), NOW) is told
    over = advance(told, ONCE, ended("stopped", 143), NOW)
    assert (over.status, over.status_reason) == (S.FAILED, MAIN_NODE_ENDED)
    by_itself = advance(told, ONCE, ended("exited", 0), NOW)
    assert (by_itself.status, by_itself.status_reason) == (S.SUCCEEDED, "Essential container in task exited")
    terminated = advance(told, ONCE, Dismissed("stop it", is_terminated=True), NOW)
    assert advance(terminated, ONCE, ended("exited", 0), NOW).status is S.FAILED


def test_a_node_ends_as_its_part_in_the_last_attempt_did() -> None:
    waiting = node(status=S.RUNNABLE, started_at_ms=6_000)
    for attempts, status, reason in (
        ((closed(0),), S.SUCCEEDED, ""),
        ((closed(7, "x"),), S.FAILED, ""),
        ((), S.FAILED, "why"),
        ((replace(closed(0), number=0),), S.FAILED, "why"),
    ):
        over = advance(replace(waiting, attempts=attempts), SPEC, JobEnded(WHOLE), NOW)
        assert (over.status, over.status_reason) == (status, reason)
    good = replace(WHOLE, status=S.SUCCEEDED, status_reason="")
    assert advance(waiting, SPEC, JobEnded(good), NOW).status_reason == MAIN_NODE_ENDED


def test_ids_of_nodes() -> None:
    assert node_id("a-b", 12) == "a-b#12"
    assert split_node("a-b#12") == ("a-b", 12)
    for odd in ("a-b", "a#", "a#01", "a#-1", "a#1234567", "a#x", "a:1"):
        assert split_node(odd) == (odd, None)
