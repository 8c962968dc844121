"""What a job definition and a submission for Fargate may say (API reference, ContainerProperties; user guide, "Jobs on Fargate")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchyard.model.capacity import Platform
from batchyard.model.fault import client_fault
from batchyard.services.batch.validation import executing

PLATFORM_VERSIONS = ("1.3.0", "1.4.0", "LATEST")
LOG_DRIVERS = ("awslogs", "splunk")
MIN_STORAGE_GIB, MAX_STORAGE_GIB = 21, 200
_NOT_APPLICABLE = ("ulimits", "instanceType")
_LINUX_PARAMETERS = ("devices", "sharedMemorySize", "tmpfs", "maxSwap", "swappiness")
_LEGACY = ("vcpus", "memory")


def platform_of_definition(capabilities: Sequence[str] | None) -> Platform:
    """The one platform of platformCapabilities; EC2 if there is none. Refuse unknown ones, and more than one."""
    legal = [platform.value for platform in Platform]
    for capability in capabilities or ():
        if capability not in legal:
            raise client_fault(f"platformCapabilities {capability} is not valid. Valid values are: {', '.join(legal)}.")
    if len(set(capabilities or ())) > 1:
        raise client_fault("platformCapabilities may hold one value: register a job definition for each platform.")
    return Platform(capabilities[0]) if capabilities else Platform.EC2


def check_fargate_container(container: Mapping[str, Any]) -> None:
    """Refuse containerProperties that AWS refuses for Fargate, in its words where they are known. Sizes are looked at elsewhere."""
    if not container.get("executionRoleArn"):
        raise executing("executionRoleArn is required for Fargate.")
    check_fargate_sizes(container)
    for name in _NOT_APPLICABLE:
        if container.get(name):
            raise executing(f"{name} is not applicable for Fargate.")
    if container.get("privileged"):
        raise executing("privileged is not applicable for Fargate.")
    for name in _LINUX_PARAMETERS:
        if (container.get("linuxParameters") or {}).get(name):
            raise executing(f"linuxParameters.{name} is not applicable for Fargate.")
    for volume in container.get("volumes") or ():
        if (volume.get("host") or {}).get("sourcePath"):
            raise executing("host volumes are not applicable for Fargate.")
    driver = (container.get("logConfiguration") or {}).get("logDriver")
    if driver and driver not in LOG_DRIVERS:
        raise executing(f"logDriver {driver} is not applicable for Fargate. Valid drivers are: {', '.join(LOG_DRIVERS)}.")
    _check_own_members(container)


def check_fargate_task(task: Mapping[str, Any]) -> None:
    """Refuse members of a task of several containers that AWS refuses for Fargate; its containers are looked at one by one."""
    version = {"fargatePlatformConfiguration": {"platformVersion": task.get("platformVersion")}}
    _check_own_members({**{name: task.get(name) for name in ("volumes", "networkConfiguration", "ephemeralStorage")}, **version})


def check_fargate_sizes(members: Mapping[str, Any]) -> None:
    """Refuse the old spelling of vCPUs and memory, of a definition or of overrides."""
    for name in _LEGACY:
        if members.get(name):
            raise client_fault(f"{name} is not applicable for Fargate. Use resource requirements instead.")


def _check_own_members(container: Mapping[str, Any]) -> None:
    """The members that only Fargate has."""
    version = (container.get("fargatePlatformConfiguration") or {}).get("platformVersion")
    if version and version not in PLATFORM_VERSIONS:
        raise client_fault(
            f"fargatePlatformConfiguration.platformVersion {version} is not valid. Valid values are: {', '.join(PLATFORM_VERSIONS)}."
        )
    if version == "1.3.0" and any(volume.get("efsVolumeConfiguration") for volume in container.get("volumes") or ()):
        raise client_fault("EFS is supported for Fargate platform version 1.4.0")
    public = (container.get("networkConfiguration") or {}).get("assignPublicIp")
    if public and public not in ("ENABLED", "DISABLED"):
        raise client_fault(f"networkConfiguration.assignPublicIp {public} is not valid. Valid values are: ENABLED, DISABLED.")
    storage = container.get("ephemeralStorage")
    if storage and not MIN_STORAGE_GIB <= storage["sizeInGiB"] <= MAX_STORAGE_GIB:
        raise client_fault(
            f"ephemeralStorage.sizeInGiB must be between {MIN_STORAGE_GIB} and {MAX_STORAGE_GIB}, not {storage['sizeInGiB']}."
        )
