"""THE table of states. Every move that a job may make stands in this file, and nowhere else.

Theory
------
A job is one record and moves through AWS's seven states (specification, section 2.1):

    SUBMITTED -> PENDING -> RUNNABLE -> STARTING -> RUNNING -> SUCCEEDED | FAILED

What moves it is an *event*. `MOVES` maps (state, event) to a handler and to the states in which that handler may leave the job;
what is not in the table is illegal and raises `IllegalMove` with the job untouched. `advance` is the only caller of the handlers
and checks their result against the table, so the diagram in ARCHITECTURE.md, which is drawn from the same table, cannot lie.

Some rules that the table encodes and that are easy to get wrong:

- The end of an attempt is not the end of a job. `Ended` closes the attempt, then decides: a job that was asked to stop fails with
  the caller's words, a timed out one fails without a retry, exit code 0 succeeds (even if a child process was killed for memory),
  and everything else asks `retries.verdict`.
- "Your program failed" and "the infrastructure failed" never look alike: only a process that really exited has an exit code.
- Final states are final: every event leaves them as they are (a second TerminateJob answers 200 and changes nothing).
- CancelJob has no effect from STARTING on; TerminateJob marks the job, and it fails when its attempt has ended.
- Timestamps never run backwards: a report that carries an earlier time than the attempt's begin is pulled up to it.

An array's parent moves by a smaller table, `ARRAY_MOVES`: it never runs, it is PENDING while its children do, and it ends when
they all have.

A multi-node parallel job moves by `GANG_MOVES`. It is its own main node: it is placed, starts and runs as that node does. When its
main node has ended it waits (in the state where it is) until all other nodes have, and only then goes on: so nothing of a finished
job runs, and a retry finds no node of the attempt before it. The other nodes move by `NODE_MOVES`. Each of them holds room from the
moment when the main node is placed, starts when the main node runs, and decides nothing for the job. One that has ended may be
needed again if the job has attempts left; it is RUNNABLE until the job knows.

Effects are not listed here: what a provider is to be told follows from the record (see `engine/dispatch.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from batchyard.core import retries
from batchyard.model.job import Attempt, Job, Specification, Status
from batchyard.model.messages import AttemptEnded
from batchyard.model.task import ContainerEnd

S = Status

EXITED = "Essential container in task exited"
NOT_STARTED = "Task failed to start"
TIMED_OUT = "Job attempt duration exceeded timeout"
DEPENDENT_FAILED = "Dependent Job failed"
CHILD_FAILED = "Array Child Job failed"
SPOT_TASK_INTERRUPTED = "Your Spot Task was interrupted."
QUEUE_DELETED = "JobQueue deleted"
MAIN_NODE_ENDED = "Main node has ended"
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


def host_lost(instance: str) -> str:
    """The reason that Nextflow, miniwdl and redun recognise as an interruption (specification, section 2.3)."""
    return f"Host EC2 (instance {instance}) terminated."


def loss_of(attempt: Attempt) -> str:
    """What is said of an attempt whose host is gone: a Spot task of Fargate has words of its own."""
    return SPOT_TASK_INTERRUPTED if attempt.platform == "FARGATE_SPOT" else host_lost(attempt.instance)


class IllegalMove(Exception):
    """An event that the table does not allow in this state. That is our bug, never the user's."""


@dataclass(frozen=True, slots=True)
class Held:
    """Dependencies are not met yet."""


@dataclass(frozen=True, slots=True)
class Released:
    """All dependencies are met."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """A dependency failed, or AWS accepts such a job and then finds it wrong."""

    reason: str = DEPENDENT_FAILED


@dataclass(frozen=True, slots=True)
class Placed:
    """The scheduler found room."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Started:
    at_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    report: AttemptEnded


@dataclass(frozen=True, slots=True)
class CancelAsked:
    reason: str


@dataclass(frozen=True, slots=True)
class TerminateAsked:
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """All children of an array are final."""

    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True)
class NodeLost:
    """To a multi-node parallel job: a node that was to start after the main node has lost its instance."""

    instance: str


@dataclass(frozen=True, slots=True)
class NodesEnded:
    """To a multi-node parallel job whose main node has ended: so have all others."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """To a node: room is held for it; it starts when the main node runs."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Called:
    """To a node: the main node runs."""


@dataclass(frozen=True, slots=True)
class Dismissed:
    """To a node: it is not needed any more in this attempt, because the main node has ended or the whole job is terminated."""

    reason: str
    is_terminated: bool = False


