"""Change sets: what a deployment would change is asked for first, here as on AWS, and then done or thrown away."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchyard.main.client import Trouble
from batchyard.main.stacks.account import Account
from batchyard.main.stacks.packaging import NESTED, Packaged

CAPABILITIES = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")
REVIEW = "REVIEW_IN_PROGRESS"
READY_WITHIN_S = 300.0
_NOTHING = ("didn't contain changes", "No updates are to be performed")  # as AWS says it of a change set
_DEAD_ENDS = ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED", "DELETE_FAILED")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A stack as it is to be. Parameters that are not given keep their values, or take the template's defaults."""

    name: str
    packaged: Packaged
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    capabilities: Sequence[str] = ()
    role_arn: str = ""


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A change set that can be executed, if it has changes (else `arn` may be ""); `before` is the stack as it stands, {} for a new one."""

    stack: str
    stack_arn: str
    arn: str
    is_new: bool
    changes: tuple[dict[str, Any], ...]  # DescribeChangeSet's ResourceChange, with values; of nested stacks too
    has_changes: bool
    before: Mapping[str, Any] = field(default_factory=dict)


def standing(account: Account, name: str) -> dict[str, Any] | None:
    """The stack of that name or ARN as DescribeStacks shows it; None where there is none."""
    try:
        found: list[dict[str, Any]] = account.ask("cloudformation", "describe_stacks", StackName=name)["Stacks"]
    except Trouble as trouble:
        if trouble.code == "ValidationError" and "does not exist" in trouble.message:
            return None
        raise
    return found[0] if found else None


def required(account: Account, name: str) -> dict[str, Any]:
    """The stack of that name; raises `Trouble` where there is none."""
    found = standing(account, name)
    if found is None:
        raise Trouble(f"{account.name} has no stack {name}.", "`batchyard stack list` lists them.")
    return found


def resources(account: Account, stack_arn: str) -> list[dict[str, Any]]:
    """The resources of a stack, as ListStackResources shows them; those of a nested stack are its `Resources`."""
    found = []
    for each in account.pages("cloudformation", "list_stack_resources", "StackResourceSummaries", StackName=stack_arn):
        physical = str(each.get("PhysicalResourceId") or "")
        is_nested = each["ResourceType"] == NESTED and physical.startswith("arn:")
        found.append({**each, **({"Resources": resources(account, physical)} if is_nested else {})})
    return found


def propose(account: Account, wanted: Wanted) -> ChangeSet:
    """Have a change set made, and wait until it says what would change. Raises `Trouble` when the template or the stack is refused."""
    before = standing(account, wanted.name)
    is_new = before is None or before["StackStatus"] == REVIEW
    if before is not None and before["StackStatus"] in _DEAD_ENDS:
        fix = f"Delete it first: batchyard stack delete {wanted.name}"
        raise Trouble(f"The stack {wanted.name} is in {before['StackStatus']}, from which it cannot be updated.", fix)
    kept = set() if is_new or before is None else {each["ParameterKey"] for each in before.get("Parameters") or []}
    request: dict[str, Any] = {
        "StackName": wanted.name,
        "ChangeSetName": f"batchyard-{uuid.uuid4().hex[:12]}",
        "ChangeSetType": "CREATE" if is_new else "UPDATE",
        "Description": "Made by batchyard",
        "Parameters": _parameters(wanted, kept),
        "Capabilities": list(wanted.capabilities),
        **wanted.packaged.sent,
    }
    if wanted.tags or is_new:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in wanted.tags.items()]
    if wanted.role_arn:
        request["RoleARN"] = wanted.role_arn
    if wanted.packaged.has_nested and account.is_aws:
        request["IncludeNestedStacks"] = True
    try:
        made = account.ask("cloudformation", "create_change_set", **request)
    except Trouble as trouble:
        if before is not None and any(words in trouble.message for words in _NOTHING):  # said at once, instead of by a failed change set
            return ChangeSet(wanted.name, str(before["StackId"]), "", is_new, (), False, before)
        raise _advised(trouble) from trouble
    proposed = ChangeSet(wanted.name, made["StackId"], made["Id"], is_new, (), False, before or {})
    try:
        return _read(account, proposed)
    except BaseException:
        discard(account, proposed)
        raise


def _parameters(wanted: Wanted, kept: set[str]) -> list[dict[str, Any]]:
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in wanted.parameters.items()]
    previous = [name for name in wanted.packaged.parameters if name in kept and name not in wanted.parameters]
    return [*given, *({"ParameterKey": name, "UsePreviousValue": True} for name in previous)]


def _advised(trouble: Trouble) -> Trouble:
    if trouble.code == "InsufficientCapabilitiesException":
        trouble.fix = (
            "`batchyard stack plan` shows what it does to permissions. Acknowledge it: --capabilities CAPABILITY_IAM (or NAMED_IAM)"
        )
    return trouble


def _read(account: Account, proposed: ChangeSet) -> ChangeSet:
    """The change set with its changes, once it is ready."""
    give_up_at = time.monotonic() + READY_WITHIN_S
    while True:
        pages = _pages(account, proposed.arn)
        status, reason = pages[0].get("Status", ""), pages[0].get("StatusReason", "")
        if status not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
            break
        if time.monotonic() > give_up_at:
            raise Trouble(f"The change set of {proposed.stack} has not become ready in {READY_WITHIN_S:.0f} s.")
        time.sleep(account.look_s)
    if status == "FAILED" and not any(words in reason for words in _NOTHING):
        raise Trouble(f"The change set of {proposed.stack} has failed: {reason or 'no reason given'}")
    changes = tuple(change for page in pages for change in changes_of(account, page))
    return ChangeSet(proposed.stack, proposed.stack_arn, proposed.arn, proposed.is_new, changes, status != "FAILED", proposed.before)


def _pages(account: Account, arn: str) -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        page = account.ask("cloudformation", "describe_change_set", ChangeSetName=arn, IncludePropertyValues=True, **more)
        pages.append(page)
        if not page.get("NextToken"):
            return pages
        more = {"NextToken": page["NextToken"]}


def changes_of(account: Account, page: dict[str, Any], within: str = "") -> list[dict[str, Any]]:
    """The changes of a page; those of a nested stack's own change set come after it, named "Network/Subnet"."""
    found: list[dict[str, Any]] = []
    for entry in page.get("Changes") or []:
        change = dict(entry.get("ResourceChange") or {})
        change["LogicalResourceId"] = within + str(change.get("LogicalResourceId", ""))
        found.append(change)
        if change.get("ChangeSetId"):
            for nested in _pages(account, change["ChangeSetId"]):
                found += changes_of(account, nested, f"{change['LogicalResourceId']}/")
    return found


def execute(account: Account, proposed: ChangeSet) -> None:
    """Begin to do what the change set says."""
    account.ask("cloudformation", "execute_change_set", ChangeSetName=proposed.arn)


def discard(account: Account, proposed: ChangeSet) -> None:
    """Throw the change set away, and the stack that only waits for one, if it was made with it."""
    if not proposed.arn:
        return
    account.ask("cloudformation", "delete_change_set", ChangeSetName=proposed.arn)
    if proposed.is_new and not proposed.before:
        account.ask("cloudformation", "delete_stack", StackName=proposed.stack_arn)
