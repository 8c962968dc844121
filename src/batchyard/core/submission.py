"""Turns a job definition and what a submission overrides into the specification of the job to run.

Precedence, low to high (API reference of SubmitJob): the definition, then the submission.

    command               replaced, then `Ref::name` filled in
    environment           merged by name; new names come last
    resourceRequirements  merged by type
    vcpus, memory         the old spelling: replaces only values given in the old spelling, never resourceRequirements
    parameters            merged by key
    retryStrategy, timeout, propagateTags, consumable resources   replaced whole

A definition is prepared once: most submissions override nothing or only the command, and then all of its texts are ready.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from batchyard.core.fargate import check_size
from batchyard.core.node_ranges import main_container
from batchyard.core.parameters import has_references, substitute
from batchyard.model.capacity import Platform, Resources
from batchyard.model.consumable import Consumption, Wants
from batchyard.model.definition import Definition
from batchyard.model.fault import client_fault
from batchyard.model.job import Dependency, DependencyKind, RetryRule, Specification
from batchyard.model.tags import scratch_mib_of

_encode = msgspec.json.Encoder().encode

# Lists that DescribeJobs and DescribeJobDefinitions show as empty when nothing was registered.
EMPTY_LISTS = ("command", "volumes", "environment", "mountPoints", "ulimits", "resourceRequirements", "secrets")

MIN_MEMORY_MIB = 4
_DECIMAL = re.compile(r"[0-9]{1,3}(\.[0-9]{1,4})?")
_NUMERIC = re.compile(r"[0-9]{1,10}")  # more digits than any machine needs: what follows calculates with it

# Members of a submission that change `extras`; all others leave the definition's own as they are.
_EXTRAS_OVERRIDES = frozenset(
    {"parameters", "retryStrategy", "timeout", "propagateTags", "dependsOn", "consumableResourcePropertiesOverride"}
)

# Members of containerOverrides that change what a job needs.
_SIZE_OVERRIDES = frozenset({"vcpus", "memory", "resourceRequirements"})


# What a submission makes of a definition of several containers: the form to run, encoded, and what it needs.
Resolve = Callable[[Mapping[str, Any]], tuple[Raw, Resources]]


class Prepared(Struct, frozen=True, kw_only=True):
    """A definition as submissions need it. `effective` is absent where placeholders must be filled in first.

    Of several containers `form` says how they are described (see `Specification`), and `resolve` takes the place of `container`.
    """

    definition: Definition
    platform: Platform
    container: dict[str, Any]
    parameters: dict[str, str]
    needs: Resources
    attempts: int
    retry_rules: tuple[RetryRule, ...]
    timeout_s: int | None
    consumables: Wants
    log_group: str
    log_prefix: str
    effective: Raw | None
    extras: Raw
    scratch_mib: int
    form: str = ""
    resolve: Resolve | None = None


def prepare(definition: Definition) -> Prepared:
    """A definition's defaults, worked out once. Raises a Fault when it asks for no vCPU or memory."""
    nodes = definition.properties.get("nodeProperties")
    container = with_empty_lists(main_container(nodes) if nodes else definition.properties["containerProperties"])
    platform = platform_of(definition)
    log_options = (container.get("logConfiguration") or {}).get("options") or {}
    return Prepared(
        container=container,
        needs=needs_of(container, platform),
        log_group=log_options.get("awslogs-group", ""),
        log_prefix=log_options.get("awslogs-stream-prefix", ""),
        effective=None if has_references(container["command"]) else Raw(_encode(container)),
        **common(definition),
    )


def prepare_several(definition: Definition, form: str, needs: Resources, resolve: Resolve) -> Prepared:
    """The same of a definition of several containers, which `resolve` merges with a submission."""
    return Prepared(
        container={}, needs=needs, log_group="", log_prefix="", effective=None, form=form, resolve=resolve, **common(definition)
    )


def common(definition: Definition) -> dict[str, Any]:
    """The members of `Prepared` that do not depend on how the containers are described."""
    retry = definition.properties.get("retryStrategy") or {}
    return {
        "definition": definition,
        "platform": platform_of(definition),
        "parameters": dict(definition.properties.get("parameters") or {}),
        "attempts": int(retry.get("attempts") or 1),
        "retry_rules": retry_rules(retry),
        "timeout_s": _timeout_s(definition.properties),
        "consumables": _wants(definition, definition.properties.get("consumableResourceProperties")),
        "extras": Raw(_encode(_extras(definition, {}))),
        "scratch_mib": scratch_mib_of(definition.tags, {}),
    }


def platform_of(definition: Definition) -> Platform:
    """What a definition asks to run on."""
    return Platform((definition.properties.get("platformCapabilities") or [Platform.EC2])[0])