@dataclass(frozen=True, slots=True)
class JobEnded:
    """To a node: the job that it is part of is final."""

    job: Job


Event = (
    (Held | Released | Doomed | Placed | Started | Ended | CancelAsked | TerminateAsked | Settled)
    | (NodeLost | NodesEnded)
    | (Reserved | Called | Dismissed | JobEnded)
)
Handler = Callable[[Job, Specification, "Event", int], Job]


def advance(job: Job, spec: Specification, event: Event, now_ms: int) -> Job:
    """The job after `event`. The same object if nothing changes; raises IllegalMove for what the table does not know."""
    table = ARRAY_MOVES if job.is_array else GANG_MOVES if job.is_multi_node else MOVES if job.node is None else NODE_MOVES
    move = table.get((job.status, type(event)))
    if move is None:
        raise IllegalMove(f"{type(event).__name__} for job {job.id} in {job.status}")
    moved = move[0](job, spec, event, now_ms)
    if moved.status not in move[1]:
        raise IllegalMove(f"{type(event).__name__} would take job {job.id} from {job.status} to {moved.status}")
    return moved


def _unchanged(job: Job, _spec: Specification, _event: Event, _now_ms: int) -> Job:
    return job


def _hold(job: Job, _spec: Specification, _event: Event, _now_ms: int) -> Job:
    return replace(job, status=S.PENDING)


def _release(job: Job, _spec: Specification, _event: Event, now_ms: int) -> Job:
    return replace(job, status=S.RUNNABLE, runnable_at_ms=now_ms, waits_for=())


def _doom(job: Job, spec: Specification, event: Event, now_ms: int) -> Job:
    assert isinstance(event, Doomed)
    children = (0, spec.array_size) if job.is_array else (0, 0)
    reason = job.stop_reason or event.reason  # an array may have been stopped just before
    return replace(job, status=S.FAILED, status_reason=reason, stopped_at_ms=now_ms, waits_for=(), children=children)


def _place(job: Job, _spec: Specification, event: Event, _now_ms: int) -> Job:
    assert isinstance(event, Placed)
    attempt, ended_at_ms = event.attempt, job.attempts[-1].stopped_at_ms if job.attempts else None
    if ended_at_ms is not None and ended_at_ms > attempt.placed_at_ms:  # a clock was set back
        attempt = replace(attempt, placed_at_ms=ended_at_ms)
    return replace(job, status=S.STARTING, current=attempt, status_reason="", started_at_ms=None)


def _start(job: Job, _spec: Specification, event: Event, _now_ms: int) -> Job:
    assert isinstance(event, Started)
    assert job.current is not None
    at_ms = max(event.at_ms, job.current.placed_at_ms)
    return replace(job, status=S.RUNNING, started_at_ms=at_ms, current=replace(job.current, started_at_ms=at_ms))


def _end(job: Job, spec: Specification, event: Event, now_ms: int) -> Job:
    assert isinstance(event, Ended)
    assert job.current is not None
    closed = _close(job.current, job, event.report)
    after = replace(
        job, current=None, attempts=(*job.attempts, closed), started_at_ms=closed.started_at_ms, status_reason=closed.status_reason
    )
    if job.is_terminated:
        return replace(after, status=S.FAILED, status_reason=job.stop_reason, stopped_at_ms=closed.stopped_at_ms)
    if closed.exit_code == 0 and event.report.cause == "exited":
        return replace(after, status=S.SUCCEEDED, stopped_at_ms=closed.stopped_at_ms)
    if event.report.cause != "timeout" and retries.verdict(spec, closed):
        return replace(after, status=S.RUNNABLE, runnable_at_ms=now_ms)
    return replace(after, status=S.FAILED, stopped_at_ms=closed.stopped_at_ms)


