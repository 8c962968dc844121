"""What a change set comes to, for whom has to say yes: differences, permissions, cost, and jobs that could never run any more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchyard.compute.catalogue import GROUPS, SPOT_PART, Catalogue
from batchyard.main.client import Client, Trouble
from batchyard.main.commands.draw import is_terminal
from batchyard.main.stacks import asking, fitting
from batchyard.main.stacks.account import Account
from batchyard.main.stacks.asking import ChangeSet
from batchyard.main.stacks.packaging import NESTED
from batchyard.model.capacity import Environment, Resources
from batchyard.services.cloudformation.planning.changes import Change
from batchyard.services.cloudformation.planning.cost import Estimate, estimate, priced, said
from batchyard.services.cloudformation.planning.iam import Permission, permissions

ENVIRONMENT = "AWS::Batch::ComputeEnvironment"
SIGNS = {"Add": "+", "Import": "+", "Modify": "~", "Remove": "-", "Dynamic": "?"}
SHOWN_MISFITS = 20
VALUE_WIDTH = 60


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done. `cost_before` is of what changes as it stands; `environments` are those that job definitions were held against.

    `undecided` are compute environments of which too little is known before the change.
    """

    proposed: ChangeSet
    permissions: tuple[Permission, ...]
    cost: Estimate
    cost_before: Estimate
    environments: tuple[str, ...]
    undecided: tuple[str, ...]
    misfits: tuple[fitting.Misfit, ...]
    definitions: int  # that were held against the environments
    has_values: bool  # whether the change set tells properties: without them neither permissions nor cost are known

    @property
    def closed(self) -> list[str]:
        """Nested stacks that the change set does not look into, as those of a service here do not (on AWS they do)."""
        ids = [str(each["LogicalResourceId"]) for each in self.proposed.changes]
        nested = [str(each["LogicalResourceId"]) for each in self.proposed.changes if each.get("ResourceType") == NESTED]
        return [name for name in nested if not any(other.startswith(f"{name}/") for other in ids)]


def read(account: Account, proposed: ChangeSet) -> Plan:
    """The plan of a change set."""
    changes = [_change(each) for each in proposed.changes]
    catalogue = Catalogue()
    prices = priced(catalogue.types.values(), catalogue.prices_from)
    after = {
        each.logical_id: (each.type, each.after["Properties"]) for each in changes if each.after is not None and each.action != "Remove"
    }
    before = {each.logical_id: (each.type, each.before["Properties"]) for each in changes if each.before is not None}
    known, undecided = _environments(account, proposed, changes)
    known.sort(key=lambda each: each.name)
    definitions, misfits = 0, []
    if known and not undecided and any(each.type == ENVIRONMENT for each in changes):
        registered = list(account.pages("batch", "describe_job_definitions", "jobDefinitions", status="ACTIVE"))
        definitions = len(registered)
        misfits = fitting.misfits(registered, known, _machine(account))
    return Plan(
        proposed,
        tuple(permissions(changes)),
        estimate(after, prices, groups=GROUPS, spot_part=SPOT_PART),
        estimate(before, prices, groups=GROUPS, spot_part=SPOT_PART),
        tuple(each.name for each in known),
        tuple(undecided),
        tuple(misfits),
        definitions,
        all(each.after is not None or each.before is not None for each in changes),
    )


def _change(shown: Mapping[str, Any]) -> Change:
    return Change(
        logical_id=str(shown["LogicalResourceId"]),
        type=str(shown.get("ResourceType", "")),
        action=str(shown.get("Action", "")),
        replacement=str(shown.get("Replacement") or ""),
        physical_id=str(shown.get("PhysicalResourceId") or ""),
        policy_action=str(shown.get("PolicyAction") or ""),
        before=_context(shown.get("BeforeContext")),
        after=_context(shown.get("AfterContext")),
    )


def _context(text: str | None) -> dict[str, Any] | None:
    return {"Properties": {}, **json.loads(text)} if text else None


