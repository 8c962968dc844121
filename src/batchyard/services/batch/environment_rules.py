"""What a managed EC2 or Spot compute environment may say of its capacity, and what an update of it means."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batchyard.model.fault import client_fault
from batchyard.services.batch.validation import executing, one_of

KINDS = ("EC2", "SPOT")
STRATEGIES = (
    *("BEST_FIT", "BEST_FIT_PROGRESSIVE", "BEST_FIT_PROGRESSIVE_ORDERED"),
    *("SPOT_CAPACITY_OPTIMIZED", "SPOT_PRICE_CAPACITY_OPTIMIZED", "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"),
)
# Instance types are tried in the order of the list. Spot capacity is the same for all types here, so AWS's "capacity first" asks nothing.
ORDERED = ("BEST_FIT_PROGRESSIVE_ORDERED", "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED")
DEFAULT_STRATEGY = "BEST_FIT"
DEFAULT_EC2_CONFIGURATION = "ECS_AL2023"
MAX_OVERRIDES = 10
MAX_EC2_CONFIGURATIONS = 2

# Names that stand for several instance types; all others are types or families of the catalogue.
COLLECTIVE = {"optimal": "x86_64", "default_x86_64": "x86_64", "default_arm64": "arm64"}

# Members whose change replaces instances (user guide, "Infrastructure updates").
INFRASTRUCTURE = frozenset(
    {
        "allocationStrategy",
        "bidPercentage",
        "ec2Configuration",
        "ec2KeyPair",
        "imageId",
        "instanceRole",
        "instanceTypes",
        "launchTemplate",
        "placementGroup",
        "securityGroupIds",
        "subnets",
        "tags",
        "type",
        "updateToLatestImageVersion",
    }
)

_GRAVITON = re.compile(r"a1|[a-z]+[0-9]+[a-z-]*g[a-z-]*")

KnownType = Callable[[str], bool]


def architecture(instance_type: str) -> str:
    """`arm64` or `x86_64`, as the name of a type, a family or a collective name tells."""
    if instance_type in COLLECTIVE:
        return COLLECTIVE[instance_type]
    return "arm64" if _GRAVITON.fullmatch(instance_type.partition(".")[0]) else "x86_64"


def check_kind(kind: str, params: Mapping[str, Any]) -> None:
    """Refuse what a new environment of a kind may not have, or lacks. An UNMANAGED one must name its service role (API reference)."""
    check_members(kind, params)
    if kind == "MANAGED" and not params.get("computeResources"):
        raise client_fault("computeResources is required for a compute environment of type MANAGED.")
    if kind == "UNMANAGED" and not params.get("serviceRole"):
        raise client_fault("serviceRole is required for a compute environment of type UNMANAGED.")


def check_members(kind: str, params: Mapping[str, Any]) -> None:
    """Refuse members of a request that are for the other kind of environment."""
    vcpus = params.get("unmanagedvCpus")
    if kind == "MANAGED" and vcpus is not None:
        raise client_fault("unmanagedvCpus is only for compute environments of type UNMANAGED.")
    if kind == "UNMANAGED" and params.get("computeResources"):
        raise client_fault("computeResources is only for compute environments of type MANAGED.")
    if vcpus is not None and vcpus < 0:
        raise client_fault(f"unmanagedvCpus must be 0 or more, not {vcpus}.")


def new_settings(resources: Mapping[str, Any], known_type: KnownType, request_id: str) -> dict[str, Any]:
    """computeResources of a new environment, checked, and as DescribeComputeEnvironments will show them.

    AWS shows what was sent; of the defaults it fills in only desiredvCpus, ec2Configuration and the launch template's version.
    """
    settings = {name: value for name, value in resources.items() if value is not None}
    if not settings.get("instanceRole"):
        raise executing("Instance role is required.", request_id)
    if "minvCpus" not in settings:
        raise executing("Resource minvCpus is required.")
    settings.setdefault("desiredvCpus", settings["minvCpus"])
    if not settings.get("subnets"):
        raise client_fault("computeResources.subnets is required: name at least one subnet.")
    if not settings.get("securityGroupIds") and not settings.get("launchTemplate"):
        raise client_fault("computeResources.securityGroupIds is required, unless a launch template names security groups.")
    if not settings.get("ec2Configuration"):
        settings["ec2Configuration"] = [{"imageType": DEFAULT_EC2_CONFIGURATION}]
    if settings.get("launchTemplate") == {}:
        del settings["launchTemplate"]
    return checked(settings, known_type)


def checked(settings: Mapping[str, Any], known_type: KnownType) -> dict[str, Any]:
    """The settings of an environment, new or changed, after every check on the whole; names in AWS's spelling."""
    result = dict(settings)
    result["type"] = one_of("computeResources.type", result.get("type"), KINDS)
    _check_vcpus(result)
    _check_instance_types(result.get("instanceTypes") or (), known_type)
    strategy = one_of("computeResources.allocationStrategy", result.get("allocationStrategy"), STRATEGIES)
    if strategy:
        result["allocationStrategy"] = strategy
    if strategy and strategy.startswith("SPOT_") and result["type"] != "SPOT":
        raise client_fault(f"allocationStrategy {strategy} is only for compute environments of type SPOT.")
    if strategy == "BEST_FIT_PROGRESSIVE_ORDERED" and result["type"] != "EC2":
        raise client_fault(f"allocationStrategy {strategy} is only for compute environments of type EC2.")
    for name in ("managedInstancesProvider", "capacityTags"):
        if result.get(name):
            raise client_fault(f"computeResources.{name} is only for compute environments of type ECS_MANAGED_INSTANCES.")
    if result["type"] == "SPOT" and (strategy or DEFAULT_STRATEGY) == DEFAULT_STRATEGY and not result.get("spotIamFleetRole"):
        raise client_fault("spotIamFleetRole is required for a SPOT compute environment whose allocationStrategy is BEST_FIT or not given.")
    bid = result.get("bidPercentage")
    if bid is not None and not 0 <= bid <= 100:
        raise client_fault(f"bidPercentage must be between 0 and 100, not {bid}.")
    if len(result.get("ec2Configuration") or ()) > MAX_EC2_CONFIGURATIONS:
        raise client_fault(f"ec2Configuration may hold at most {MAX_EC2_CONFIGURATIONS} entries.")
    if result.get("launchTemplate"):
        result["launchTemplate"] = _launch_template(result["launchTemplate"], result.get("instanceTypes") or ())
    idle_minutes(result)
    return result


