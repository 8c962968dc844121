"""What of the past a turn may forget: finished jobs and job definitions out of use whose time is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchyard.model.job import DependencyKind
from batchyard.model.requests import Forget

if TYPE_CHECKING:
    from batchyard.engine.engine import Engine


def forget(engine: Engine, request: Forget) -> int:
    """Note for the turn's write what goes with it; how much that is, 0 if there is nothing left to forget.

    What a job that is not finished needs is never among it: of a dependency that was met only the fact counts, and it is kept with
    the job. Arrays that others follow child by child stay (see `store/forgetting.py`), and so does what is still in memory, such
    as a multi-node job of which nodes have not ended yet.
    """
    return _jobs(engine, request) + _definitions(engine, request)


def _jobs(engine: Engine, request: Forget) -> int:
    if request.jobs_before_ms is None:
        return 0
    yard, store = engine.yard, engine.store
    changes = yard.changes
    submitted = changes.specifications
    followed = {d.job_id for spec in submitted.values() for d in spec.depends_on if d.kind is DependencyKind.N_TO_N}
    for id in store.ended_before(request.jobs_before_ms, request.most):
        is_at_work = id in yard.arrays or id in yard.live_nodes or id in yard.specifications.awake
        if not is_at_work and id not in followed and id not in submitted:
            changes.forgotten.append(id)
    parent = store.leftover()
    if parent is not None:
        changes.leftovers.append(parent)
    return len(changes.forgotten) + len(changes.leftovers)


def _definitions(engine: Engine, request: Forget) -> int:
    """The newest revision of a name stays: numbers are never given twice."""
    if request.definitions_before_ms is None:
        return 0
    yard = engine.yard
    over = [
        definition.arn
        for definition in yard.definitions.values()
        if definition.inactive_since_ms is not None
        and definition.inactive_since_ms < request.definitions_before_ms
        and definition.revision < yard.latest_revision(definition.account, definition.region, definition.name)
    ]
    for arn in over[: request.most]:
        yard.drop_definition(arn)
    return len(over[: request.most])