def _close(attempt: Attempt, job: Job, report: AttemptEnded) -> Attempt:
    """The attempt with what the provider saw, in AWS's words."""
    started_at_ms = attempt.started_at_ms
    if started_at_ms is None and report.started_at_ms is not None:
        started_at_ms = max(report.started_at_ms, attempt.placed_at_ms)
    match report.cause:
        case "lost":
            status_reason, reason, exit_code = loss_of(attempt), "", None
        case "not-started":
            status_reason, reason, exit_code = NOT_STARTED, report.reason, None
            started_at_ms = None
        case "timeout":
            status_reason, reason, exit_code = TIMED_OUT, report.reason, report.exit_code
        case "stopped" if job.broken_by and not job.is_terminated:
            status_reason, reason, exit_code = host_lost(job.broken_by), "", None
        case "stopped" if job.node is not None and job.stop_reason:
            status_reason, reason, exit_code = job.stop_reason, report.reason, report.exit_code
        case _:
            status_reason = job.stop_reason if job.is_terminated else EXITED
            reason, exit_code = OUT_OF_MEMORY if report.oom else report.reason, report.exit_code
    return replace(
        attempt,
        started_at_ms=started_at_ms,
        stopped_at_ms=max(report.at_ms, started_at_ms or attempt.placed_at_ms),
        exit_code=exit_code,
        status_reason=status_reason,
        reason=reason[:255],
        peak_memory_mib=report.peak_memory_mib,
        cpu_s=report.cpu_s,
        read_mib=report.read_mib,
        written_mib=report.written_mib,
        disk_peak_mib=report.disk_peak_mib,
        containers=tuple(_container_end(end) for end in report.containers),
    )


def _container_end(end: ContainerEnd) -> ContainerEnd:
    """A container of a task as its attempt keeps it: the kernel's kill for memory in AWS's words."""
    return replace(end, reason=(OUT_OF_MEMORY if end.oom else end.reason)[:255])


def _cancel(job: Job, _spec: Specification, event: Event, now_ms: int) -> Job:
    assert isinstance(event, CancelAsked)
    return _stopped(job, event.reason, now_ms, is_cancelled=True)


def _terminate(job: Job, _spec: Specification, event: Event, now_ms: int) -> Job:
    assert isinstance(event, TerminateAsked)
    return _stopped(job, event.reason, now_ms, is_terminated=True)


def _stopped(job: Job, reason: str, now_ms: int, is_cancelled: bool = False, is_terminated: bool = False) -> Job:
    return replace(
        job,
        status=S.FAILED,
        status_reason=reason,
        stop_reason=reason,
        stopped_at_ms=now_ms,
        is_cancelled=is_cancelled,
        is_terminated=is_terminated,
        waits_for=(),
    )


def _mark_terminated(job: Job, _spec: Specification, event: Event, _now_ms: int) -> Job:
    """The first reason stays: the job fails with it when its attempt has ended."""
    assert isinstance(event, TerminateAsked)
    return job if job.is_terminated else replace(job, is_terminated=True, stop_reason=event.reason)


def _mark_array(job: Job, _spec: Specification, event: Event, now_ms: int) -> Job:
    """The parent only carries the mark; its children are told one by one, and for those without a record the first mark holds."""
    assert isinstance(event, CancelAsked | TerminateAsked)
    if job.is_terminated or (job.is_cancelled and isinstance(event, CancelAsked)):
        return job
    marked = job if job.stop_asked_at_ms is not None else replace(job, stop_reason=event.reason, stop_asked_at_ms=now_ms)
    if isinstance(event, TerminateAsked):
        return replace(marked, is_terminated=True)
    return replace(marked, is_cancelled=True)


def _settle(job: Job, _spec: Specification, event: Event, now_ms: int) -> Job:
    assert isinstance(event, Settled)
    reason = (job.stop_reason or CHILD_FAILED) if event.failed else ""
    return replace(
        job,
        status=S.FAILED if event.failed else S.SUCCEEDED,
        status_reason=reason,
        stopped_at_ms=now_ms,
        children=(event.succeeded, event.failed),
        waits_for=(),
    )


def _end_main(job: Job, _spec: Specification, event: Event, _now_ms: int) -> Job:
    """The main node's attempt is over; what becomes of the job is decided when all other nodes have ended."""
    assert isinstance(event, Ended)
    assert job.current is not None
    closed = _close(job.current, job, event.report)
    return replace(job, current=None, attempts=(*job.attempts, closed), started_at_ms=closed.started_at_ms)


def _conclude(job: Job, spec: Specification, _event: Event, now_ms: int) -> Job:
    last = job.attempts[-1]
    after = replace(job, status_reason=last.status_reason, broken_by="")
    if job.is_terminated:
        return replace(after, status=S.FAILED, status_reason=job.stop_reason, stopped_at_ms=last.stopped_at_ms)
    if has_succeeded(last):
        return replace(after, status=S.SUCCEEDED, stopped_at_ms=last.stopped_at_ms)
    if last.status_reason != TIMED_OUT and retries.verdict(spec, last):
        return replace(after, status=S.RUNNABLE, runnable_at_ms=now_ms)
    return replace(after, status=S.FAILED, stopped_at_ms=last.stopped_at_ms)


