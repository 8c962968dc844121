"""What RegisterJobDefinition and SubmitJob may say in eksProperties and eksPropertiesOverride (API reference, EksPodProperties).

There is no cluster here: a pod runs as a task of containers on this machine. What means the same there and here is taken, and what
only a cluster can give (service accounts, secrets, volume claims, a pod network) is refused by name rather than left out in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from batchyard.core.pods import GPU, name_of, needs_of_pod
from batchyard.core.submission import MIN_MEMORY_MIB
from batchyard.model.fault import client_fault
from batchyard.services.batch.fields_not_yet import is_empty
from batchyard.services.batch.validation import check_command, one_of

MAX_CONTAINERS = 10
POD = "eksProperties.podProperties"
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_VOLUME_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_IMAGE = re.compile(r"[A-Za-z0-9\-_:./#@]{1,255}")
_VARIABLE = re.compile(r"[-._A-Za-z][-._A-Za-z0-9]*")
_MEMORY = re.compile(r"([0-9]{1,10})Mi")
_CPU = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_RESOURCES = ("cpu", "memory", GPU)

# Members of a pod that only a cluster can give, and why.
_POD_REFUSED = {
    "imagePullSecrets": "secrets are kept by a Kubernetes cluster; a registry's credentials belong to the container runtime here",
    "securityContext.seccompProfile": "profiles of system calls are not applied",
    "securityContext.fsGroup": "the group of volumes is not changed",
}
_CONTAINER_REFUSED = {
    "securityContext.seccompProfile": "profiles of system calls are not applied",
    "securityContext.capabilities.add": "no container is given capabilities one by one",
    "securityContext.capabilities.drop": "no container is denied capabilities one by one",
}


def check_eks_properties(properties: Mapping[str, Any], runtime: str) -> None:
    """Refuse eksProperties that AWS refuses, and what cannot mean the same here. `runtime`: how jobs run."""
    pod = properties.get("podProperties") or {}
    containers, before = pod.get("containers") or (), pod.get("initContainers") or ()
    if not 1 <= len(containers) <= MAX_CONTAINERS:
        raise client_fault(f"{POD}.containers must hold between 1 and {MAX_CONTAINERS} containers, not {len(containers)}.")
    if len(before) > MAX_CONTAINERS:
        raise client_fault(f"{POD}.initContainers may hold at most {MAX_CONTAINERS} containers, not {len(before)}.")
    _check_pod(pod, runtime)
    volumes = _volume_names(pod.get("volumes") or ())
    names: set[str] = set()
    for part, members in (("initContainers", before), ("containers", containers)):
        for number, container in enumerate(members):
            where = f"{POD}.{part}[{number}]"
            name = name_of(container)
            if not _NAME.fullmatch(name):
                raise client_fault(f"{where}.name {name!r} is not valid: up to 63 letters, digits and hyphens, not at the ends.")
            if name in names:
                raise client_fault(f"{where}: a pod has each name once, and {name} stands there twice.")
            names.add(name)
            _check_container(where, container, pod, volumes)
    if needs_of_pod(pod).memory_mib < MIN_MEMORY_MIB:
        raise client_fault(f"{POD}: memory must be at least {MIN_MEMORY_MIB}Mi.")


def check_eks_override(override: Mapping[str, Any]) -> None:
    """Refuse an eksPropertiesOverride that is wrong by itself; whether its names are known is seen when it is merged."""
    pod = override.get("podProperties") or {}
    for part in ("initContainers", "containers"):
        for number, container in enumerate(pod.get(part) or ()):
            where = f"eksPropertiesOverride.podProperties.{part}[{number}]"
            if container.get("image") and not _IMAGE.fullmatch(container["image"]):
                raise client_fault(f"{where}.image {container['image']} is not valid: up to 255 letters, digits and the characters -_:./#@")
            check_command(where, container.get("command"))
            _check_variables(where, container.get("env") or ())
            check_pod_resources(where, container.get("resources") or {})
    _check_metadata("eksPropertiesOverride.podProperties.metadata", pod.get("metadata") or {})


def check_namespace(where: str, namespace: str) -> None:
    """Refuse a Kubernetes namespace that Batch does not use."""
    if not _NAMESPACE.fullmatch(namespace) or namespace == "default" or namespace.startswith("kube-"):
        raise client_fault(
            f"{where} {namespace!r} is not valid: 1 to 63 lower case letters, digits and hyphens, not `default`, "
            "and not beginning with `kube-`."
        )


def _check_pod(pod: Mapping[str, Any], runtime: str) -> None:
    _refuse(POD, pod, _POD_REFUSED)
    if pod.get("serviceAccountName") not in (None, "", "default"):
        raise client_fault(
            f"{POD}.serviceAccountName cannot be had here: service accounts (and roles through them, IRSA) belong to a Kubernetes "
            "cluster. Leave it out; jobs have credentials of their own."
        )
    if pod.get("hostNetwork") is False:
        raise client_fault(f"{POD}.hostNetwork false cannot be had here: containers use the host's network. Leave it out.")
    policy = pod.get("dnsPolicy")
    one_of(f"{POD}.dnsPolicy", policy, ("DEFAULT", "CLUSTERFIRST", "CLUSTERFIRSTWITHHOSTNET"))
    if policy and policy.upper() != "DEFAULT":
        raise client_fault(
            f"{POD}.dnsPolicy {policy} cannot be had here: there is no cluster whose names could be found. Leave it out, or use Default."
        )
    if pod.get("shareProcessNamespace") and runtime != "process":
        raise client_fault(f"{POD}.shareProcessNamespace cannot be had here: the containers of a pod share no namespace. Leave it out.")
    _check_security(f"{POD}.securityContext", pod.get("securityContext") or {}, {})
    _check_metadata(f"{POD}.metadata", pod.get("metadata") or {})


def _check_metadata(where: str, metadata: Mapping[str, Any]) -> None:
    if metadata.get("namespace"):
        check_namespace(f"{where}.namespace", metadata["namespace"])
    for name in metadata.get("labels") or {}:
        if name.startswith("batch.amazonaws.com/"):
            raise client_fault(f"{where}.labels: {name} is reserved. Labels may not start with batch.amazonaws.com/.")


def _volume_names(volumes: Sequence[Mapping[str, Any]]) -> set[str]:
    names: set[str] = set()
    for number, volume in enumerate(volumes):
        where, name = f"{POD}.volumes[{number}]", volume["name"]
        if not _VOLUME_NAME.fullmatch(name):
            raise client_fault(f"{where}.name {name!r} is not valid: up to 63 lower case letters, digits and hyphens.")
        if name in names:
            raise client_fault(f"{where}: {name} stands there twice.")
        names.add(name)
        for kind, why in (("secret", "secrets"), ("persistentVolumeClaim", "volume claims")):
            if volume.get(kind):
                raise client_fault(f"{where}.{kind} cannot be had here: {why} are kept by a Kubernetes cluster. Use emptyDir or hostPath.")
        if (volume.get("hostPath") is None) == (volume.get("emptyDir") is None):
            raise client_fault(f"{where} needs exactly one of emptyDir and hostPath.")
        if volume.get("hostPath") is not None and not str(volume["hostPath"].get("path") or "").startswith("/"):
            raise client_fault(f"{where}.hostPath.path is required: a path that begins with /.")
        empty = volume.get("emptyDir") or {}
        if empty.get("medium"):
            raise client_fault(f"{where}.emptyDir.medium {empty['medium']} cannot be had here: volumes lie on disk. Leave it out.")
        if empty.get("sizeLimit"):
            raise client_fault(f"{where}.emptyDir.sizeLimit cannot be had here: nobody measures the volume. Leave it out.")
    return names


def _check_container(where: str, container: Mapping[str, Any], pod: Mapping[str, Any], volumes: set[str]) -> None:
    image = container.get("image")
    if not image:
        raise client_fault(f"{where}.image is required.")
    if not _IMAGE.fullmatch(image):
        raise client_fault(f"{where}.image {image} is not valid: up to 255 letters, digits and the characters -_:./#@")
    policy = container.get("imagePullPolicy")
    if policy and policy not in _PULL_POLICIES:
        raise client_fault(f"{where}.imagePullPolicy {policy} is not valid. Valid values are: {', '.join(_PULL_POLICIES)}.")
    _refuse(where, container, _CONTAINER_REFUSED)
    check_command(where, container.get("command"))
    _check_variables(where, container.get("env") or ())
    check_pod_resources(where, container.get("resources") or {})
    _check_security(f"{where}.securityContext", container.get("securityContext") or {}, pod.get("securityContext") or {})
    for number, mount in enumerate(container.get("volumeMounts") or ()):
        _check_mount(f"{where}.volumeMounts[{number}]", mount, volumes)


def _check_mount(where: str, mount: Mapping[str, Any], volumes: set[str]) -> None:
    if mount.get("name") not in volumes:
        raise client_fault(f"{where}: {mount.get('name')} is not among the pod's volumes.")
    if not str(mount.get("mountPath") or "").startswith("/") or ":" in mount["mountPath"]:
        raise client_fault(f"{where}.mountPath is required: a path that begins with / and holds no colon.")
    path = mount.get("subPath") or ""
    if path.startswith("/") or ".." in path.split("/"):
        raise client_fault(f"{where}.subPath {path} must be a path within the volume.")


def _check_variables(where: str, variables: Sequence[Mapping[str, Any]]) -> None:
    for entry in variables:
        name = str(entry.get("name") or "")
        if not _VARIABLE.fullmatch(name):
            raise client_fault(f"{where}.env: {name!r} is no name of a variable.")
        if name.startswith("AWS_BATCH"):
            raise client_fault(f"{where}.env: {name} is reserved. Names of environment variables may not start with AWS_BATCH.")


def check_pod_resources(where: str, resources: Mapping[str, Any]) -> None:
    """Refuse limits and requests that Batch refuses (specification, section 5.5)."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for side, values in (("limits", limits), ("requests", requests)):
        for name, value in values.items():
            _check_amount(f"{where}.resources.{side}", name, str(value))
    for name in ("memory", GPU):
        if name in limits and name in requests and limits[name] != requests[name]:
            raise client_fault(f"{where}.resources: {name} must be the same in limits and requests.")
    if "cpu" in limits and "cpu" in requests and float(limits["cpu"]) < float(requests["cpu"]):
        raise client_fault(f"{where}.resources: the limit of cpu must be at least its request.")


