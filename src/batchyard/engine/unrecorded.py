"""When and why a child that never moved became FAILED: nothing is written down for it, so it follows from what is.

Such a child ends with what took away its last chance: a stop of its array, the end of its array, the child before it (SEQUENTIAL), or
its namesake in an array that it follows (N_TO_N), which may be as unrecorded as itself. What happened first holds, for good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from batchyard.core.dependencies import is_sequential
from batchyard.core.lifecycle import CHILD_FAILED, DEPENDENT_FAILED
from batchyard.model.job import DependencyKind, Job, Specification, Status, child_id
from batchyard.store.sql import Store


class Fate(NamedTuple):
    """`stopped`: its array was cancelled or terminated before a dependency failed."""

    at_ms: int
    reason: str
    stopped: bool


Find = Callable[[str], tuple[Job, Specification] | None]


def fate(find: Find, store: Store, parent: Job, spec: Specification, index: int) -> Fate | None:
    """What befell child `index` of `parent`, which has no record and will not run; None while what befell it is not committed.

    `find` gives committed jobs that have a record.
    """
    dependency_ms = _dependency_failed_at_ms(find, store, spec, index)
    if dependency_ms is not None:
        dependency_ms = max(dependency_ms, parent.created_at_ms)
    stop_ms = parent.stop_asked_at_ms
    if stop_ms is not None:
        if not int(parent.doomed_at_stop or "0", 16) >> index & 1:
            return Fate(stop_ms, parent.stop_reason, stopped=True)
        return Fate(min(dependency_ms or stop_ms, stop_ms), DEPENDENT_FAILED, stopped=False)
    if parent.stopped_at_ms is not None and (dependency_ms is None or dependency_ms >= parent.stopped_at_ms):
        # it ended as a whole, before any child could run; what it followed may have failed since
        reason = DEPENDENT_FAILED if parent.status_reason == CHILD_FAILED else parent.status_reason
        return Fate(parent.stopped_at_ms, reason, stopped=False)
    return None if dependency_ms is None else Fate(dependency_ms, DEPENDENT_FAILED, stopped=False)


def _dependency_failed_at_ms(find: Find, store: Store, spec: Specification, index: int) -> int | None:
    """When the first of the children that child `index` needs failed, as far as they are followed; None if none has."""
    failed_at_ms: list[int] = []
    seen: set[str] = set()
    to_visit = [(spec, index, False)]
    while to_visit:
        array, last, chained = to_visit.pop()
        if array.id in seen:
            continue
        seen.add(array.id)
        if is_sequential(array.depends_on):
            chained = True
            _note(failed_at_ms, store.first_failed_child(array.id, last - 1))
        for leader in [d.job_id for d in array.depends_on if d.kind is DependencyKind.N_TO_N]:
            found = find(leader)
            if found is None:
                continue
            recorded = store.first_failed_child(leader, last) if chained else store.job(child_id(leader, last))
            _note(failed_at_ms, recorded)
            # in a chain, one that has a record says nothing of an earlier end of those that have none
            if not store.has_records_up_to(leader, last) if chained else recorded is None:
                _note_array(failed_at_ms, found[0])
                to_visit.append((found[1], last, chained))
    return min(failed_at_ms, default=None)


def _note(failed_at_ms: list[int], child: Job | None) -> None:
    if child is not None and child.status is Status.FAILED and child.stopped_at_ms is not None:
        failed_at_ms.append(child.stopped_at_ms)


def _note_array(failed_at_ms: list[int], leader: Job) -> None:
    """The end of a leader's children that have no record, if the leader itself was what ended them."""
    if leader.stop_asked_at_ms is not None:
        failed_at_ms.append(leader.stop_asked_at_ms)
    elif leader.status is Status.FAILED and leader.status_reason != CHILD_FAILED and leader.stopped_at_ms is not None:
        failed_at_ms.append(leader.stopped_at_ms)