def has_succeeded(closed: Attempt) -> bool:
    """Whether an attempt of a main node that was not stopped is a success."""
    return closed.exit_code == 0 and closed.status_reason == EXITED


def _terminate_gang(job: Job, _spec: Specification, event: Event, _now_ms: int) -> Job:
    """The main node alone decides: once it has succeeded, the job has, though other nodes are still being stopped."""
    assert isinstance(event, TerminateAsked)
    if job.is_terminated or (job.is_ending and has_succeeded(job.attempts[-1])):
        return job
    return replace(job, is_terminated=True, stop_reason=event.reason)


def _lose_node(job: Job, _spec: Specification, event: Event, _now_ms: int) -> Job:
    """All nodes or none: the attempt is lost. Once the main node runs, a lost node is that node's business alone."""
    assert isinstance(event, NodeLost)
    return job if job.broken_by or job.is_ending else replace(job, broken_by=event.instance)


def _reserve(job: Job, _spec: Specification, event: Event, _now_ms: int) -> Job:
    assert isinstance(event, Reserved)
    return replace(job, current=event.attempt, status_reason="", started_at_ms=None, stop_reason="", broken_by="")


def _call(job: Job, _spec: Specification, _event: Event, _now_ms: int) -> Job:
    assert job.current is not None
    return replace(job, status=S.STARTING)


def _give_up(job: Job, _spec: Specification, event: Event, _now_ms: int) -> Job:
    """A node that was never started has no attempt to show."""
    lost = job.current.instance if isinstance(event, Ended) and job.current is not None else ""
    return replace(job, current=None, broken_by=lost)


def _dismiss(job: Job, _spec: Specification, event: Event, _now_ms: int) -> Job:
    assert isinstance(event, Dismissed)
    if job.is_terminated or (job.stop_reason and not event.is_terminated):
        return job
    return replace(job, stop_reason=event.reason, is_terminated=event.is_terminated)


def _end_node(job: Job, spec: Specification, event: Event, now_ms: int) -> Job:
    assert isinstance(event, Ended)
    assert job.current is not None
    closed = _close(job.current, job, event.report)
    after = replace(
        job, current=None, attempts=(*job.attempts, closed), started_at_ms=closed.started_at_ms, status_reason=closed.status_reason
    )
    if closed.number < spec.attempts:  # the job may be tried again, and this node with it
        return replace(after, status=S.RUNNABLE, runnable_at_ms=now_ms)
    return _finish_node(after, closed)


def _finish_node(job: Job, closed: Attempt) -> Job:
    good = closed.exit_code == 0 and not job.is_terminated
    return replace(job, status=S.SUCCEEDED if good else S.FAILED, stopped_at_ms=closed.stopped_at_ms)


def _end_with_job(job: Job, _spec: Specification, event: Event, now_ms: int) -> Job:
    """A node ends as its part in the job's last attempt did; one that had none has failed with the job's words."""
    assert isinstance(event, JobEnded)
    whole = event.job
    if job.attempts and whole.attempts and job.attempts[-1].number == whole.attempts[-1].number:
        return _finish_node(job, job.attempts[-1])
    words = whole.status_reason if whole.status is S.FAILED and whole.status_reason else MAIN_NODE_ENDED
    flags = {"is_cancelled": whole.is_cancelled, "is_terminated": whole.is_terminated}
    return replace(job, status=S.FAILED, status_reason=words, stopped_at_ms=max(now_ms, job.started_at_ms or 0), **flags)


Move = tuple[Handler, tuple[Status, ...]]