def _check_amount(where: str, name: str, value: str) -> None:
    if name not in _RESOURCES:
        raise client_fault(f"{where}: {name} is not valid. Valid names are: {', '.join(_RESOURCES)}.")
    if name == "memory":
        amount = _MEMORY.fullmatch(value)
        if not amount or int(amount[1]) < MIN_MEMORY_MIB:
            raise client_fault(f"{where}: memory {value} is not valid: a whole number of at least {MIN_MEMORY_MIB} with the suffix Mi.")
    elif name == "cpu":
        if not _CPU.fullmatch(value) or float(value) <= 0 or float(value) * 4 % 1:
            raise client_fault(f"{where}: cpu {value} is not valid: a multiple of 0.25, without a suffix.")
    elif not value.isascii() or not value.isdigit() or not 1 <= len(value) <= 4:
        raise client_fault(f"{where}: {name} {value} is not valid: a whole number.")


def _check_security(where: str, security: Mapping[str, Any], outer: Mapping[str, Any]) -> None:
    whole = {**outer, **security}
    user = whole.get("runAsUser")
    for name in ("runAsUser", "runAsGroup"):
        number = security.get(name)
        if number is not None and not 0 <= number < 2**32 - 1:
            raise client_fault(f"{where}.{name} must be between 0 and 4294967294, not {number}.")
    if whole.get("runAsGroup") is not None and user is None and security:
        raise client_fault(f"{where}.runAsGroup needs runAsUser beside it.")
    if whole.get("runAsNonRoot") and not user and security:
        raise client_fault(f"{where}.runAsNonRoot needs a runAsUser that is not 0: nobody looks into the image for its user.")
    if security.get("privileged") and security.get("allowPrivilegeEscalation") is False:
        raise client_fault(f"{where}.allowPrivilegeEscalation cannot be false for a privileged container.")


def _refuse(where: str, holder: Mapping[str, Any], table: Mapping[str, str]) -> None:
    for path, why in table.items():
        value: Any = holder
        for step in path.split("."):
            value = (value or {}).get(step)
        if not is_empty(value):
            raise client_fault(f"{where}.{path} cannot be had here: {why}. Leave it out.")