def idle_minutes(settings: Mapping[str, Any]) -> int:
    """minScaleDownDelayMinutes: 0 (not set) or 20..10080."""
    minutes = int((settings.get("scalingPolicy") or {}).get("minScaleDownDelayMinutes") or 0)
    if minutes and not 20 <= minutes <= 10080:
        raise client_fault(f"scalingPolicy.minScaleDownDelayMinutes must be 0 or between 20 and 10080, not {minutes}.")
    return minutes


def changed_settings(current: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """The settings after an update: only what is sent changes, and an empty text or list takes the old value away."""
    result = dict(current)
    for name, value in update.items():
        if name == "updateToLatestImageVersion" or value is None:
            continue
        template = name == "launchTemplate" and not (value.get("launchTemplateId") or value.get("launchTemplateName"))
        if value == "" or value == [] or template:
            result.pop(name, None)
        else:
            result[name] = value
    if not (result.get("scalingPolicy") or {}).get("minScaleDownDelayMinutes"):
        result.pop("scalingPolicy", None)
    return result


def infrastructure_changes(current: Mapping[str, Any], changed: Mapping[str, Any], update: Mapping[str, Any]) -> list[str]:
    """The members whose change replaces instances; a value sent again unchanged is no change."""
    different = {name for name in INFRASTRUCTURE if current.get(name) != changed.get(name)}
    if update.get("updateToLatestImageVersion"):
        different.add("updateToLatestImageVersion")
    return sorted(different)


def _check_vcpus(settings: Mapping[str, Any]) -> None:
    least, most, wanted = settings["minvCpus"], settings["maxvCpus"], settings.get("desiredvCpus")
    if least < 0:
        raise client_fault(f"minvCpus must be 0 or more, not {least}.")
    if most < 0:
        raise client_fault(f"maxvCpus must be 0 or more, not {most}.")
    if most < least:
        raise client_fault(f"maxvCpus ({most}) must not be less than minvCpus ({least}).")
    if wanted is not None and not least <= wanted <= most:
        raise client_fault(f"desiredvCpus ({wanted}) must be between minvCpus ({least}) and maxvCpus ({most}).")


def _check_instance_types(types: Sequence[str], known_type: KnownType) -> None:
    if not types:
        raise client_fault(
            f"computeResources.instanceTypes is required: name instance types or families, or one of {', '.join(COLLECTIVE)}."
        )
    for name in types:
        if name not in COLLECTIVE and not known_type(name):
            raise client_fault(
                f"instanceTypes: {name} is not known. Name an instance type (m5.large), a family (m5), or one of {', '.join(COLLECTIVE)}."
            )
    if len({architecture(name) for name in types}) > 1:
        raise client_fault("instanceTypes of x86 and of ARM cannot be mixed in one compute environment.")


def _launch_template(template: Mapping[str, Any], types: Sequence[str]) -> dict[str, Any]:
    _check_template_name("launchTemplate", template)
    overrides = template.get("overrides") or ()
    if len(overrides) > MAX_OVERRIDES:
        raise client_fault(f"launchTemplate.overrides may hold at most {MAX_OVERRIDES} entries, not {len(overrides)}.")
    seen: set[str] = set()
    for number, override in enumerate(overrides):
        where = f"launchTemplate.overrides[{number}]"
        _check_template_name(where, override)
        for target in override.get("targetInstanceTypes") or ():
            if target in COLLECTIVE or not _covered(target, types):
                raise client_fault(f"{where}.targetInstanceTypes: {target} must be a type or family within instanceTypes.")
            if target in seen:
                raise client_fault(f"{where}.targetInstanceTypes: {target} stands in more than one override.")
            seen.add(target)
    return {"version": "$Default", **{name: value for name, value in template.items() if value not in ("", [])}}


def _check_template_name(where: str, template: Mapping[str, Any]) -> None:
    if bool(template.get("launchTemplateId")) == bool(template.get("launchTemplateName")):
        raise client_fault(f"{where} needs exactly one of launchTemplateId and launchTemplateName.")


def _covered(target: str, types: Sequence[str]) -> bool:
    family = target.partition(".")[0]
    return any(name in (target, family) or (name in COLLECTIVE and COLLECTIVE[name] == architecture(target)) for name in types)
