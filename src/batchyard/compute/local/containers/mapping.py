"""From a job definition's container to the Engine API: the table of what becomes of every property, and the request that follows it.

The table is the documentation too (docs/reference/containers.md is generated from it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from batchyard.compute.local.spawn import CannotStart
from batchyard.model.messages import Launch

NODE_LABEL, ATTEMPT_LABEL, JOB_LABEL = "batchyard.node", "batchyard.attempt", "batchyard.job"
SHARES_PER_VCPU = 1024
HOST_NETWORK = "host"
NOTICES = "/run/batchyard/notices"  # where a container finds the notices of Spot instances
_MIB = 1024 * 1024
_SHARES_MOST = 262144
_PERMISSIONS = {"READ": "r", "WRITE": "w", "MKNOD": "m"}


class Row(NamedTuple):
    """A property of containerProperties (specification, section 5.3), what of the Engine API it becomes, and what to know."""

    name: str
    becomes: str
    note: str = ""


TABLE: tuple[Row, ...] = (
    Row("image", "Image", "pulled as `--pull` says"),
    Row("command", "Cmd", "takes the place of the image's CMD; its ENTRYPOINT stays. Without one the image's CMD runs"),
    Row("vcpus, resourceRequirements VCPU", "HostConfig.CpuShares", "1024 for each: shares, not a cap. With `--cpu hard` NanoCpus"),
    Row("memory, resourceRequirements MEMORY", "HostConfig.Memory", "a hard limit; beyond it the kernel kills"),
    Row(
        "resourceRequirements GPU",
        "HostConfig.DeviceRequests; Devices on Podman",
        "whole devices, no two jobs have the same; `NVIDIA_VISIBLE_DEVICES` names them",
    ),
    Row("environment", "Env", "and the variables of [the job's environment](job-environment.md); the rest is the image's"),
    Row(
        "jobRoleArn",
        "Env",
        "the credentials of the attempt, and [where SDKs find the role's](job-environment.md#endpoints), as in process mode",
    ),
    Row("executionRoleArn", "-", "reads secrets; images without `repositoryCredentials` are pulled as the daemon's own user does"),
    Row(
        "volumes[].host.sourcePath",
        "HostConfig.Binds",
        "made if it is missing. `/scratch`, and what is below it, means the attempt's own part of the"
        " [scratch space](../explanation/scratch.md)",
    ),
    Row(
        "volumes[] without sourcePath",
        "HostConfig.Mounts",
        "a directory of the attempt on the scratch space: empty at the start, removed at the end",
    ),
    Row(
        "-",
        "HostConfig.Mounts",
        "`/scratch` and `/tmp` are directories of the attempt on the scratch space, unless the definition mounts something there; with"
        " `readonlyRootFilesystem` only `/scratch`. Without root, and with `--container-scratch off`, neither",
    ),
    Row("volumes[].efsVolumeConfiguration, s3filesVolumeConfiguration", "refused", "at registration: there is no such file system here"),
    Row("mountPoints", "HostConfig.Binds", "`readOnly` as `:ro`"),
    Row("readonlyRootFilesystem", "HostConfig.ReadonlyRootfs"),
    Row("privileged", "HostConfig.Privileged"),
    Row("ulimits", "HostConfig.Ulimits", "one that this machine may not grant: `CannotStartContainerError`"),
    Row("user", "User", "a user of the image, by name or number; without it the image's own"),
    Row("linuxParameters.devices", "HostConfig.Devices", "permissions: all three if none is named"),
    Row("linuxParameters.initProcessEnabled", "HostConfig.Init"),
    Row("linuxParameters.sharedMemorySize", "HostConfig.ShmSize", "MiB"),
    Row("linuxParameters.tmpfs", "HostConfig.Tmpfs", "`size` in MiB and `mountOptions`"),
    Row("linuxParameters.maxSwap", "HostConfig.MemorySwap", "memory + maxSwap; without it twice the memory, where there is swap"),
    Row(
        "linuxParameters.swappiness", "HostConfig.MemorySwappiness", "only with maxSwap, and with cgroups of version 1: version 2 has none"
    ),
    Row("logConfiguration (awslogs)", "-", "lines go to the log group as they come, by the daemon's attach"),
    Row("logConfiguration (json-file, none)", "-", "kept in a file of the service's folder, or not at all; other drivers are refused"),
    Row(
        "secrets, logConfiguration.secretOptions",
        "Env",
        "resolved before the start where they can be used, refused at registration where not",
    ),
    Row("repositoryCredentials", "X-Registry-Auth of the pull", "the secret is looked up before the start, as with `secrets`"),
    Row("enableExecuteCommand", "refused", "at registration"),
    Row("runtimePlatform", "-", "Linux only; cpuArchitecture is kept and shown: the daemon takes what fits this machine"),
    Row("networkConfiguration, fargatePlatformConfiguration, ephemeralStorage", "-", "for Fargate only, as on AWS"),
    Row("instanceType", "-", "for multi-node parallel jobs only, as on AWS"),
)


class Surroundings(NamedTuple):
    """What the containers of a node have in common."""

    node: str
    network: str = HOST_NETWORK
    hard_cpus: bool = False
    pids: int = 0  # processes and threads of a container; 0: no limit of ours
    podman: bool = False
    swappiness: bool = True  # the kernel knows it: cgroups of version 1
    default_ulimits: tuple[tuple[str, int], ...] = ()  # for daemons whose own defaults this machine cannot grant
    notices: str = ""  # the host's directory of notices, "" if containers cannot see it
    work: str = ""  # what is bound from below this has to be there: a daemon that does not see it must not make it anew


def container_name(launch: Launch, name: str) -> str:
    """The container's name: the attempt's id, so that it is there at most once."""
    return f"{launch.attempt}-{name}" if name else launch.attempt


def labels(launch: Launch, node: str) -> dict[str, str]:
    """By which a later node finds what this one left."""
    return {NODE_LABEL: node, ATTEMPT_LABEL: launch.attempt, JOB_LABEL: launch.job_id}


def empty_volumes(launch: Launch) -> dict[str, str]:
    """The daemon's name of each volume without a host path that is mounted, by its own name."""
    mounted = {point.get("sourceVolume") for point in launch.container.get("mountPoints") or ()}
    return {
        volume["name"]: f"batchyard-{launch.attempt}-{_plain(volume['name'])}"
        for volume in launch.container.get("volumes") or ()
        if volume.get("name") in mounted and not (volume.get("host") or {}).get("sourcePath")
    }


