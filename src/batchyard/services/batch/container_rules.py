"""What RegisterJobDefinition may say in containerProperties (API reference, ContainerProperties)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batchyard.core.submission import needs_of, part_of
from batchyard.model.capacity import Platform
from batchyard.model.fault import Fault, client_fault
from batchyard.services.batch.fargate_rules import check_fargate_container
from batchyard.services.batch.validation import check_command, check_environment_variables, executing

_WHERE = "containerProperties"
_IMAGE = re.compile(r"[A-Za-z0-9\-_:./#@]{1,255}")
_USER = re.compile(r"([a-z0-9_][a-z0-9_-]{0,30})")
_RESOURCE_KINDS = ("VCPU", "MEMORY", "GPU")
_FARGATE_ONLY = ("networkConfiguration", "fargatePlatformConfiguration", "ephemeralStorage")
_PERMISSIONS = ("READ", "WRITE", "MKNOD")
_ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)


def check_container(container: Mapping[str, Any], request_id: str, platform: Platform = Platform.EC2, *, is_part: bool = False) -> None:
    """Refuse containerProperties that AWS refuses for jobs of a platform, in its words where they are known. `is_part`: it is one of
    several of a task, which has its size as a whole."""
    image = container.get("image")
    if not image:
        raise client_fault(f"{_WHERE}.image is required.")
    if not _IMAGE.fullmatch(image):
        raise client_fault(f"{_WHERE}.image {image} is not valid: up to 255 letters, digits and the characters -_:./#@")
    if platform is Platform.FARGATE:
        check_fargate_container(container)
    else:
        _check_ec2(container)
    if container.get("instanceType"):
        raise client_fault(f"{_WHERE}.instanceType is only for multi-node parallel jobs.")
    check_command(_WHERE, container.get("command"))
    check_environment_variables(_WHERE, container.get("environment"))
    _check_secrets(container)
    check_resources(_WHERE, container.get("resourceRequirements") or ())
    check_sizes(container, request_id, platform, is_part=is_part)
    user = container.get("user")
    if user and not _USER.fullmatch(user):
        raise client_fault(f"User '{user}' does not match regex ^([a-z0-9_][a-z0-9_-]{{0,30}})$")
    _check_volumes(container)
    _check_ulimits(container)
    _check_linux_parameters(container.get("linuxParameters") or {})
    _check_runtime_platform(container.get("runtimePlatform") or {})


def _check_secrets(container: Mapping[str, Any]) -> None:
    """Names of secrets are names of variables, each once; where they come from is looked at when the job starts."""
    taken = {entry.get("name") for entry in container.get("environment") or ()}
    for number, entry in enumerate(container.get("secrets") or ()):
        name = entry.get("name")
        if not name or not entry.get("valueFrom"):
            raise client_fault(f"{_WHERE}.secrets[{number}] needs a name and a valueFrom.")
        if name in taken:
            raise client_fault(
                "The secret name must be unique and not shared with any new or existing environment variables set on the container, "
                f"such as '{name}'."
            )
        taken.add(name)
    credentials = container.get("repositoryCredentials")
    if credentials is not None and not credentials.get("credentialsParameter"):
        raise client_fault(f"{_WHERE}.repositoryCredentials needs a credentialsParameter: a secret of Secrets Manager.")


def _check_ec2(container: Mapping[str, Any]) -> None:
    for name in _FARGATE_ONLY:
        if container.get(name):
            raise executing(f"{name} not applicable for EC2.")


def check_resources(where: str, entries: Any) -> None:
    """Refuse unknown or repeated kinds of resourceRequirements."""
    seen: set[str] = set()
    for entry in entries:
        kind = entry.get("type")
        if kind not in _RESOURCE_KINDS:
            raise client_fault(f"{where}.resourceRequirements: type {kind} is not valid. Valid values are: {', '.join(_RESOURCE_KINDS)}.")
        if kind in seen:
            raise client_fault(f"{where}.resourceRequirements names {kind} more than once.")
        seen.add(kind)


def check_sizes(container: Mapping[str, Any], request_id: str, platform: Platform, *, is_part: bool = False) -> None:
    """Refuse a container without vCPUs or memory, with values that are no numbers, or of a size that its platform does not have."""
    try:
        (part_of if is_part else needs_of)(container, platform)
    except Fault as fault:
        if fault.message.endswith(("is not provided.", " not valid.")):
            raise client_fault(f"{fault.message}, RequestId: {request_id}") from None
        raise


def _check_volumes(container: Mapping[str, Any]) -> None:
    names: set[str] = set()
    for volume in container.get("volumes") or ():
        name = volume.get("name")
        if name and len(name) > 255:
            raise client_fault(f"{_WHERE}.volumes: a name has at most 255 characters.")
        if name in names:
            raise client_fault(f"{_WHERE}.volumes: {name} stands there twice.")
        names.add(name)
    for mount in container.get("mountPoints") or ():
        source = mount.get("sourceVolume")
        if source and source not in names:
            raise client_fault(f"{_WHERE}.mountPoints: sourceVolume {source} is not among volumes.")
        if not source or not mount.get("containerPath"):
            raise client_fault(f"{_WHERE}.mountPoints: each needs sourceVolume and containerPath.")


def _check_ulimits(container: Mapping[str, Any]) -> None:
    for limit in container.get("ulimits") or ():
        if limit["name"] not in _ULIMITS:
            raise client_fault(f"{_WHERE}.ulimits: {limit['name']} is not valid. Valid names are: {', '.join(_ULIMITS)}.")


def _check_linux_parameters(parameters: Mapping[str, Any]) -> None:
    swappiness = parameters.get("swappiness")
    if swappiness is not None and not 0 <= swappiness <= 100:
        raise client_fault(f"{_WHERE}.linuxParameters.swappiness must be between 0 and 100, not {swappiness}.")
    if (parameters.get("maxSwap") or 0) < 0:
        raise client_fault(f"{_WHERE}.linuxParameters.maxSwap must be 0 or more.")
    for device in parameters.get("devices") or ():
        for permission in device.get("permissions") or ():
            if permission not in _PERMISSIONS:
                raise client_fault(f"{_WHERE}.linuxParameters.devices: permission {permission} is not one of {', '.join(_PERMISSIONS)}.")


def _check_runtime_platform(platform: Mapping[str, Any]) -> None:
    system, processor = platform.get("operatingSystemFamily"), platform.get("cpuArchitecture")
    if system and system.startswith("WINDOWS_SERVER_"):
        raise client_fault(f"{_WHERE}.runtimePlatform.operatingSystemFamily {system} cannot run on this host, which runs Linux. Use LINUX.")
    if system and system != "LINUX":
        raise client_fault(f"{_WHERE}.runtimePlatform.operatingSystemFamily {system} is not valid. Valid values are: LINUX.")
    if processor and processor not in ("X86_64", "ARM64"):
        raise client_fault(f"{_WHERE}.runtimePlatform.cpuArchitecture {processor} is not valid. Valid values are: X86_64, ARM64.")
