"""Scheduling policies of the kind fair share: create, change, show, list, delete."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from batchyard.core import fairshare
from batchyard.model.fairshare import SchedulingPolicy, ShareWeight
from batchyard.model.fault import client_fault
from batchyard.model.requests import Catalogue, Edit
from batchyard.services import Caller, Params
from batchyard.services.batch.fields_not_yet import refuse_not_yet
from batchyard.services.batch.names import arn_of, by_name, check_name
from batchyard.services.batch.tag_rules import check_tags
from batchyard.services.batch.tokens import page
from batchyard.services.batch.validation import page_size
from batchyard.services.desk import Desk

KIND = "scheduling policy"
MOST = 100
MAX_DECAY_S = 604_800
MAX_RESERVATION = 99
MIN_WEIGHT, MAX_WEIGHT = 0.0001, 999.9999
_SHARE = re.compile(r"[A-Za-z0-9]{1,255}\*?|\*")


async def create_scheduling_policy(desk: Desk, caller: Caller, params: Params) -> Params:
    """A new policy. Without fairsharePolicy every share has the same weight. Answers name and ARN."""
    _check_kinds("CreateSchedulingPolicy", params)
    name, tags = params["name"], params.get("tags") or {}
    check_name("name", name)
    check_tags(KIND, tags)
    arn = arn_of(caller, "scheduling-policy", name)
    members = _members(params.get("fairsharePolicy") or {})

    def act(catalogue: Catalogue) -> None:
        if arn in catalogue.policies:
            raise client_fault("Object already exists")
        at_ms = catalogue.now_ms
        catalogue.put(
            SchedulingPolicy(arn=arn, name=name, account=caller.account, region=caller.region, tags=tags, created_at_ms=at_ms, **members)
        )

    await desk.ask(Edit(act))
    return {"name": name, "arn": arn}


async def update_scheduling_policy(desk: Desk, caller: Caller, params: Params) -> Params:
    """Replaces fairsharePolicy as a whole; without one nothing changes. Holds for jobs that wait already."""
    _check_kinds("UpdateSchedulingPolicy", params)
    members = _members(params["fairsharePolicy"]) if params.get("fairsharePolicy") is not None else {}

    def act(catalogue: Catalogue) -> None:
        catalogue.put(replace(require_policy(catalogue.policies, caller, params["arn"]), **members))

    await desk.ask(Edit(act))
    return {}


async def delete_scheduling_policy(desk: Desk, caller: Caller, params: Params) -> Params:
    """At once. Refused while a queue uses it, also one that is being deleted."""

    def act(catalogue: Catalogue) -> None:
        policy = require_policy(catalogue.policies, caller, params["arn"])
        users = sorted(queue.name for queue in catalogue.queues.values() if queue.scheduling_policy == policy.arn)
        if users:
            raise client_fault(
                f"Cannot delete, found existing JobQueue relationship: {', '.join(users)} uses scheduling policy {policy.name}."
            )
        catalogue.drop(policy)

    await desk.ask(Edit(act))
    return {}


async def describe_scheduling_policies(desk: Desk, caller: Caller, params: Params) -> Params:
    """Those asked for by ARN, in the order of the request; unknown ones are left out."""
    arns = params["arns"]
    if len(arns) > MOST:
        raise client_fault(f"arns may hold at most {MOST} ARNs, not {len(arns)}.")
    found = (_find(desk.read.policies, caller, arn) for arn in dict.fromkeys(arns))
    return {"schedulingPolicies": [_detail(policy) for policy in found if policy is not None]}


async def list_scheduling_policies(desk: Desk, caller: Caller, params: Params) -> Params:
    """The ARNs of all of the caller's account and region, in order of name, in pages."""
    size = page_size(params.get("maxResults"), MOST)
    mine = by_name(desk.read.policies, caller)
    shown, token = page(("ListSchedulingPolicies", caller.account, caller.region), mine, params.get("nextToken"), size)
    result: Params = {"schedulingPolicies": [{"arn": policy.arn} for policy in shown]}
    if token:
        result["nextToken"] = token
    return result


def require_policy(policies: Mapping[str, SchedulingPolicy], caller: Caller, arn: str) -> SchedulingPolicy:
    """The policy of an ARN, of the caller's account and region. Raises a Fault if there is none."""
    policy = _find(policies, caller, arn)
    if policy is None:
        raise client_fault(f"SchedulingPolicy {arn} does not exist")
    return policy


def check_share(member: str, share: str) -> None:
    """Refuse a share identifier that AWS's pattern does not allow."""
    if not _SHARE.fullmatch(share):
        raise client_fault(f"{member} must be 1 to 255 letters and digits, and optionally an asterisk (*) at the end, not {share[:40]!r}.")


def _find(policies: Mapping[str, SchedulingPolicy], caller: Caller, arn: str) -> SchedulingPolicy | None:
    return policies.get(arn) if arn.startswith(arn_of(caller, "scheduling-policy", "")) else None


def _check_kinds(operation: str, params: Params) -> None:
    if params.get("fairsharePolicy") and params.get("quotaSharePolicy"):
        raise client_fault("Only one of fairsharePolicy and quotaSharePolicy can be set.")
    refuse_not_yet(operation, params)


def _members(policy: Mapping[str, Any]) -> dict[str, Any]:
    """fairsharePolicy, checked, as a record has it."""
    decay_s, reservation = policy.get("shareDecaySeconds") or 0, policy.get("computeReservation") or 0
    if not 0 <= decay_s <= MAX_DECAY_S:
        raise client_fault(f"shareDecaySeconds must be between 0 and {MAX_DECAY_S}, not {decay_s}.")
    if not 0 <= reservation <= MAX_RESERVATION:
        raise client_fault(f"computeReservation must be between 0 and {MAX_RESERVATION}, not {reservation}.")
    return {"decay_s": decay_s, "reservation": reservation, "distribution": _distribution(policy.get("shareDistribution") or ())}


def _distribution(entries: Sequence[Mapping[str, Any]]) -> tuple[ShareWeight, ...]:
    weights: dict[str, float | None] = {}
    for number, entry in enumerate(entries):
        where, share, weight = f"shareDistribution[{number}]", entry["shareIdentifier"], entry.get("weightFactor")
        check_share(f"{where}.shareIdentifier", share)
        if share in weights:
            raise client_fault(f"{where}.shareIdentifier: {share} stands in shareDistribution more than once.")
        if weight is not None and not MIN_WEIGHT <= weight <= MAX_WEIGHT:
            raise client_fault(f"{where}.weightFactor must be between {MIN_WEIGHT} and {MAX_WEIGHT}, not {weight}.")
        weights[share] = weight
    both = fairshare.overlapping(weights)
    if both is not None:
        raise client_fault(f"shareDistribution: share identifiers cannot overlap, and {both[0]} covers {both[1]}.")
    return tuple(ShareWeight(share, weight) for share, weight in weights.items())


def _detail(policy: SchedulingPolicy) -> Params:
    """As it was sent, with AWS's defaults for what was not; a weight that was not sent is not shown."""
    return {
        "name": policy.name,
        "arn": policy.arn,
        "fairsharePolicy": {
            "shareDecaySeconds": policy.decay_s,
            "computeReservation": policy.reservation,
            "shareDistribution": [
                {"shareIdentifier": one.identifier, **({"weightFactor": one.weight} if one.weight is not None else {})}
                for one in policy.distribution
            ],
        },
        "tags": policy.tags,
    }