def request_body(launch: Launch, image: str, variables: Mapping[str, str], gpus: Sequence[int], around: Surroundings) -> dict[str, Any]:
    """What `POST /containers/create` gets. `variables`: the whole environment but for the image's own."""
    container = launch.container
    body: dict[str, Any] = {
        "Image": image,
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "Labels": labels(launch, around.node),
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": _host_config(launch, gpus, around),
    }
    entry_point = container.get("entryPoint")  # of a pod's container: what its own command is
    command = container.get("command") if entry_point else launch.command
    if entry_point:
        body["Entrypoint"] = list(entry_point)
    if command:
        body["Cmd"] = list(command)
    if launch.user or container.get("user"):
        body["User"] = launch.user or container["user"]
    return body


def _host_config(launch: Launch, gpus: Sequence[int], around: Surroundings) -> dict[str, Any]:
    container, needs = launch.container, launch.needs
    shared = next((mode for mode in ("pidMode", "ipcMode") if container.get(mode) == "task"), "")
    if shared:
        raise CannotStart(f"CannotCreateContainerError: {shared} task: containers of a task share no namespace here, only processes do")
    linux = container.get("linuxParameters") or {}
    config: dict[str, Any] = {
        "NetworkMode": around.network,
        "LogConfig": {"Type": "none"},
        **_binds(launch, around),
        **_memory(needs.memory_mib, linux, around),
    }
    if around.pids:
        config["PidsLimit"] = around.pids
    if around.hard_cpus:
        config["NanoCpus"] = round(needs.vcpus * 1e9)
    else:
        config["CpuShares"] = min(_SHARES_MOST, max(2, round(SHARES_PER_VCPU * needs.vcpus)))
    ulimits = {name: {"Name": name, "Soft": number, "Hard": number} for name, number in around.default_ulimits}
    for limit in container.get("ulimits") or ():
        ulimits[limit["name"]] = {"Name": limit["name"], "Soft": limit["softLimit"], "Hard": limit["hardLimit"]}
    devices = [_device(device) for device in linux.get("devices") or ()]
    if gpus and around.podman:
        devices += [_device({"hostPath": path}) for path in _nvidia_nodes(gpus)]
    elif gpus:
        config["DeviceRequests"] = [{"DeviceIDs": [str(number) for number in gpus], "Capabilities": [["gpu"]]}]
    optional = {
        "Ulimits": list(ulimits.values()),
        "Devices": devices,
        "Privileged": container.get("privileged"),
        "ReadonlyRootfs": container.get("readonlyRootFilesystem"),
        "PidMode": "host" if container.get("pidMode") == "host" else "",
        "IpcMode": container.get("ipcMode") if container.get("ipcMode") in ("host", "none") else "",
        "SecurityOpt": ["no-new-privileges"] if container.get("noNewPrivileges") else [],
        "Init": linux.get("initProcessEnabled"),
        "ShmSize": (linux.get("sharedMemorySize") or 0) * _MIB,
        "Tmpfs": {mount["containerPath"]: _tmpfs_options(mount) for mount in linux.get("tmpfs") or ()},
    }
    config.update({name: value for name, value in optional.items() if value})
    return config


