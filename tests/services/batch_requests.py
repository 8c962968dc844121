"""Requests of Batch that hold every member that AWS's model knows, and those that are refused with the words of the refusal."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

TABLE: list[tuple[str, dict[str, Any]]] = []  # definitions that are taken: name, members of RegisterJobDefinition
REFUSED: list[tuple[dict[str, Any], str]] = []  # members of RegisterJobDefinition that are not taken, and words of the refusal

NEEDS = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
FARGATE_NEEDS = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
ROLE = "arn:aws:iam::123456789012:role/role"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s"
LINUX = {
    "devices": [{"hostPath": "/dev/null", "containerPath": "/dev/nothing", "permissions": ["READ", "WRITE", "MKNOD"]}],
    "initProcessEnabled": True,
    "sharedMemorySize": 64,
    "tmpfs": [{"containerPath": "/scratch", "size": 16, "mountOptions": ["noexec"]}],
    "maxSwap": 0,
    "swappiness": 60,
}
LOGS = {"logDriver": "awslogs", "options": {"awslogs-group": "/mine", "awslogs-create-group": "true", "awslogs-stream-prefix": "p"}}
EFS = {
    "fileSystemId": "fs-1",
    "rootDirectory": "/",
    "transitEncryption": "ENABLED",
    "transitEncryptionPort": 2049,
    "authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"},
}
S3_FILES = {"fileSystemArn": "arn:aws:s3files:f", "rootDirectory": "/", "transitEncryptionPort": 1, "accessPointArn": "a"}
SECRET_OPTIONS = {"logDriver": "awslogs", "secretOptions": [{"name": "token", "valueFrom": SECRET}]}
CREDENTIALS = {"credentialsParameter": SECRET}
# What a container of its own and one of several have in common.
COMMON: dict[str, Any] = {
    "repositoryCredentials": CREDENTIALS,
    "image": "registry.example.com/tools/bwa:0.7.17",
    "command": ["bwa", "Ref::mode"],
    "environment": [{"name": "A", "value": "1"}, {"name": "EMPTY", "value": ""}],
    "mountPoints": [{"sourceVolume": "data", "containerPath": "/data", "readOnly": True}],
    "readonlyRootFilesystem": True,
    "privileged": False,
    "ulimits": [{"name": "nofile", "softLimit": 64, "hardLimit": 128}],
    "user": "nobody",
    "resourceRequirements": NEEDS,
    "linuxParameters": LINUX,
    "logConfiguration": LOGS,
    "secrets": [{"name": "PASSWORD", "valueFrom": SECRET}],
}
VOLUMES = [{"name": "data", "host": {"sourcePath": "/tmp"}}]
LINUX_X86 = {"operatingSystemFamily": "LINUX", "cpuArchitecture": "X86_64"}
CONTAINER = {**COMMON, "volumes": VOLUMES, "jobRoleArn": ROLE, "executionRoleArn": ROLE, "runtimePlatform": LINUX_X86}
LEGACY = {"image": "busybox", "vcpus": 1, "memory": 64}
ON_FARGATE = {
    "image": "busybox",
    "resourceRequirements": FARGATE_NEEDS,
    "executionRoleArn": ROLE,
    "networkConfiguration": {"assignPublicIp": "ENABLED"},
    "fargatePlatformConfiguration": {"platformVersion": "1.4.0"},
    "ephemeralStorage": {"sizeInGiB": 21},
}
TASK = {
    "containers": [
        {**COMMON, "name": "main", "dependsOn": [{"containerName": "side", "condition": "START"}], "essential": True},
        {"name": "side", "image": "busybox", "resourceRequirements": NEEDS, "essential": False, "startTimeout": 60, "stopTimeout": 20},
    ],
    "executionRoleArn": ROLE,
    "taskRoleArn": ROLE,
    "ipcMode": "host",
    "pidMode": "host",
    "networkMode": "host",
    "runtimePlatform": LINUX_X86,
    "volumes": VOLUMES,
}
FARGATE_TASK = {
    "containers": [{"name": "main", "image": "busybox", "resourceRequirements": FARGATE_NEEDS}],
    "executionRoleArn": ROLE,
    "platformVersion": "LATEST",
    "networkConfiguration": {"assignPublicIp": "DISABLED"},
    "ephemeralStorage": {"sizeInGiB": 200},
}
POD_PART = {
    "image": "busybox",
    "imagePullPolicy": "IfNotPresent",
    "command": ["sh", "-c"],
    "args": ["echo $(A)"],
    "env": [{"name": "A", "value": "1"}],
    "resources": {"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "0.5", "memory": "64Mi"}},
    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch", "subPath": "a", "readOnly": False}],
    "securityContext": {
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    },
}
POD: dict[str, Any] = {
    "serviceAccountName": "default",
    "hostNetwork": True,
    "dnsPolicy": "Default",
    "containers": [{"name": "main", **POD_PART}],
    "initContainers": [{"name": "before", **POD_PART}],
    "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "host", "hostPath": {"path": "/tmp"}}],
    "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}, "namespace": "genomes"},
    "shareProcessNamespace": False,
    "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": True},
}
CONSUMABLES = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 1}]}
OF_ALL = {
    "parameters": {"mode": "mem"},
    "retryStrategy": {
        "attempts": 2,
        "evaluateOnExit": [{"onStatusReason": "Host EC2*", "onReason": "*", "onExitCode": "1*", "action": "RETRY"}],
    },
    "timeout": {"attemptDurationSeconds": 60},
    "consumableResourceProperties": CONSUMABLES,
    "schedulingPriority": 7,
    "tags": {"project": "genomes"},
}


def nodes(**runs: Any) -> dict[str, Any]:
    return {
        "numNodes": 2,
        "mainNode": 0,
        "nodeRangeProperties": [{"targetNodes": "0:", "instanceTypes": ["m5.large"], "consumableResourceProperties": CONSUMABLES, **runs}],
    }


RUNS: dict[str, tuple[dict[str, Any], str]] = {  # what may run, and on what platform
    "container": (CONTAINER, "EC2"),
    "legacy": (LEGACY, "EC2"),
    "fargate": (ON_FARGATE, "FARGATE"),
    "task": ({"taskProperties": [TASK]}, "EC2"),
    "fargate-task": ({"taskProperties": [FARGATE_TASK]}, "FARGATE"),
    "pod": ({"podProperties": POD}, ""),
}
MEMBERS = {"task": "ecsProperties", "fargate-task": "ecsProperties", "pod": "eksProperties"}


def definitions() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, (runs, platform) in RUNS.items():
        own = {"propagateTags": True, "platformCapabilities": [platform]} if platform else {}
        yield name, {"type": "container", MEMBERS.get(name, "containerProperties"): runs, **OF_ALL, **own}
        if platform != "FARGATE":
            of_nodes = {k: v for k, v in OF_ALL.items() if k != "consumableResourceProperties"}
            yield f"{name}-nodes", {"type": "multinode", "nodeProperties": nodes(**{MEMBERS.get(name, "container"): runs}), **of_nodes}
    typed = nodes(container={**CONTAINER, "instanceType": "m5.large"}, instanceTypes=[])
    yield "typed-nodes", {"type": "multinode", "nodeProperties": typed, "parameters": {"mode": "mem"}}


def put(holder: Any, path: str, value: Any) -> Any:
    """A copy of `holder` with `value` at `path`: `a.b[0].c`."""
    result = at = json.loads(json.dumps(holder))  # every part anew, those that stand there twice too
    steps: list[Any] = [int(s) if s.isdigit() else s for s in path.replace("[", ".").replace("]", "").split(".")]
    for step, following in itertools.pairwise(steps):
        at = at[step] if isinstance(at, list) else at.setdefault(step, [{}] if isinstance(following, int) else {})
    at[steps[-1]] = value
    return result


# What cannot be had: of which run, at which path, which value, and words of the refusal.
NOT_TAKEN: list[tuple[str, str, Any, str]] = [
    ("legacy", "volumes", [{"name": "d", "efsVolumeConfiguration": EFS}], "volumes[0].efsVolumeConfiguration is not available"),
    ("legacy", "volumes", [{"name": "d", "s3filesVolumeConfiguration": S3_FILES}], "s3filesVolumeConfiguration is not available"),
    ("legacy", "logConfiguration", SECRET_OPTIONS, "logConfiguration.secretOptions is not available"),
    ("legacy", "enableExecuteCommand", True, "enableExecuteCommand is not available"),
    ("legacy", "runtimePlatform.operatingSystemFamily", "WINDOWS_SERVER_2022_FULL", "cannot run on this host"),
    ("legacy", "networkConfiguration", {"assignPublicIp": "ENABLED"}, "networkConfiguration not applicable for EC2."),
    ("legacy", "fargatePlatformConfiguration", {"platformVersion": "1.4.0"}, "fargatePlatformConfiguration not applicable for EC2."),
    ("legacy", "ephemeralStorage", {"sizeInGiB": 30}, "ephemeralStorage not applicable for EC2."),
    ("legacy", "logConfiguration", {"logDriver": "splunk"}, "logConfiguration.logDriver splunk is not available"),
    ("task", "taskProperties[0].volumes", [{"name": "data", "efsVolumeConfiguration": EFS}], "efsVolumeConfiguration is not available"),
    ("task", "taskProperties[0].volumes", [{"name": "data", "s3filesVolumeConfiguration": S3_FILES}], "s3filesVolumeConfiguration is not"),
    ("task", "taskProperties[0].enableExecuteCommand", True, "enableExecuteCommand is not available"),
    ("task", "taskProperties[0].networkMode", "awsvpc", "networkMode awsvpc cannot be had here"),
    ("task", "taskProperties[0].platformVersion", "1.4.0", "platformVersion not applicable for EC2."),
    ("task", "taskProperties[0].networkConfiguration", {"assignPublicIp": "ENABLED"}, "networkConfiguration not applicable for EC2."),
    ("task", "taskProperties[0].ephemeralStorage", {"sizeInGiB": 30}, "ephemeralStorage not applicable for EC2."),
    ("task", "taskProperties[0].containers[0].logConfiguration", SECRET_OPTIONS, "containers[0].logConfiguration.secretOptions is not"),
    (
        *("task", "taskProperties[0].containers[0].firelensConfiguration", {"type": "fluentbit", "options": {"a": "b"}}),
        "containers[0].firelensConfiguration is not available",
    ),
    ("pod", "podProperties.serviceAccountName", "irsa", "serviceAccountName cannot be had here"),
    ("pod", "podProperties.hostNetwork", False, "hostNetwork false cannot be had here"),
    ("pod", "podProperties.dnsPolicy", "ClusterFirst", "dnsPolicy ClusterFirst cannot be had here"),
    ("pod", "podProperties.imagePullSecrets", [{"name": "regcred"}], "imagePullSecrets cannot be had here"),
    ("pod", "podProperties.volumes[0]", {"name": "scratch", "secret": {"secretName": "s", "optional": True}}, "volumes[0].secret"),
    (
        *("pod", "podProperties.volumes[0]", {"name": "scratch", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}}),
        "volumes[0].persistentVolumeClaim cannot be had here",
    ),
    ("pod", "podProperties.volumes[0].emptyDir", {"medium": "Memory"}, "emptyDir.medium Memory cannot be had here"),
    ("pod", "podProperties.volumes[0].emptyDir", {"sizeLimit": "1Gi"}, "emptyDir.sizeLimit cannot be had here"),
    ("pod", "podProperties.securityContext.fsGroup", 1000, "securityContext.fsGroup cannot be had here"),
    (
        *("pod", "podProperties.securityContext.seccompProfile", {"type": "Localhost", "localhostProfile": "p.json"}),
        "securityContext.seccompProfile cannot be had here",
    ),
    *(
        ("pod", f"podProperties.{part}[0].securityContext.{member}", value, f"{part}[0].securityContext.{member.partition('.')[0]}")
        for part in ("containers", "initContainers")
        for member, value in (
            ("capabilities", {"add": ["NET_ADMIN"]}),
            ("capabilities", {"drop": ["ALL"]}),
            ("seccompProfile", {"type": "Localhost", "localhostProfile": "p.json"}),
        )
    ),
]


def refused_definitions() -> Iterator[tuple[dict[str, Any], str]]:
    for run, path, value, words in NOT_TAKEN:
        runs = put(RUNS[run][0], path, value)
        yield {"type": "container", MEMBERS.get(run, "containerProperties"): runs}, words
        yield {"type": "multinode", "nodeProperties": nodes(**{MEMBERS.get(run, "container"): runs})}, words
    yield {"type": "container", "containerProperties": {**LEGACY, "instanceType": "m5.large"}}, "instanceType is only for multi-node"


TABLE.extend(definitions())
REFUSED.extend(refused_definitions())


NETWORK = {"subnets": ["subnet-12345678"], "securityGroupIds": ["sg-12345678"]}
EC2: dict[str, Any] = {
    **NETWORK,
    "type": "SPOT",
    "allocationStrategy": "BEST_FIT_PROGRESSIVE",
    "minvCpus": 0,
    "maxvCpus": 2,
    "desiredvCpus": 0,
    "instanceTypes": ["m5.large", "c5"],
    "imageId": "ami-1",
    "ec2KeyPair": "key",
    "instanceRole": "ecsInstanceRole",
    "tags": {"Name": "worker"},
    "placementGroup": "together",
    "bidPercentage": 60,
    "spotIamFleetRole": ROLE,
    "launchTemplate": {
        "launchTemplateName": "workers",
        "version": "$Latest",
        "userdataType": "EKS_BOOTSTRAP_SH",
        "overrides": [
            {"launchTemplateId": "lt-1", "version": "1", "targetInstanceTypes": ["m5.large"], "userdataType": "EKS_BOOTSTRAP_SH"},
            {"launchTemplateName": "other", "targetInstanceTypes": ["c5"]},
        ],
    },
    "ec2Configuration": [{"imageType": "ECS_AL2023", "imageIdOverride": "ami-2", "batchImageStatus": "LATEST"}],
    "scalingPolicy": {"minScaleDownDelayMinutes": 20},
}
BY_ID = {**EC2, "launchTemplate": {"launchTemplateId": "lt-1"}}
MANAGED: dict[str, Any] = {
    "type": "ECS_MANAGED_INSTANCES",
    "maxvCpus": 2,
    "capacityTags": {"a": "b"},
    "managedInstancesProvider": {
        "propagateTags": "CAPACITY_PROVIDER",
        "infrastructureRoleArn": ROLE,
        "instanceLaunchTemplate": {
            "ec2InstanceProfileArn": "arn:aws:iam::123456789012:instance-profile/p",
            "networkConfiguration": {"subnets": ["subnet-12345678"], "securityGroups": ["sg-12345678"]},
            "instanceRequirements": {"allowedInstanceTypes": ["m5.large"]},
            "capacityOptionType": "ON_DEMAND",
            "storageConfiguration": {"storageSizeGiB": 30},
            "monitoring": "BASIC",
            "fipsEnabled": False,
            "capacityReservations": {"reservationGroupArn": "arn:g", "reservationPreference": "RESERVATIONS_FIRST"},
            "instanceMetadataTagsPropagation": True,
            "localStorageConfiguration": {"useLocalStorage": True},
        },
        "infrastructureOptimization": {"scaleInAfter": 300},
    },
}
EKS = {"eksClusterArn": "arn:aws:eks:us-east-1:000000000000:cluster/c", "kubernetesNamespace": "genomes"}
ON_EKS: dict[str, Any] = {
    **{name: EC2[name] for name in ("minvCpus", "maxvCpus", "instanceTypes", "instanceRole")},
    **NETWORK,
    "type": "EC2",
    "ec2Configuration": [{"imageType": "EKS_AL2023", "imageKubernetesVersion": "1.32"}],
}
PLAIN: dict[str, Any] = {**NETWORK, "type": "EC2", "minvCpus": 0, "maxvCpus": 2, "instanceTypes": ["m5"], "instanceRole": "ecsInstanceRole"}
FARGATE: dict[str, Any] = {**NETWORK, "type": "FARGATE_SPOT", "maxvCpus": 4}
OF_ENVIRONMENT: dict[str, Any] = {"state": "DISABLED", "tags": {"a": "b"}, "context": "c", "ecsSettings": {"containerInsights": "ENABLED"}}
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "spot": {"type": "MANAGED", "computeResources": EC2, **OF_ENVIRONMENT},
    "by-id": {"type": "MANAGED", "computeResources": BY_ID},
    "managed": {"type": "MANAGED", "computeResources": MANAGED},
    "fargate": {"type": "MANAGED", "computeResources": FARGATE},
    "unmanaged": {"type": "UNMANAGED", "serviceRole": ROLE, "unmanagedvCpus": 8},
    "eks": {"type": "MANAGED", "computeResources": ON_EKS, "eksConfiguration": EKS},
}
ACCESS = {"accessEntry": {"desiredState": "ENABLED", "status": "ACTIVE"}}
REFUSED_ENVIRONMENTS: list[tuple[dict[str, Any], str]] = [
    ({"type": "MANAGED", "computeResources": ON_EKS, "eksConfiguration": {**EKS, **ACCESS}}, "eksConfiguration.accessEntry is not"),
    ({"type": "MANAGED", "computeResources": PLAIN, "unmanagedvCpus": 1}, "unmanagedvCpus is only for"),
    *(
        ({"type": "MANAGED", "computeResources": {**FARGATE, name: EC2[name]}}, f"{name} is not applicable for Fargate.")
        for name in sorted(EC2.keys() - FARGATE.keys())
    ),
    *(
        ({"type": "MANAGED", "computeResources": {**PLAIN, name: MANAGED[name]}}, f"{name} is only for compute environments of type")
        for name in ("managedInstancesProvider", "capacityTags")
    ),
]
# What an update changes: of which environment, and to what.
PROVIDER: dict[str, Any] = MANAGED["managedInstancesProvider"]
OF_UPDATE = {name: value for name, value in PROVIDER["instanceLaunchTemplate"].items() if name not in ("capacityOptionType", "fipsEnabled")}
UPDATES: list[tuple[str, dict[str, Any]]] = [
    ("spot", {"state": "ENABLED", "context": "d", "ecsSettings": {"containerInsights": "DISABLED"}}),
    ("spot", {"updatePolicy": {"terminateJobsOnUpdate": True, "jobExecutionTimeoutMinutes": 60}}),
    ("spot", {"computeResources": {n: v for n, v in EC2.items() if n != "spotIamFleetRole"} | {"maxvCpus": 4, "desiredvCpus": 1}}),
    ("spot", {"computeResources": {"allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED", "launchTemplate": BY_ID["launchTemplate"]}}),
    ("managed", {"computeResources": {**MANAGED, "managedInstancesProvider": {**PROVIDER, "instanceLaunchTemplate": OF_UPDATE}}}),
    ("fargate", {"computeResources": {**FARGATE, "maxvCpus": 8}}),
    ("unmanaged", {"unmanagedvCpus": 16, "serviceRole": ROLE + "2"}),
    ("eks", {"computeResources": {"ec2Configuration": [{"imageType": "EKS_AL2023", "imageKubernetesVersion": "1.33"}]}}),
]
REFUSED_UPDATES: list[tuple[str, dict[str, Any], str]] = [
    ("eks", {"state": "ENABLED", "eksConfiguration": ACCESS}, "eksConfiguration.accessEntry is not"),
    ("eks", {"computeResources": {"desiredvCpus": 1}}, "desiredvCpus"),
    ("spot", {"unmanagedvCpus": 1}, "unmanagedvCpus is only for"),
    ("spot", {"updatePolicy": {"jobExecutionTimeoutMinutes": 7201}}, "less than or equal to 7200"),
    ("unmanaged", {"computeResources": {"maxvCpus": 1}}, "computeResources is only for"),
]
LIMITS = [
    {"reason": "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", "state": "RUNNABLE", "maxTimeSeconds": 600, "action": "CANCEL"},
    {"reason": "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", "state": "RUNNABLE", "maxTimeSeconds": 86400, "action": "CANCEL"},
]
SERVICE_ORDER = [{"order": 1, "serviceEnvironment": "s"}]
FAIR = {"shareDecaySeconds": 60, "computeReservation": 10, "shareDistribution": [{"shareIdentifier": "a", "weightFactor": 0.5}]}
QUOTA_SHARES = {"idleResourceAssignmentStrategy": "FIFO"}


MORE = [{"type": "VCPU", "value": "2"}]
OVERRIDES = {"command": ["true", "x"], "environment": [{"name": "A", "value": "2"}], "resourceRequirements": MORE}
TASK_OVERRIDES = {"taskProperties": [{"containers": [{"name": "main", **OVERRIDES}]}]}
PART_OVERRIDES = {
    "image": "other",
    "command": ["sleep"],
    "args": ["1"],
    "env": [{"name": "A", "value": "2"}],
    "resources": {"limits": {"cpu": "2", "memory": "128Mi"}, "requests": {"cpu": "1", "memory": "128Mi"}},
}
POD_OVERRIDES = {
    "podProperties": {
        "containers": [{"name": "main", **PART_OVERRIDES}],
        "initContainers": [{"name": "before", **PART_OVERRIDES}],
        "metadata": {"labels": {"a": "c"}, "annotations": {"e": "f"}, "namespace": "other"},
    }
}
OF_JOB = {
    "parameters": {"mode": "index"},
    "retryStrategy": {"attempts": 3, "evaluateOnExit": [{"onExitCode": "2", "onReason": "a", "onStatusReason": "b", "action": "EXIT"}]},
    "propagateTags": False,
    "timeout": {"attemptDurationSeconds": 90},
    "tags": {"sample": "s1"},
}
WANTED = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 2}]}
WANTED_OVERRIDE = {"consumableResourcePropertiesOverride": WANTED}


def of_nodes(member: str, override: dict[str, Any]) -> dict[str, Any]:
    entry = {"targetNodes": "0:", "instanceTypes": ["m5.xlarge"], member: override, **WANTED_OVERRIDE}
    return {"nodeOverrides": {"numNodes": 3, "nodePropertyOverrides": [entry]}}


TYPED = {"instanceType": "m5.xlarge"}
# Submissions: of which definition, what they say besides, and what DescribeJobs shows of it.
SUBMISSIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("container", {"containerOverrides": OVERRIDES, **WANTED_OVERRIDE}, {"container": {"command": OVERRIDES["command"]}}),
    ("legacy", {"containerOverrides": {"vcpus": 2, "memory": 128}}, {"container": {"vcpus": 2, "memory": 128}}),
    ("container", {"arrayProperties": {"size": 2}}, {"arrayProperties": {"size": 2}}),
    (
        *("task", {"ecsPropertiesOverride": TASK_OVERRIDES, **WANTED_OVERRIDE}),
        {"ecsProperties": {"taskProperties": [{"taskRoleArn": ROLE, "executionRoleArn": ROLE, "pidMode": "host"}]}},
    ),
    ("pod", {"eksPropertiesOverride": POD_OVERRIDES, **WANTED_OVERRIDE}, {}),
    ("container-nodes", of_nodes("containerOverrides", {**OVERRIDES}), {"nodeProperties": {"numNodes": 3}}),
    ("legacy-nodes", of_nodes("containerOverrides", {"vcpus": 2, "memory": 128}), {"nodeProperties": {"numNodes": 3}}),
    ("task-nodes", of_nodes("ecsPropertiesOverride", TASK_OVERRIDES), {"nodeProperties": {"numNodes": 3}}),
    ("pod-nodes", of_nodes("eksPropertiesOverride", POD_OVERRIDES), {"nodeProperties": {"numNodes": 3}}),
    (
        *("typed-nodes", {"nodeOverrides": {"nodePropertyOverrides": [{"targetNodes": "0:", "containerOverrides": TYPED}]}}),
        {"nodeProperties": {"numNodes": 2}},
    ),
]


REFUSED_SUBMISSIONS: list[tuple[str, dict[str, Any], str]] = [
    ("legacy", {"nodeOverrides": {"numNodes": 3}}, "nodeOverrides is only for multi-node"),
    ("legacy", {"ecsPropertiesOverride": TASK_OVERRIDES}, "ecsPropertiesOverride is not for this job"),
    ("task", {"containerOverrides": OVERRIDES}, "containerOverrides is not for this job"),
    ("legacy", {"containerOverrides": {"instanceType": "m5.large"}}, "containerOverrides.instanceType is only for multi-node"),
    ("legacy", {"dependsOn": [{"jobId": "x", "type": "N_TO_N"}]}, "type N_TO_N is only for array jobs"),
    ("container-nodes", {"arrayProperties": {"size": 2}}, "cannot be an array job"),
    ("fargate", {}, "can not run Jobs with capability FARGATE"),
    ("pod", {}, "can not run Jobs with capability EKS"),
]