MOVES: dict[tuple[Status, type[Event]], Move] = {
    (S.SUBMITTED, Held): (_hold, (S.PENDING,)),
    (S.SUBMITTED, Released): (_release, (S.RUNNABLE,)),
    (S.SUBMITTED, Doomed): (_doom, (S.FAILED,)),
    (S.SUBMITTED, CancelAsked): (_cancel, (S.FAILED,)),
    (S.SUBMITTED, TerminateAsked): (_terminate, (S.FAILED,)),
    (S.PENDING, Released): (_release, (S.RUNNABLE,)),
    (S.PENDING, Doomed): (_doom, (S.FAILED,)),
    (S.PENDING, CancelAsked): (_cancel, (S.FAILED,)),
    (S.PENDING, TerminateAsked): (_terminate, (S.FAILED,)),
    (S.RUNNABLE, Placed): (_place, (S.STARTING,)),
    (S.RUNNABLE, CancelAsked): (_cancel, (S.FAILED,)),
    (S.RUNNABLE, TerminateAsked): (_terminate, (S.FAILED,)),
    (S.STARTING, Started): (_start, (S.RUNNING,)),
    (S.STARTING, Ended): (_end, (S.RUNNABLE, S.SUCCEEDED, S.FAILED)),
    (S.STARTING, CancelAsked): (_unchanged, (S.STARTING,)),
    (S.STARTING, TerminateAsked): (_mark_terminated, (S.STARTING,)),
    (S.RUNNING, Started): (_unchanged, (S.RUNNING,)),
    (S.RUNNING, Ended): (_end, (S.RUNNABLE, S.SUCCEEDED, S.FAILED)),
    (S.RUNNING, CancelAsked): (_unchanged, (S.RUNNING,)),
    (S.RUNNING, TerminateAsked): (_mark_terminated, (S.RUNNING,)),
    (S.SUCCEEDED, CancelAsked): (_unchanged, (S.SUCCEEDED,)),
    (S.SUCCEEDED, TerminateAsked): (_unchanged, (S.SUCCEEDED,)),
    (S.FAILED, CancelAsked): (_unchanged, (S.FAILED,)),
    (S.FAILED, TerminateAsked): (_unchanged, (S.FAILED,)),
}

ARRAY_MOVES: dict[tuple[Status, type[Event]], Move] = {
    (S.SUBMITTED, Held): (_hold, (S.PENDING,)),
    (S.PENDING, CancelAsked): (_mark_array, (S.PENDING,)),
    (S.PENDING, TerminateAsked): (_mark_array, (S.PENDING,)),
    (S.PENDING, Doomed): (_doom, (S.FAILED,)),
    (S.PENDING, Settled): (_settle, (S.SUCCEEDED, S.FAILED)),
    (S.SUCCEEDED, CancelAsked): (_unchanged, (S.SUCCEEDED,)),
    (S.SUCCEEDED, TerminateAsked): (_unchanged, (S.SUCCEEDED,)),
    (S.FAILED, CancelAsked): (_unchanged, (S.FAILED,)),
    (S.FAILED, TerminateAsked): (_unchanged, (S.FAILED,)),
}

GANG_MOVES: dict[tuple[Status, type[Event]], Move] = {
    **MOVES,
    (S.STARTING, Ended): (_end_main, (S.STARTING,)),
    (S.STARTING, NodeLost): (_lose_node, (S.STARTING,)),
    (S.STARTING, TerminateAsked): (_terminate_gang, (S.STARTING,)),
    (S.STARTING, NodesEnded): (_conclude, (S.RUNNABLE, S.SUCCEEDED, S.FAILED)),
    (S.RUNNING, Ended): (_end_main, (S.RUNNING,)),
    (S.RUNNING, NodeLost): (_unchanged, (S.RUNNING,)),
    (S.RUNNING, TerminateAsked): (_terminate_gang, (S.RUNNING,)),
    (S.RUNNING, NodesEnded): (_conclude, (S.RUNNABLE, S.SUCCEEDED, S.FAILED)),
}

NODE_MOVES: dict[tuple[Status, type[Event]], Move] = {
    (S.RUNNABLE, Reserved): (_reserve, (S.RUNNABLE,)),
    (S.RUNNABLE, Called): (_call, (S.STARTING,)),
    (S.RUNNABLE, Dismissed): (_give_up, (S.RUNNABLE,)),
    (S.RUNNABLE, Ended): (_give_up, (S.RUNNABLE,)),
    (S.RUNNABLE, JobEnded): (_end_with_job, (S.SUCCEEDED, S.FAILED)),
    (S.STARTING, Started): (_start, (S.RUNNING,)),
    (S.STARTING, Dismissed): (_dismiss, (S.STARTING,)),
    (S.STARTING, Ended): (_end_node, (S.RUNNABLE, S.SUCCEEDED, S.FAILED)),
    (S.RUNNING, Started): (_unchanged, (S.RUNNING,)),
    (S.RUNNING, Dismissed): (_dismiss, (S.RUNNING,)),
    (S.RUNNING, Ended): (_end_node, (S.RUNNABLE, S.SUCCEEDED, S.FAILED)),
}
