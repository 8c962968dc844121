"""Consumable resources: create, change, show, delete, and the jobs that want one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from batchyard.core.quotas import PROFILES
from batchyard.model.consumable import NON_REPLENISHABLE, REPLENISHABLE, Consumable, CountedUpdate
from batchyard.model.fault import client_fault
from batchyard.model.job import Job, Specification, Status
from batchyard.model.requests import Catalogue, Edit
from batchyard.model.tags import CONSUMABLE
from batchyard.model.view import JobQuery
from batchyard.services import Caller, Params
from batchyard.services.batch.names import arn_of, by_name, check_name, find_consumable
from batchyard.services.batch.rendering import arn_of_job
from batchyard.services.batch.tag_rules import check_tags
from batchyard.services.batch.tokens import page, read_token, write_token
from batchyard.services.batch.validation import check_quota, executing, one_of, page_size
from batchyard.services.desk import Desk

MOST = 100
TOKEN_VALID_MS = 8 * 3_600_000
_KINDS = (REPLENISHABLE, NON_REPLENISHABLE)
_MOST_TOTAL = 2**53  # what a JSON number still holds exactly


async def create_consumable_resource(desk: Desk, caller: Caller, params: Params) -> Params:
    """A new resource. Answers its name and ARN."""
    name, tags = params["consumableResourceName"], params.get("tags") or {}
    check_name("consumableResourceName", name)
    check_tags(CONSUMABLE, tags)
    consumable = Consumable(
        arn=arn_of(caller, "consumable-resource", name),
        name=name,
        account=caller.account,
        region=caller.region,
        kind=one_of("resourceType", params.get("resourceType"), _KINDS) or REPLENISHABLE,
        total=_total("totalQuantity", params.get("totalQuantity") or 0),
        tags=tags,
    )

    def act(catalogue: Catalogue) -> None:
        if consumable.arn in catalogue.consumables:
            raise client_fault("Object already exists")
        most = PROFILES[desk.settings.profile].consumable_resources
        check_quota(most, caller, "consumable resources", catalogue.consumables.values())
        catalogue.put(replace(consumable, created_at_ms=catalogue.now_ms))

    await desk.ask(Edit(act))
    return _named(consumable)


async def update_consumable_resource(desk: Desk, caller: Caller, params: Params) -> Params:
    """SET, ADD to or REMOVE from the total. With a client token the same request counts once within 8 hours. Answers the new total."""
    operation = one_of("operation", params.get("operation"), ("SET", "ADD", "REMOVE")) or "SET"
    quantity = params.get("quantity")
    if quantity is None:
        raise client_fault("quantity is required: it says what operation SET, ADD or REMOVE is done with.")
    _total("quantity", quantity)
    token, asked = params.get("clientToken"), f"{operation} {quantity}"

    def act(catalogue: Catalogue) -> Consumable:
        consumable = _require(catalogue.consumables, caller, params["consumableResource"])
        known = tuple(u for u in consumable.updates if u.at_ms > catalogue.now_ms - TOKEN_VALID_MS)
        if token:
            before = next((u for u in known if u.token == token), None)
            if before is not None and before.asked != asked:
                raise client_fault(f"clientToken {token} was used with another update ({before.asked}): use a new one.")
            if before is not None:
                return consumable
            known = (*known, CountedUpdate(token, asked, catalogue.now_ms))
        changed = replace(consumable, total=_changed(consumable.total, operation, quantity), updates=known)
        catalogue.put(changed)
        return changed

    changed: Consumable = await desk.ask(Edit(act))
    return {**_named(changed), "totalQuantity": changed.total}


async def delete_consumable_resource(desk: Desk, caller: Caller, params: Params) -> Params:
    """Gone at once. Jobs that hold some run on; those that want some wait until it is created again."""

    def act(catalogue: Catalogue) -> None:
        catalogue.drop(_require(catalogue.consumables, caller, params["consumableResource"]))

    await desk.ask(Edit(act))
    return {}


async def describe_consumable_resource(desk: Desk, caller: Caller, params: Params) -> Params:
    """One resource by name or ARN: its total, how much of it jobs hold, and what is left."""
    await desk.read.level()
    consumable = _require(desk.read.consumables, caller, params["consumableResource"])
    in_use = _in_use(desk, consumable)
    return {
        **_named(consumable),
        "totalQuantity": consumable.total,
        "inUseQuantity": in_use,
        "availableQuantity": max(0, consumable.total - in_use),
        "resourceType": consumable.kind,
        "createdAt": consumable.created_at_ms,
        "tags": consumable.tags,
    }


async def list_consumable_resources(desk: Desk, caller: Caller, params: Params) -> Params:
    """All in order of name, or those of a name (any case, `*` at the end), in pages."""
    chosen = _filter(params.get("filters") or (), ("CONSUMABLE_RESOURCE_NAME",)).get("CONSUMABLE_RESOURCE_NAME", ["*"])
    size = page_size(params.get("maxResults"), MOST)
    await desk.read.level()
    mine = [(name, c) for name, c in by_name(desk.read.consumables, caller) if any(_matches(name, pattern) for pattern in chosen)]
    shown, token = page(("ListConsumableResources", caller.account, caller.region, chosen), mine, params.get("nextToken"), size)
    result: Params = {"consumableResources": [_summary(desk, consumable) for consumable in shown]}
    if token:
        result["nextToken"] = token
    return result


async def list_jobs_by_consumable_resource(desk: Desk, caller: Caller, params: Params) -> Params:
    """The submissions that want a resource, in order of submission, in pages; an array is one of them."""
    consumable = _require(desk.read.consumables, caller, params["consumableResource"])
    filters = _filter(params.get("filters") or (), ("JOB_STATUS", "JOB_NAME"))
    status = one_of("filters JOB_STATUS", filters.get("JOB_STATUS", [None])[0], tuple(Status))
    name = filters.get("JOB_NAME", [None])[0]
    question = ("ListJobsByConsumableResource", consumable.arn, status, name)
    query = JobQuery(
        consumable=consumable.arn,
        status=Status(status) if status else None,
        name=name,
        limit=page_size(params.get("maxResults"), MOST),
        cursor=read_token(question, params.get("nextToken")),
    )
    found = await desk.read.find_jobs(query)
    result: Params = {"jobs": [_job(desk, consumable, job, spec) for job, spec in found.jobs]}
    if found.cursor:
        result["nextToken"] = write_token(question, found.cursor)
    return result


def _total(member: str, quantity: int) -> int:
    if not 0 <= quantity <= _MOST_TOTAL:
        raise client_fault(f"{member} must be between 0 and {_MOST_TOTAL}, not {quantity}.")
    return quantity


def _changed(total: int, operation: str, quantity: int) -> int:
    if operation == "SET":
        return quantity
    if operation == "ADD":
        return _total("quantity: the new total", total + quantity)
    if quantity > total:
        raise client_fault(f"quantity: {quantity} cannot be removed of a total of {total}.")
    return total - quantity


def _filter(filters: Sequence[Mapping[str, Any]], legal: tuple[str, ...]) -> dict[str, list[str]]:
    """The one filter that AWS allows, as {name: values}; empty without one."""
    if not filters:
        return {}
    if len(filters) > 1:
        raise executing("Only one filter key-value pair can be specified.")
    name, values = filters[0].get("name"), filters[0].get("values") or []
    if name not in legal:
        raise client_fault(f"filters[0].name {name} is not valid. Valid values are: {', '.join(legal)}.")
    if not values:
        raise client_fault("filters[0].values needs one value.")
    if len(values) > 1 and name != "CONSUMABLE_RESOURCE_NAME":
        raise executing("Filter cannot take more than one value.")
    return {name: list(values)}


def _matches(name: str, pattern: str) -> bool:
    pattern = pattern.lower()
    return name.lower().startswith(pattern[:-1]) if pattern.endswith("*") else name.lower() == pattern


def _in_use(desk: Desk, consumable: Consumable) -> int:
    """What does not come back is not in use: it is used up."""
    return desk.read.in_use(consumable.arn) if consumable.kind == REPLENISHABLE else 0


def _summary(desk: Desk, consumable: Consumable) -> Params:
    return {
        **_named(consumable),
        "totalQuantity": consumable.total,
        "inUseQuantity": _in_use(desk, consumable),
        "resourceType": consumable.kind,
    }


def _job(desk: Desk, consumable: Consumable, job: Job, spec: Specification) -> Params:
    shown: Params = {
        "jobArn": arn_of_job(job, spec),
        "jobQueueArn": spec.queue,
        "jobName": spec.name,
        "jobDefinitionArn": spec.definition,
        "jobStatus": job.status.value,
        "quantity": sum(want.quantity for want in spec.consumables if want.resource == consumable.arn),
        "createdAt": job.created_at_ms,
        "consumableResourceProperties": {
            "consumableResourceList": [{"consumableResource": want.resource, "quantity": want.quantity} for want in spec.consumables]
        },
    }
    reason = job.status_reason or (desk.read.waiting_reason(job, spec) if job.status.is_waiting else "")
    if reason:
        shown["statusReason"] = reason
    if job.started_at_ms is not None:
        shown["startedAt"] = job.started_at_ms
    return shown


def _require(consumables: Mapping[str, Consumable], caller: Caller, name_or_arn: str) -> Consumable:
    consumable = find_consumable(consumables, caller, name_or_arn)
    if consumable is None:
        raise client_fault(f"ConsumableResource {name_or_arn} does not exist")
    return consumable


def _named(consumable: Consumable) -> Params:
    return {"consumableResourceName": consumable.name, "consumableResourceArn": consumable.arn}