def specify(
    prepared: Prepared,
    submission: Mapping[str, Any],
    *,
    job_id: str,
    queue: str,
    depends_on: tuple[Dependency, ...] = (),
    now_ms: int,
) -> Specification:
    """The specification of a submission (SubmitJob's members, in AWS's spelling, already checked one by one).

    Raises a Fault for a placeholder without a value, and for resources that do not make sense together.
    """
    definition = prepared.definition
    effective, needs = prepared.resolve(submission) if prepared.resolve else _effective(prepared, submission)
    attempts, rules, timeout_s, extras = prepared.attempts, prepared.retry_rules, prepared.timeout_s, prepared.extras
    if not _EXTRAS_OVERRIDES.isdisjoint(submission):
        extras = Raw(_encode(_extras(definition, submission)))
        if submission.get("retryStrategy"):
            attempts = int(submission["retryStrategy"].get("attempts") or 1)
            rules = retry_rules(submission["retryStrategy"])
        timeout_s = _timeout_s(submission) or timeout_s
    consumables = prepared.consumables
    if submission.get("consumableResourcePropertiesOverride"):
        consumables = _wants(definition, submission["consumableResourcePropertiesOverride"])
    array, tags = submission.get("arrayProperties"), submission.get("tags") or {}
    scratch_mib = scratch_mib_of({}, tags) or prepared.scratch_mib
    return Specification(
        id=job_id,
        account=definition.account,
        region=definition.region,
        name=submission["jobName"],
        queue=queue,
        definition=definition.arn,
        needs=needs._replace(scratch_mib=scratch_mib) if scratch_mib else needs,
        attempts=attempts,
        retry_rules=rules,
        timeout_s=timeout_s,
        consumables=consumables,
        platform=prepared.platform.value,
        depends_on=depends_on,
        array_size=int(array.get("size") or 0) if array else 0,
        log_group=prepared.log_group,
        log_prefix=prepared.log_prefix,
        created_at_ms=now_ms,
        tags=tags,
        form=prepared.form,
        effective=effective,
        extras=extras,
    )


def with_empty_lists(container: Mapping[str, Any]) -> dict[str, Any]:
    """The container as AWS shows it: exactly what was registered, and the lists that were not as empty ones."""
    return {**{name: [] for name in EMPTY_LISTS if name not in container}, **container}


