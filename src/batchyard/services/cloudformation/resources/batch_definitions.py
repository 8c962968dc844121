"""AWS::Batch::JobDefinition: its physical id is the ARN of a revision, and an update makes the next revision of the same name.

The revision before is deregistered when the stack's update is through (on AWS as soon as the new one is there, so that a failed update
leaves yet another revision), unless ResourceRetentionPolicy.SkipDeregisterOnUpdate is true: then it stays ACTIVE for those who submit to
it. Jobs that were submitted to a revision run on whatever becomes of it. A change of tags alone makes no revision. Tags: the stack's
and its own (see `batch_environments.py`).
"""

from __future__ import annotations

from typing import Any

from batchyard.model.fault import Fault
from batchyard.model.tags import DEFINITION
from batchyard.services.cloudformation.resources.spelling import essence, members, sent, shown, without_fillers
from batchyard.services.cloudformation.resources.standing import (
    does_not_exist,
    given_name,
    noted,
    own_tag_map,
    retag_in_batch,
    tags_for,
)
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

RETENTION = "ResourceRetentionPolicy"


async def create(hands: Hands, asked: Asked) -> Made:
    """Registers a revision; of a repeated step only one. Ref is the ARN of the revision."""
    return await _registered(hands, asked, given_name(asked, "JobDefinitionName"))


async def update(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """The next revision, when it is to say something else than the one that is there (also after an update that failed)."""
    name = kept.physical_id.rpartition("/")[2].rpartition(":")[0]
    revision = await _revision(hands, kept.physical_id)
    if revision is not None and revision["status"] == "ACTIVE" and _is_of(revision, _request(asked, name), but_tags=True):
        await retag_in_batch(DEFINITION, hands, asked, kept)
        return _made(kept.physical_id)
    made = await _registered(hands, asked, name)
    keeps = bool((asked.properties.get(RETENTION) or {}).get("SkipDeregisterOnUpdate"))
    return Made(made.physical_id, made.attributes, keeps_former=keeps)


async def delete(hands: Hands, kept: Kept) -> None:
    """The revision is INACTIVE from now on, as every deregistered one; jobs that were submitted to it run on."""
    await _deregister(hands, kept.physical_id)


async def read(hands: Hands, kept: Kept) -> Properties | None:
    """The revision as it is now; None once it is deregistered."""
    revision = await _revision(hands, kept.physical_id)
    if revision is None or revision["status"] != "ACTIVE":
        return None
    properties = shown("batch", "DescribeJobDefinitions", revision, "jobDefinitions", "[]")
    for name in ("Revision", "Status", "ContainerOrchestrationType"):
        properties.pop(name, None)
    if str(kept.properties.get("Type", "")).lower() == properties["Type"]:
        properties["Type"] = kept.properties["Type"]  # Container and container are the same
    properties["Tags"] = own_tag_map(revision.get("tags"), kept)
    return dict(without_fillers(properties, kept.properties))


def _request(asked: Asked, name: str) -> dict[str, Any]:
    properties = {key: value for key, value in asked.properties.items() if key != RETENTION}
    return sent("batch", "RegisterJobDefinition", {**properties, "JobDefinitionName": name, "Tags": tags_for(DEFINITION, asked)})


async def _registered(hands: Hands, asked: Asked, name: str) -> Made:
    params = _request(asked, name)
    newest = await _newest(hands, name)
    before = await noted(hands, newest["revision"] if newest else 0)
    if newest is not None and newest["revision"] > before and _is_of(newest, params):
        return _made(newest["jobDefinitionArn"])  # a try before this one registered it
    return _made((await hands.call("batch", "RegisterJobDefinition", params))["jobDefinitionArn"])


def _is_of(revision: dict[str, Any], params: dict[str, Any], *, but_tags: bool = False) -> bool:
    """Whether a revision is what this request registered, or would register."""
    taken = members("batch", "RegisterJobDefinition")
    wanted, there = essence(params), essence({name: value for name, value in revision.items() if name in taken})
    wanted["type"], there["type"] = wanted["type"].lower(), there["type"].lower()
    if but_tags:
        wanted["tags"] = there["tags"] = {}
    return bool(wanted == there)


async def _newest(hands: Hands, name: str) -> dict[str, Any] | None:
    answer = await hands.call("batch", "DescribeJobDefinitions", {"jobDefinitionName": name, "maxResults": 1})
    revisions: list[dict[str, Any]] = answer["jobDefinitions"]
    return revisions[0] if revisions else None


async def _revision(hands: Hands, arn: str) -> dict[str, Any] | None:
    answer = await hands.call("batch", "DescribeJobDefinitions", {"jobDefinitions": [arn]})
    revisions: list[dict[str, Any]] = answer["jobDefinitions"]
    return revisions[0] if revisions else None


async def _deregister(hands: Hands, arn: str) -> None:
    try:
        await hands.call("batch", "DeregisterJobDefinition", {"jobDefinition": arn})
    except Fault as fault:
        if not does_not_exist(fault):
            raise


def _made(arn: str) -> Made:
    return Made(arn, {"JobDefinitionArn": arn, "JobDefinitionName": arn.rpartition("/")[2].rpartition(":")[0]})


TYPES = (
    ResourceType(
        "AWS::Batch::JobDefinition",
        create,
        update,
        delete,
        read,
        named=NameRule("JobDefinitionName", 128),
        has_stack_tags=True,
    ),
)