def addresses(found: Mapping[str, Any]) -> frozenset[str]:
    """The addresses that a container has of its own, from what the daemon says of it; none on the host's network."""
    settings = found.get("NetworkSettings") or {}
    networks = (settings.get("Networks") or {}).values()
    return frozenset(place["IPAddress"] for place in (settings, *networks) if place and place.get("IPAddress"))


def _memory(memory_mib: int, linux: Mapping[str, Any], around: Surroundings) -> dict[str, int]:
    limits = {"Memory": memory_mib * _MIB}
    max_swap = linux.get("maxSwap")
    if max_swap is not None:
        limits["MemorySwap"] = (memory_mib + max_swap) * _MIB
        swappiness = linux.get("swappiness")
        if swappiness is not None and around.swappiness:
            limits["MemorySwappiness"] = swappiness
    return limits


def _binds(launch: Launch, around: Surroundings) -> dict[str, list[Any]]:
    paths = {
        volume["name"]: (volume.get("host") or {}).get("sourcePath") or ""
        for volume in launch.container.get("volumes") or ()
        if volume.get("name")
    }
    made = empty_volumes(launch)
    binds = [f"{around.notices}:{NOTICES}:ro"] if around.notices else []
    mounts: list[dict[str, Any]] = []
    for point in launch.container.get("mountPoints") or ():
        source, target = paths[point["sourceVolume"]] or made[point["sourceVolume"]], point["containerPath"]
        if around.work and source.startswith(f"{around.work}/"):
            mounts.append({"Type": "bind", "Source": source, "Target": target, "ReadOnly": bool(point.get("readOnly"))})
        else:
            binds.append(f"{source}:{target}{':ro' if point.get('readOnly') else ''}")
    return {"Binds": binds, "Mounts": mounts} if mounts else {"Binds": binds}


def _device(device: Mapping[str, Any]) -> dict[str, str]:
    permissions = device.get("permissions") or _PERMISSIONS
    return {
        "PathOnHost": device["hostPath"],
        "PathInContainer": device.get("containerPath") or device["hostPath"],
        "CgroupPermissions": "".join(letter for name, letter in _PERMISSIONS.items() if name in permissions),
    }


def _nvidia_nodes(gpus: Sequence[int]) -> list[str]:
    """What a container needs of /dev for these GPUs where no NVIDIA runtime puts it there."""
    return ["/dev/nvidiactl", "/dev/nvidia-uvm", *(f"/dev/nvidia{number}" for number in gpus)]


def _tmpfs_options(mount: Mapping[str, Any]) -> str:
    return ",".join((f"size={mount['size']}m", *(mount.get("mountOptions") or ())))


def _plain(name: str) -> str:
    """A volume's name in the letters that a daemon takes."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