def override_container(container: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The container after containerOverrides, before placeholders are filled in. Empty overrides change nothing."""
    merged = dict(container)
    if overrides.get("command"):
        merged["command"] = list(overrides["command"])
    if overrides.get("environment"):
        merged["environment"] = merge_by("name", container.get("environment") or (), overrides["environment"])
    if overrides.get("resourceRequirements"):
        merged["resourceRequirements"] = merge_by("type", container.get("resourceRequirements") or (), overrides["resourceRequirements"])
    named = {entry["type"] for entry in merged.get("resourceRequirements") or ()}
    for legacy, kind in (("vcpus", "VCPU"), ("memory", "MEMORY")):
        if kind in named:
            merged.pop(legacy, None)
        elif overrides.get(legacy):
            merged[legacy] = overrides[legacy]
    return merged


def merge_by(key: str, base: Sequence[Mapping[str, Any]], over: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Two lists of entries told apart by `key`: an entry of `over` takes the place of its namesake, new ones come last."""
    merged = {entry.get(key): dict(entry) for entry in base}
    merged.update((entry.get(key), dict(entry)) for entry in over)
    return list(merged.values())


def needs_of(container: Mapping[str, Any], platform: Platform = Platform.EC2) -> Resources:
    """What a container asks for: resourceRequirements first, else the old vcpus and memory (MiB). Raises a Fault in AWS's words.

    On Fargate it must be of a size that there is.
    """
    needs = part_of(container, platform)
    if platform is Platform.FARGATE:
        check_size(needs)
    return needs


def part_of(container: Mapping[str, Any], platform: Platform) -> Resources:
    """The same of one container among several of a task. vCPUs are whole numbers but on Fargate."""
    wanted: dict[str, Any] = {"VCPU": container.get("vcpus"), "MEMORY": container.get("memory")}
    for entry in container.get("resourceRequirements") or ():
        wanted[entry["type"]] = entry["value"]
    if not wanted["VCPU"]:
        raise client_fault("Error executing request, Exception : vCPU is not provided.")
    if not wanted["MEMORY"]:
        raise client_fault("Error executing request, Exception : Memory is not provided.")
    vcpus = _decimal("VCPU", wanted["VCPU"]) if platform is Platform.FARGATE else _whole("VCPU", wanted["VCPU"])
    memory_mib = _whole("MEMORY", wanted["MEMORY"])
    if vcpus < 1 and platform is not Platform.FARGATE:
        raise client_fault("Error executing request, Exception : VCPU must be at least 1.")
    if memory_mib < MIN_MEMORY_MIB:
        raise client_fault(f"Error executing request, Exception : MEMORY must be at least {MIN_MEMORY_MIB} MiB.")
    gpus = _whole("GPU", wanted["GPU"]) if wanted.get("GPU") else 0
    return Resources(float(vcpus), memory_mib, gpus)


def retry_rules(strategy: Mapping[str, Any]) -> tuple[RetryRule, ...]:
    """The entries of evaluateOnExit in their order; actions in capitals (AWS takes them in any case)."""
    return tuple(
        RetryRule(
            action=str(entry["action"]).upper(),
            on_status_reason=entry.get("onStatusReason"),
            on_reason=entry.get("onReason"),
            on_exit_code=entry.get("onExitCode"),
        )
        for entry in strategy.get("evaluateOnExit") or ()
    )


def dependencies(entries: Sequence[Mapping[str, Any]]) -> tuple[Dependency, ...]:
    """dependsOn as the engine takes it."""
    return tuple(Dependency(entry.get("jobId") or "", DependencyKind(entry.get("type") or "")) for entry in entries)


def _effective(prepared: Prepared, submission: Mapping[str, Any]) -> tuple[Raw, Resources]:
    """The container to run, encoded, and what it needs."""
    overrides = submission.get("containerOverrides")
    if not overrides and prepared.effective is not None:
        return prepared.effective, prepared.needs
    container = override_container(prepared.container, overrides) if overrides else prepared.container
    needs = needs_of(container, prepared.platform) if overrides and not _SIZE_OVERRIDES.isdisjoint(overrides) else prepared.needs
    if has_references(container["command"]):
        values = {**prepared.parameters, **(submission.get("parameters") or {})}
        container = {**container, "command": substitute(container["command"], values)}
    return Raw(_encode(container)), needs


def consumable_arn(account: str, region: str, name_or_arn: str) -> str:
    """The ARN of a consumable resource that is named by either."""
    return name_or_arn if name_or_arn.startswith("arn:") else f"arn:aws:batch:{region}:{account}:consumable-resource/{name_or_arn}"


def _wants(definition: Definition, properties: Mapping[str, Any] | None) -> Wants:
    return tuple(
        Consumption(consumable_arn(definition.account, definition.region, entry["consumableResource"]), int(entry["quantity"]))
        for entry in (properties or {}).get("consumableResourceList") or ()
    )


def _extras(registered: Definition, submission: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a job, besides its container, that DescribeJobs shows; in AWS's spelling."""
    definition = registered.properties
    retry = submission.get("retryStrategy") or definition.get("retryStrategy") or {}
    propagate = submission.get("propagateTags")
    extras: dict[str, Any] = {
        "retryStrategy": {"attempts": retry.get("attempts") or 1, "evaluateOnExit": retry.get("evaluateOnExit") or []},
        "dependsOn": submission.get("dependsOn") or [],
        "parameters": {**(definition.get("parameters") or {}), **(submission.get("parameters") or {})},
        "propagateTags": bool(definition.get("propagateTags") if propagate is None else propagate),
        "platformCapabilities": definition.get("platformCapabilities") or [],
    }
    timeout = submission.get("timeout") or definition.get("timeout")
    if timeout:
        extras["timeout"] = timeout
    wants = _wants(registered, submission.get("consumableResourcePropertiesOverride") or definition.get("consumableResourceProperties"))
    if wants:
        shown = [{"consumableResource": want.resource, "quantity": want.quantity} for want in wants]
        extras["consumableResourceProperties"] = {"consumableResourceList": shown}
    if definition.get("schedulingPriority") is not None:
        extras["schedulingPriority"] = definition["schedulingPriority"]
    return extras


def _timeout_s(members: Mapping[str, Any]) -> int | None:
    timeout = members.get("timeout")
    return timeout.get("attemptDurationSeconds") if timeout else None


def _whole(kind: str, value: Any) -> int:
    return int(_number(kind, value, _NUMERIC))


def _decimal(kind: str, value: Any) -> float:
    return float(_number(kind, value, _DECIMAL))


def _number(kind: str, value: Any, form: re.Pattern[str]) -> str:
    text = str(value)
    if not form.fullmatch(text):
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        raise client_fault(
            f"Error executing request, Exception : Value {shown} for type {kind} in resourceRequirement is not valid. "
            "Please provide a numeric value."
        )
    return text
