"""What compute environments of Fargate and of ECS managed instances may say of their capacity, and what mixes in a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchyard.model.capacity import Environment, Platform
from batchyard.model.fault import client_fault
from batchyard.services.batch.validation import executing, one_of

FARGATE_KINDS = ("FARGATE", "FARGATE_SPOT")
MANAGED_INSTANCES = "ECS_MANAGED_INSTANCES"
MAX_SUBNETS, MAX_SECURITY_GROUPS = 16, 5
MAX_SCALE_IN_S = 3600
NEVER_S = 100 * 365 * 86_400.0

_FARGATE_MEMBERS = frozenset({"type", "maxvCpus", "subnets", "securityGroupIds"})
_MANAGED_MEMBERS = frozenset({"type", "maxvCpus", "managedInstancesProvider", "capacityTags", "minvCpus"})
_QUEUE_TYPES = {Platform.EC2: "ECS", Platform.FARGATE: "ECS_FARGATE", Platform.MANAGED_INSTANCES: MANAGED_INSTANCES}


def platform_of(settings: Mapping[str, Any]) -> Platform:
    """The platform of an environment with these settings."""
    kind = str(settings.get("type", "")).upper()
    if kind in FARGATE_KINDS:
        return Platform.FARGATE
    return Platform.MANAGED_INSTANCES if kind == MANAGED_INSTANCES else Platform.EC2


def queue_type(platform: Platform) -> str:
    """AWS's jobQueueType of a queue over environments of a platform."""
    return _QUEUE_TYPES[platform]


def fargate_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """computeResources of a Fargate environment, new or changed, after AWS's checks."""
    for name, value in settings.items():
        if name not in _FARGATE_MEMBERS and not _is_absent(value):
            raise executing(f"{name} is not applicable for Fargate.")
    kept = {name: value for name, value in settings.items() if not _is_absent(value)}
    kept["type"] = one_of("computeResources.type", kept["type"], FARGATE_KINDS)
    _check_max_vcpus(kept["maxvCpus"])
    for name, most in (("subnets", MAX_SUBNETS), ("securityGroupIds", MAX_SECURITY_GROUPS)):
        given = len(kept.get(name) or ())
        if not 1 <= given <= most:
            raise client_fault(f"computeResources.{name} of a Fargate environment must hold between 1 and {most} entries, not {given}.")
    return kept


def changed_fargate_settings(current: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """The settings after an update. Empty subnets and security groups are ignored, as AWS says; a type never changes."""
    sent = {name: value for name, value in update.items() if not _is_absent(value)}
    if sent.get("type") and str(sent["type"]).upper() != current["type"]:
        raise client_fault(f"The type of a Fargate compute environment cannot be changed from {current['type']}: make a new one.")
    return fargate_settings({**current, **sent})


def managed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """computeResources of an environment of ECS managed instances, after AWS's checks."""
    for name, value in settings.items():
        if name not in _MANAGED_MEMBERS and not _is_absent(value):
            raise executing(f"{name} is not applicable for ECS managed instances.")
    kept = {"minvCpus": 0, **{name: value for name, value in settings.items() if not _is_absent(value)}, "type": MANAGED_INSTANCES}
    _check_max_vcpus(kept["maxvCpus"])
    if not 0 <= kept["minvCpus"] <= kept["maxvCpus"]:
        raise client_fault(f"minvCpus ({kept['minvCpus']}) must be between 0 and maxvCpus ({kept['maxvCpus']}).")
    provider = kept.get("managedInstancesProvider")
    if not provider:
        raise client_fault("computeResources.managedInstancesProvider is required for type ECS_MANAGED_INSTANCES.")
    template = provider["instanceLaunchTemplate"]
    one_of("capacityOptionType", template.get("capacityOptionType"), ("ON_DEMAND", "SPOT"))
    scale_in_s = (provider.get("infrastructureOptimization") or {}).get("scaleInAfter")
    if scale_in_s is not None and not -1 <= scale_in_s <= MAX_SCALE_IN_S:
        raise client_fault(f"infrastructureOptimization.scaleInAfter must be between -1 and {MAX_SCALE_IN_S}, not {scale_in_s}.")
    return kept


def changed_managed_settings(current: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """The settings after an update: members of the provider are changed one by one."""
    sent = {name: value for name, value in update.items() if value is not None}
    if sent.get("type") and str(sent["type"]).upper() != MANAGED_INSTANCES:
        raise client_fault("The type of a compute environment of ECS managed instances cannot be changed: make a new one.")
    provider = sent.pop("managedInstancesProvider", None)
    changed = {**current, **sent}
    if provider:
        changed["managedInstancesProvider"] = _merged(current["managedInstancesProvider"], provider)
    return managed_settings(changed)


def capacity(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an environment that follow from its settings, for platforms other than EC2."""
    if platform_of(settings) is Platform.FARGATE:
        return {
            "platform": Platform.FARGATE,
            "spot": settings["type"] == "FARGATE_SPOT",
            "max_vcpus": settings["maxvCpus"],
            "instance_types": ("fargate",),
            "idle_s": 0.0,
            "settings": dict(settings),
        }
    template = settings["managedInstancesProvider"]["instanceLaunchTemplate"]
    allowed = (template.get("instanceRequirements") or {}).get("allowedInstanceTypes")
    scale_in_s = (settings["managedInstancesProvider"].get("infrastructureOptimization") or {}).get("scaleInAfter")
    return {
        "platform": Platform.MANAGED_INSTANCES,
        "spot": str(template.get("capacityOptionType", "")).upper() == "SPOT",
        "min_vcpus": settings["minvCpus"],
        "max_vcpus": settings["maxvCpus"],
        "instance_types": tuple(allowed or ("optimal",)),
        "idle_s": None if scale_in_s is None else NEVER_S if scale_in_s < 0 else float(scale_in_s),
        "settings": dict(settings),
    }


def check_order(environments: Sequence[Environment]) -> Platform:
    """The platform of a queue over these environments. Refuse a mixture, and managed instances with Spot before on-demand."""
    platforms = {environment.platform for environment in environments}
    if len(platforms) > 1:
        names = ", ".join(sorted(platform.value for platform in platforms))
        raise client_fault(f"computeEnvironmentOrder cannot mix compute environments of different kinds: {names}.")
    (platform,) = platforms
    spot = [environment.spot for environment in environments]
    if platform is Platform.MANAGED_INSTANCES and spot != sorted(spot):
        raise client_fault("computeEnvironmentOrder: on-demand environments of ECS managed instances must come before Spot ones.")
    return platform


def _is_absent(value: Any) -> bool:
    """Clients send empty forms for what they do not use; a number, 0 too, is a value."""
    return value is None or value in ("", [], {})


def _check_max_vcpus(most: int) -> None:
    if most < 0:
        raise client_fault(f"maxvCpus must be 0 or more, not {most}.")


def _merged(current: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(current)
    for name, value in update.items():
        if isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = _merged(merged[name], value)
        elif value is not None:
            merged[name] = value
    return merged