def _environments(account: Account, proposed: ChangeSet, changes: Sequence[Change]) -> tuple[list[Environment], list[str]]:
    """The compute environments that the stack will have: as changed, and those that stay as they are. And those not known enough."""
    found: list[Environment] = []
    undecided: list[str] = []
    changed = {each.logical_id: each for each in changes if each.type == ENVIRONMENT}
    for name, change in changed.items():
        if change.action != "Remove":
            one = fitting.environment(name, change.after["Properties"]) if change.after is not None else None
            if one is None:
                undecided.append(name)
            else:
                found.append(one)
    staying = {} if proposed.is_new else dict(_standing(asking.resources(account, proposed.stack_arn), ""))
    wanted = {physical: name for name, physical in staying.items() if name not in changed}
    if wanted and changed:
        described = account.pages("batch", "describe_compute_environments", "computeEnvironments", computeEnvironments=list(wanted))
        for each in described:
            one = fitting.environment(wanted[each["computeEnvironmentArn"]], fitting.as_template_has_it(each))
            if one is not None:
                found.append(one)
    return found, undecided


def _standing(resources: Sequence[Mapping[str, Any]], within: str) -> Iterator[tuple[str, str]]:
    for each in resources:
        if each["ResourceType"] == ENVIRONMENT and each.get("PhysicalResourceId"):
            yield within + each["LogicalResourceId"], str(each["PhysicalResourceId"])
        yield from _standing(each.get("Resources", ()), f"{within}{each['LogicalResourceId']}/")


def _machine(account: Account) -> Resources | None:
    """What the machine of a service here has, which no environment on it can exceed; None on AWS."""
    if account.place is None:
        return None
    try:
        with Client(account.place) as client:
            has = client.own("machine")
    except Trouble:  # an older service, or none of ours: then only the environments themselves are the bound
        return None
    scratch_mib = int((has.get("scratch") or {}).get("capacityMiB", 0))
    return Resources(float(has["vcpus"]), int(has["memoryMiB"]), int(has["gpus"]), scratch_mib)


# --- in words ---


def told(plan: Plan) -> Iterator[str]:
    """The plan in lines of text."""
    proposed = plan.proposed
    if not proposed.has_changes:
        yield f"{proposed.stack}: nothing to change"
        return
    yield f"{proposed.stack}: {_counts(proposed)}"
    for change in proposed.changes:
        yield from _told(change)
    if plan.closed:
        yield f"\nThe change set does not look into nested stacks: what {', '.join(plan.closed)} would change is not in what follows."
    yield from _section("Permissions", (_permission(each) for each in plan.permissions))
    if not plan.has_values:
        yield "\nThe change set does not tell properties: what it does to permissions and what it costs is not known."
        return
    yield from _section("Cost on AWS, in USD" + ("" if proposed.is_new else ", of what changes"), _cost(plan))
    yield from _section("Job definitions", _fits(plan))


def _counts(proposed: ChangeSet) -> str:
    replaced = sum(1 for each in proposed.changes if each.get("Replacement") in ("True", "Conditional"))
    words = []
    for action, word in (("Add", "to add"), ("Import", "to take over"), ("Modify", "to change"), ("Remove", "to remove")):
        count = sum(1 for each in proposed.changes if each.get("Action") == action)
        if count:
            words.append(f"{count} {word}" + (f" ({replaced} by replacement)" if action == "Modify" and replaced else ""))
    return ", ".join(words) or "only tags or outputs change"


def _told(change: Mapping[str, Any]) -> Iterator[str]:
    action, replacement = change.get("Action", ""), change.get("Replacement", "")
    sign = "±" if replacement in ("True", "Conditional") else SIGNS.get(action, "?")
    remark = {"True": "  replaced", "Conditional": "  perhaps replaced"}.get(replacement, "")
    policy = str(change.get("PolicyAction") or "")
    if "Retain" in policy:
        remark += "  (what is there stays)"
    elif "Snapshot" in policy:
        remark += "  (a snapshot is kept)"
    yield f"  {sign} {change.get('ResourceType', '')}  {change['LogicalResourceId']}{remark}"
    if action != "Modify":
        return
    for detail in change.get("Details") or []:
        yield from _detail(detail)


