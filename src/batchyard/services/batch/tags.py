"""Tags of all that Batch knows: one store, the records themselves, so that no answer can differ from another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from batchyard.model.capacity import Environment, Queue
from batchyard.model.consumable import Consumable
from batchyard.model.definition import Definition
from batchyard.model.fairshare import SchedulingPolicy
from batchyard.model.fault import Fault, client_fault
from batchyard.model.job import Specification, split_child, split_node
from batchyard.model.requests import Catalogue, Edit, TagJob
from batchyard.model.tags import CONSUMABLE, DEFINITION, ENVIRONMENT, JOB, PROVIDER, QUEUE, SCRATCH, value_of
from batchyard.services import Caller, Params
from batchyard.services.batch.jobs import find_job
from batchyard.services.batch.names import arn_of
from batchyard.services.batch.queues import spills_into_idle_room
from batchyard.services.batch.tag_rules import check_tags
from batchyard.services.desk import Desk

_Change = Callable[[dict[str, str]], dict[str, str]]

# The part of an ARN that says what it names -> what messages call it.
KINDS = {
    "compute-environment": ENVIRONMENT,
    "job-queue": QUEUE,
    "job-definition": DEFINITION,
    "job": JOB,
    "consumable-resource": CONSUMABLE,
    "scheduling-policy": "scheduling policy",
}
_Record = Environment | Queue | Definition | Consumable | SchedulingPolicy


async def tag_resource(desk: Desk, caller: Caller, params: Params) -> Params:
    """Adds tags, or gives them new values."""
    kind = _kind(caller, params["resourceArn"])
    added = params.get("tags") or {}

    def change(tags: dict[str, str]) -> dict[str, str]:
        merged = {**tags, **added}
        check_tags(KINDS[kind], merged)
        return merged

    await _change(desk, caller, kind, params["resourceArn"], change)
    return {}


async def untag_resource(desk: Desk, caller: Caller, params: Params) -> Params:
    """Takes tags away by their keys; keys that are not there are no error."""
    kind = _kind(caller, params["resourceArn"])
    keys = set(params["tagKeys"])
    await _change(desk, caller, kind, params["resourceArn"], lambda tags: {key: tags[key] for key in tags if key not in keys})
    return {}


async def list_tags_for_resource(desk: Desk, caller: Caller, params: Params) -> Params:
    """The tags of a compute environment, queue, job definition, consumable resource or job."""
    arn = params["resourceArn"]
    kind = _kind(caller, arn)
    if kind == "job":
        return {"tags": _job(desk, caller, arn).tags}
    return {"tags": _record(desk.read, arn).tags}


async def _change(desk: Desk, caller: Caller, kind: str, arn: str, change: _Change) -> None:
    if kind == "job":
        async with desk.tagging:
            spec = _job(desk, caller, arn)
            tags = change(spec.tags)
            if tags.get(SCRATCH.name) != spec.tags.get(SCRATCH.name):
                raise client_fault(f"Tag {SCRATCH.name} of a job is said when it is submitted and cannot be changed. Submit the job anew.")
            await desk.ask(TagJob(replace(spec, tags=tags)))
        return

    def act(catalogue: Catalogue) -> None:
        record = _record(catalogue, arn)
        catalogue.put(_retagged(record, change(record.tags)))

    await desk.ask(Edit(act))


def _retagged(record: _Record, tags: dict[str, str]) -> _Record:
    """The record with these tags, and with what Batchyard's own tags mean for it."""
    if isinstance(record, Queue):
        return replace(record, tags=tags, spill_idle=spills_into_idle_room(tags))
    if isinstance(record, Environment):
        return replace(record, tags=tags, provider=value_of(PROVIDER, tags))
    return replace(record, tags=tags)


def _kind(caller: Caller, arn: str) -> str:
    """Which of KINDS an ARN of the caller's account and region names."""
    prefix = f"arn:aws:batch:{caller.region}:{caller.account}:"
    kind, slash, name = arn.removeprefix(prefix).partition("/")
    if not arn.startswith(prefix) or kind not in KINDS or not slash or not name:
        raise client_fault(
            f"Invalid ARN {arn}: it must name a compute environment, job queue, job definition, consumable resource or job "
            f"of account {caller.account} in {caller.region}."
        )
    return kind


def _record(things: Any, arn: str) -> _Record:
    """The environment, queue, job definition, consumable resource or policy of an ARN, from anything that has all of these."""
    catalogues: tuple[Mapping[str, Any], ...] = (
        things.environments,
        things.queues,
        things.definitions,
        things.consumables,
        things.policies,
    )
    for records in catalogues:
        if arn in records:
            record: _Record = records[arn]
            return record
    raise _unknown(arn)


def _job(desk: Desk, caller: Caller, arn: str) -> Specification:
    job_id = arn.removeprefix(arn_of(caller, "job", ""))
    if split_child(job_id)[1] is not None:
        raise client_fault(f"{arn} is a child of an array job, and children have no tags of their own. Tag the array job.")
    if split_node(job_id)[1] is not None:
        raise client_fault(f"{arn} is a node of a multi-node parallel job, and nodes have no tags of their own. Tag the job.")
    found = find_job(desk, caller, job_id)
    if found is None:
        raise _unknown(arn)
    return found[1]


def _unknown(arn: str) -> Fault:
    return client_fault(f"Resource {arn} does not exist")
