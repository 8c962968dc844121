"""Jobs and environments in Kubernetes' form: eksProperties and eksConfiguration (specification, sections 5.5, 1.5 and 2.4)."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import ACCOUNT, REGION, RESOURCES, Bench

from batchyard.core import forms, pods
from batchyard.model.capacity import Resources
from batchyard.model.task import Condition, ContainerEnd, StartsAfter

CLUSTER = f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/research"
EKS = {"eksClusterArn": CLUSTER, "kubernetesNamespace": "batch"}
SMALL = {"limits": {"cpu": "1", "memory": "512Mi"}}
FETCH = {"name": "fetch", "image": "busybox", "args": ["fetch", "Ref::sample"]}
WORK = {
    "name": "work",
    "image": "busybox",
    "command": ["sh", "-c"],
    "args": ["echo $(GREETING) $$(GREETING) $(AWS_BATCH_JOB_ID) $(NOBODY)"],
    "env": [{"name": "NAME", "value": "you"}, {"name": "GREETING", "value": "hello $(NAME)"}],
    "resources": SMALL,
    "securityContext": {"runAsUser": 1000, "runAsGroup": 1001, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False},
    "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "in/it", "readOnly": True}],
}
SIDE = {"name": "side", "image": "busybox", "resources": {"requests": {"cpu": "0.5", "memory": "256Mi"}}}
POD = {"initContainers": [FETCH], "containers": [WORK, SIDE], "volumes": [{"name": "data", "emptyDir": {}}]}


def environment(bench: Bench, name: str = "eks", **more: Any) -> dict[str, Any]:
    members = {"computeResources": RESOURCES, "eksConfiguration": EKS, **more}
    bench.call("CreateComputeEnvironment", computeEnvironmentName=name, type="MANAGED", **members)
    (shown,) = bench.call("DescribeComputeEnvironments", computeEnvironments=[name])["computeEnvironments"]
    return dict(shown)


def register(bench: Bench, **pod: Any) -> None:
    properties = {"podProperties": {**POD, **pod}}
    bench.call("RegisterJobDefinition", jobDefinitionName="pod", type="container", eksProperties=properties)


def submit(bench: Bench, **more: Any) -> str:
    return bench.submit(**{"jobDefinition": "pod", "jobQueue": "pods", "parameters": {"sample": "s1"}, **more})


@pytest.fixture
def eks(ready: Bench) -> Bench:
    environment(ready)
    ready.queue("pods", ["eks"], jobQueueType="EKS")
    register(ready)
    return ready


def pod_of(bench: Bench, job_id: str) -> dict[str, Any]:
    return dict(bench.job(job_id)["eksProperties"]["podProperties"])


# --- environments and queues ---


def test_an_environment_records_its_cluster_and_shows_it(bench: Bench) -> None:
    shown = environment(bench)
    assert shown["eksConfiguration"] == EKS and shown["containerOrchestrationType"] == "EKS" and "ecsClusterArn" not in shown
    assert shown["computeResources"]["allocationStrategy"] == "BEST_FIT_PROGRESSIVE"
    assert shown["computeResources"]["ec2Configuration"] == [{"imageType": "EKS_AL2023"}]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"eksConfiguration": {**EKS, "eksClusterArn": "arn:aws:eks:elsewhere:1:cluster/x"}}, "eksClusterArn arn:aws:eks:elsewhere"),
        ({"eksConfiguration": {**EKS, "kubernetesNamespace": "default"}}, "kubernetesNamespace 'default' is not valid"),
        ({"eksConfiguration": {**EKS, "kubernetesNamespace": "kube-system"}}, "is not valid"),
        ({"eksConfiguration": {**EKS, "kubernetesNamespace": "Upper"}}, "is not valid"),
        ({"eksConfiguration": {**EKS, "kubernetesNamespace": "x" * 64}}, "is not valid"),
        ({"eksConfiguration": {**EKS, "accessEntry": {"desiredState": "ENABLED"}}}, "accessEntry is not available"),
        ({"computeResources": {**RESOURCES, "allocationStrategy": "BEST_FIT"}}, "BEST_FIT is not applicable for EKS"),
        (
            {"computeResources": {**RESOURCES, "ec2Configuration": [{"imageType": "EKS_AL2023", "imageKubernetesVersion": "latest"}]}},
            "At least one imageKubernetesVersion in EC2Configuration is not supported.",
        ),
    ],
)
def test_environments_that_are_refused(bench: Bench, members: dict[str, Any], message: str) -> None:
    request = {"computeEnvironmentName": "eks", "type": "MANAGED", "computeResources": RESOURCES, "eksConfiguration": EKS, **members}
    assert message in bench.refused("CreateComputeEnvironment", **request)


def test_desired_vcpus_of_an_eks_environment_follow_from_its_jobs(eks: Bench) -> None:
    message = eks.refused("UpdateComputeEnvironment", computeEnvironment="eks", computeResources={"desiredvCpus": 4})
    assert "desiredvCpus cannot be updated" in message


def test_queues_are_of_one_kind(eks: Bench) -> None:
    (queue,) = eks.call("DescribeJobQueues", jobQueues=["pods"])["jobQueues"]
    assert queue["jobQueueType"] == "EKS"

    def order(*names: str) -> list[dict[str, Any]]:
        return [{"order": number, "computeEnvironment": name} for number, name in enumerate(names)]

    mixed = eks.refused("CreateJobQueue", jobQueueName="mixed", priority=1, computeEnvironmentOrder=order("ce", "eks"))
    assert "cannot mix compute environments of ECS and of EKS" in mixed
    wrong = eks.refused("CreateJobQueue", jobQueueName="w", priority=1, jobQueueType="EKS", computeEnvironmentOrder=order("ce"))
    assert "jobQueueType EKS does not go with the compute environments: they are of type ECS." in wrong


def test_jobs_go_where_their_kind_runs(eks: Bench) -> None:
    words = "Job Queue is attached to Compute Environment that can not run Jobs with capability {}."
    assert eks.refused("SubmitJob", jobName="j", jobQueue="pods", jobDefinition="job") == words.format("EC2")
    assert eks.refused("SubmitJob", jobName="j", jobQueue="queue", jobDefinition="pod") == words.format("EKS")


# --- definitions ---


def test_a_definition_is_shown_as_it_was_registered(eks: Bench) -> None:
    (definition,) = eks.call("DescribeJobDefinitions", jobDefinitions=["pod:1"])["jobDefinitions"]
    assert definition["eksProperties"] == {"podProperties": POD} and definition["containerOrchestrationType"] == "EKS"
    assert "containerProperties" not in definition


def container(**more: Any) -> dict[str, Any]:
    return {"containers": [{"image": "x", "resources": SMALL, **more}]}


def resources(limits: dict[str, str] | None = None, **requests: str) -> dict[str, Any]:
    return container(resources={"limits": limits or {}, "requests": requests})


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        ({"containers": []}, "between 1 and 10 containers"),
        ({"containers": [{"image": "x", "name": f"c{n}", "resources": SMALL} for n in range(11)]}, "not 11"),
        ({"initContainers": [{"image": "x", "name": f"c{n}"} for n in range(11)]}, "initContainers may hold at most 10"),
        ({"containers": [{"image": "x", "resources": SMALL}] * 2}, "Default stands there twice"),
        (container(image=""), "containers[0].image is required"),
        (container(name="-bad"), "name '-bad' is not valid"),
        (container(imagePullPolicy="Sometimes"), "imagePullPolicy Sometimes is not valid"),
        (container(env=[{"name": "AWS_BATCH_X", "value": "1"}]), "AWS_BATCH_X is reserved"),
        (container(env=[{"name": "no=name", "value": "1"}]), "'no=name' is no name of a variable"),
        (container(resources={}), "container Default needs resources: cpu and memory"),
        (resources({"cpu": "100m", "memory": "64Mi"}), "cpu 100m is not valid: a multiple of 0.25"),
        (resources({"cpu": "0.3", "memory": "64Mi"}), "cpu 0.3 is not valid"),
        (resources({"cpu": "1", "memory": "1G"}), "memory 1G is not valid"),
        (resources({"cpu": "1", "memory": "3Mi"}), "memory 3Mi is not valid"),
        (resources({"cpu": "1", "memory": "64Mi"}, memory="32Mi"), "memory must be the same in limits and requests"),
        (resources({"cpu": "1", "memory": "64Mi"}, cpu="2"), "the limit of cpu must be at least its request"),
        (resources({"cpu": "1", "memory": "64Mi", "nvidia.com/gpu": "half"}), "nvidia.com/gpu half is not valid"),
        (resources({"cpu": "1", "memory": "64Mi", "tpu": "1"}), "tpu is not valid"),
        (container(volumeMounts=[{"name": "gone", "mountPath": "/x"}]), "gone is not among the pod's volumes"),
        (container(volumeMounts=[{"name": "data", "mountPath": "x"}]), "mountPath is required"),
        (container(volumeMounts=[{"name": "data", "mountPath": "/x", "subPath": "../up"}]), "subPath ../up must be a path within"),
        (container(securityContext={"runAsNonRoot": True}), "runAsNonRoot needs a runAsUser that is not 0"),
        (container(securityContext={"runAsGroup": 5}), "runAsGroup needs runAsUser"),
        (container(securityContext={"privileged": True, "allowPrivilegeEscalation": False}), "cannot be false for a privileged"),
        (container(securityContext={"seccompProfile": {"type": "RuntimeDefault"}}), "seccompProfile cannot be had here"),
        (container(securityContext={"capabilities": {"add": ["NET_ADMIN"]}}), "capabilities.add cannot be had here"),
        ({"serviceAccountName": "robot"}, "serviceAccountName cannot be had here"),
        ({"imagePullSecrets": [{"name": "s"}]}, "imagePullSecrets cannot be had here"),
        ({"hostNetwork": False}, "hostNetwork false cannot be had here"),
        ({"dnsPolicy": "ClusterFirst"}, "dnsPolicy ClusterFirst cannot be had here"),
        ({"securityContext": {"fsGroup": 5}}, "fsGroup cannot be had here"),
        ({"metadata": {"namespace": "default"}}, "metadata.namespace 'default' is not valid"),
        ({"metadata": {"labels": {"batch.amazonaws.com/job-id": "x"}}}, "is reserved"),
        ({"volumes": [{"name": "data", "secret": {"secretName": "s"}}]}, "volumes[0].secret cannot be had here"),
        ({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]}, "persistentVolumeClaim cannot be had here"),
        ({"volumes": [{"name": "data"}]}, "exactly one of emptyDir and hostPath"),
        ({"volumes": [{"name": "data", "hostPath": {"path": "relative"}}]}, "hostPath.path is required"),
        ({"volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Gi"}}]}, "sizeLimit cannot be had here"),
        ({"volumes": [{"name": "data", "emptyDir": {"medium": "Memory"}}]}, "medium Memory cannot be had here"),
        ({"volumes": [{"name": "data", "emptyDir": {}}, {"name": "data", "emptyDir": {}}]}, "data stands there twice"),
    ],
)
def test_pods_that_are_refused(bench: Bench, pod: dict[str, Any], message: str) -> None:
    properties = {"podProperties": {**POD, **pod}}
    assert message in bench.refused("RegisterJobDefinition", jobDefinitionName="pod", type="container", eksProperties=properties)


@pytest.mark.parametrize(("name", "value"), [("propagateTags", True), ("platformCapabilities", ["EC2"])])
def test_members_that_eks_does_not_have(bench: Bench, name: str, value: Any) -> None:
    members = {"eksProperties": {"podProperties": POD}, name: value}
    message = bench.refused("RegisterJobDefinition", jobDefinitionName="pod", type="container", **members)
    assert message == f"{name} is not applicable for EKS: leave it out."


def test_a_shared_process_namespace_is_what_processes_have(bench: Bench) -> None:
    register(bench, shareProcessNamespace=True)
    bench.settings.runtime = "container"
    properties = {"podProperties": {**POD, "shareProcessNamespace": True}}
    message = bench.refused("RegisterJobDefinition", jobDefinitionName="pod", type="container", eksProperties=properties)
    assert "shareProcessNamespace cannot be had here" in message


# --- jobs ---


def test_what_a_pod_becomes(eks: Bench) -> None:
    job_id = submit(eks)
    spec = eks.engine.ledger.specifications[job_id]
    assert (spec.needs.vcpus, spec.needs.memory_mib) == (1.5, 768)
    fetch, work, side = forms.containers_of(spec, "a" * 32)
    assert fetch.command == ("fetch", "s1") and fetch.depends_on == () and fetch.memory_mib == 768
    assert work.depends_on == side.depends_on == (StartsAfter("fetch", Condition.SUCCESS),)
    assert not (fetch.essential or work.essential or side.essential)
    assert (work.user, work.memory_mib, work.vcpus) == ("1000:1001", 512, 1.0)
    assert (side.memory_mib, side.vcpus) == (256, 0.5)
    assert work.container["entryPoint"] == ["sh", "-c"] and work.container["command"] == WORK["args"]
    assert work.container["readonlyRootFilesystem"] is True and work.container["noNewPrivileges"] is True
    assert work.container["volumes"] == [{"name": "data"}]
    assert work.container["mountPoints"] == [{"sourceVolume": "data", "containerPath": "/data", "readOnly": True, "subPath": "in/it"}]


def test_an_init_container_that_needs_more_than_all_others(ready: Bench) -> None:
    big = {**FETCH, "resources": {"limits": {"cpu": "4", "memory": "4096Mi"}}}
    assert pods.needs_of_pod({**POD, "initContainers": [big]}) == Resources(4.0, 4096)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-2"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(C) $A $", "$(C) $A $"),
        ("a$$b", "a$b"),
        ("$(A", "$(A"),
    ],
)
def test_variables_are_filled_in_as_kubernetes_does(text: str, expected: str) -> None:
    assert pods.expand(text, {"A": "1", "B": "2"}) == expected


def test_a_variable_may_use_those_before_it() -> None:
    assert pods.expanded({"A": "$(B)", "B": "$(X)2", "C": "$(B)$(A)"}, {"X": "1"}) == {"A": "$(B)", "B": "12", "C": "12$(B)"}


def test_the_course_of_a_pod(eks: Bench) -> None:
    job_id = submit(eks)
    assert "podName" not in pod_of(eks, job_id)
    eks.start(job_id)
    attempt, instance = eks.attempt(job_id), eks.engine.ledger.jobs[job_id].current
    assert instance is not None
    name = f"aws-batch.{attempt[:8]}-{attempt[8:12]}-{attempt[12:16]}-{attempt[16:20]}-{attempt[20:]}"
    running = pod_of(eks, job_id)
    assert (running["podName"], running["nodeName"]) == (name, instance.instance)
    assert "dnsPolicy" not in running
    ends = (ContainerEnd(name="fetch", exit_code=0), ContainerEnd(name="work", exit_code=3), ContainerEnd(name="side", exit_code=0))
    eks.end(job_id, 3, containers=ends)
    job = eks.job(job_id)
    assert job["status"] == "FAILED" and job["attempts"] == [] and job["container"] == {}
    (closed,) = job["eksAttempts"]
    assert closed["containers"] == [{"name": "work", "exitCode": 3}, {"name": "side", "exitCode": 0}]
    assert closed["initContainers"] == [{"name": "fetch", "exitCode": 0}]
    assert (closed["eksClusterArn"], closed["podNamespace"], closed["podName"]) == (CLUSTER, "batch", name)
    assert closed["startedAt"] == job["startedAt"] and closed["stoppedAt"] == job["stoppedAt"]
    pod = job["eksProperties"]["podProperties"]
    assert [c["exitCode"] for c in pod["containers"]] == [3, 0] and pod["initContainers"][0]["exitCode"] == 0


def test_overrides_of_a_pod(eks: Bench) -> None:
    override = {
        "containers": [
            {
                "name": "work",
                "image": "other",
                "args": ["-c", "true"],
                "env": [{"name": "NAME", "value": "all"}, {"name": "NEW", "value": "n"}],
                "resources": {"requests": {"cpu": "2", "memory": "1024Mi"}},
            }
        ],
        "initContainers": [{"args": ["other", "Ref::sample"]}],
        "metadata": {"labels": {"team": "blue"}},
    }
    job_id = submit(eks, eksPropertiesOverride={"podProperties": override})
    pod = pod_of(eks, job_id)
    work = pod["containers"][0]
    assert (work["image"], work["args"], work["command"]) == ("other", ["-c", "true"], ["sh", "-c"])
    assert work["env"] == [
        {"name": "NAME", "value": "all"},
        {"name": "GREETING", "value": "hello $(NAME)"},
        {"name": "NEW", "value": "n"},
    ]
    assert work["resources"] == {"limits": {"cpu": "2", "memory": "1024Mi"}, "requests": {"cpu": "2", "memory": "1024Mi"}}
    assert pod["initContainers"][0]["args"] == ["other", "s1"] and pod["metadata"] == {"labels": {"team": "blue"}}
    assert eks.engine.ledger.specifications[job_id].needs.memory_mib == 1024 + 256


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"containers": [{"name": "gone"}]}, "gone is no container of the job definition. It has: work, side."),
        ({"containers": [{"args": ["x"]}]}, "(no name) is no container"),
        ({"containers": [{"name": "work", "resources": {"limits": {"cpu": "0.1"}}}]}, "cpu 0.1 is not valid"),
        ({"containers": [{"name": "work", "env": [{"name": "AWS_BATCH_X"}]}]}, "reserved"),
        ({"containers": [{"name": "work", "image": "a b"}]}, "image a b is not valid"),
        ({"metadata": {"namespace": "kube-x"}}, "is not valid"),
    ],
)
def test_overrides_that_are_refused(eks: Bench, override: dict[str, Any], message: str) -> None:
    refusal = eks.refused(
        "SubmitJob",
        jobName="j",
        jobQueue="pods",
        jobDefinition="pod",
        parameters={"sample": "s"},
        eksPropertiesOverride={"podProperties": override},
    )
    assert message in refusal