def _detail(detail: Mapping[str, Any]) -> Iterator[str]:
    target = detail.get("Target") or {}
    if detail.get("ChangeSource") == "Automatic":
        yield "      its own template may have changed"
        return
    place = str(target.get("Path") or "").removeprefix("/Properties/").strip("/").replace("/", ".")
    place = place or ".".join(part for part in (target.get("Attribute"), target.get("Name")) if part)
    before, after = target.get("BeforeValue"), target.get("AfterValue")
    change = "" if before is None and after is None else f": {_value(before)} -> {_value(after)}"
    why = {"Always": "  (asks for a replacement)", "Conditionally": "  (may ask for a replacement)"}.get(
        target.get("RequiresRecreation", ""), ""
    )
    cause = f"  because of {detail['CausingEntity']}" if detail.get("CausingEntity") else ""
    yield f"      {place}{change}{why}{cause}"


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    text = str(value).replace("{{changeSet:KNOWN_AFTER_APPLY}}", "(known after)")
    return text if len(text) <= VALUE_WIDTH or not is_terminal() else text[: VALUE_WIDTH - 1] + "…"


def _permission(each: Permission) -> str:
    return f"{each.sign} {each.logical_id}: {each.text}{'  (somebody may do more)' if each.is_wider and each.sign != '+' else ''}"


def _cost(plan: Plan) -> Iterator[str]:
    if not (plan.cost.lines or plan.cost_before.lines or plan.cost.not_counted):
        return
    if not plan.proposed.is_new and plan.cost_before.lines:
        first = next(iter(said(plan.cost_before)))
        yield f"now: {first}"
    yield from said(plan.cost)


def _fits(plan: Plan) -> Iterator[str]:
    if plan.undecided:
        yield f"not held against the environments: what {', '.join(plan.undecided)} will have is known only after the change"
    elif plan.misfits:
        count = len(plan.misfits)
        yield f"{count} of {plan.definitions} definition{'s' * (plan.definitions != 1)} can never run in {', '.join(plan.environments)}"
        for misfit in plan.misfits[:SHOWN_MISFITS]:
            yield f"{misfit.definition} needs {misfit.needs}"
            together: dict[str, list[str]] = {}
            for reason in misfit.reasons:
                words = f"{reason.shortfall}{f' ({reason.fix})' if reason.fix else ''}"
                together.setdefault(words, []).append(reason.environment)
            for words, names in together.items():
                yield f"  {', '.join(names)}: {words}" if all(names) else f"  {words}"
        if len(plan.misfits) > SHOWN_MISFITS:
            yield f"... and {len(plan.misfits) - SHOWN_MISFITS} more (--json has them all)"
    elif plan.definitions:
        yield f"all {plan.definitions} that are registered can run in {' or '.join(plan.environments)}"


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield f"\n{title}"
        yield from (f"  {line}" for line in found)


def as_document(plan: Plan) -> dict[str, Any]:
    """The plan for machines."""
    return {
        "StackName": plan.proposed.stack,
        "isNew": plan.proposed.is_new,
        "hasChanges": plan.proposed.has_changes,
        "changes": list(plan.proposed.changes),
        "notLookedInto": plan.closed,
        "permissions": [
            {"logicalId": each.logical_id, "sign": each.sign, "text": each.text, "isWider": each.is_wider} for each in plan.permissions
        ],
        "cost": {"before": _costs(plan.cost_before), "after": _costs(plan.cost)} if plan.has_values else None,
        "jobDefinitions": {
            "count": plan.definitions,
            "environments": list(plan.environments),
            "notDecided": list(plan.undecided),
            "canNeverRun": [
                {
                    "jobDefinition": each.definition,
                    "needs": each.needs,
                    "reasons": [{"environment": r.environment, "shortfall": r.shortfall, "fix": r.fix} for r in each.reasons],
                }
                for each in plan.misfits
            ],
        },
    }


def _costs(found: Estimate) -> dict[str, Any]:
    return {
        "usdPerHour": [found.low_usd_per_hour, found.high_usd_per_hour],
        "usdPerMonth": [found.low_usd_per_month, found.high_usd_per_month],
        "lines": [
            {"logicalId": line.logical_id, "usdPerHour": [line.low_usd_per_hour, line.high_usd_per_hour], "why": line.why}
            for line in found.lines
        ],
        "notCounted": list(found.not_counted),
        "sources": list(found.sources),
    }
