"""Jobs of several containers: ecsProperties (specification, sections 5.4, 5.7, 2.4 and 6.3)."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import CONTAINER, Bench

from batchyard.model.task import ContainerEnd

SIZES = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}]
EMPTY = {"environment": [], "mountPoints": [], "ulimits": [], "secrets": [], "dependsOn": [], "command": [], "resourceRequirements": []}
PREPARE = {"name": "prepare", "image": "busybox", "command": ["prepare", "Ref::sample"], "essential": False, "resourceRequirements": SIZES}
WORK = {
    "name": "work",
    "image": "busybox",
    "command": ["work"],
    "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
    "dependsOn": [{"containerName": "prepare", "condition": "SUCCESS"}],
    "resourceRequirements": [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "1024"}],
}
WATCH = {"name": "watch", "image": "busybox", "command": ["watch"], "essential": False, "resourceRequirements": SIZES, "stopTimeout": 5}


def register(bench: Bench, *containers: dict[str, Any], name: str = "task", **task: Any) -> str:
    members = {"ecsProperties": {"taskProperties": [{"containers": list(containers), **task}]}}
    return str(bench.call("RegisterJobDefinition", jobDefinitionName=name, type="container", **members)["jobDefinitionArn"])


def refused(bench: Bench, *containers: dict[str, Any], **task: Any) -> str:
    properties = {"taskProperties": [{"containers": list(containers), **task}]}
    return bench.refused("RegisterJobDefinition", jobDefinitionName="task", type="container", ecsProperties=properties)


@pytest.fixture
def task(ready: Bench) -> Bench:
    register(ready, PREPARE, WORK, WATCH, volumes=[{"name": "shared"}])
    return ready


def submit(bench: Bench, **more: Any) -> str:
    return bench.submit(**{"jobDefinition": "task", "parameters": {"sample": "s1"}, **more})


def shown_task(bench: Bench, job_id: str) -> dict[str, Any]:
    job = bench.job(job_id)
    assert job["container"] == {}
    (task,) = job["ecsProperties"]["taskProperties"]
    return dict(task)


def by_name(containers: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {container["name"]: container for container in containers}


def test_a_definition_is_shown_as_it_was_registered(task: Bench) -> None:
    (definition,) = task.call("DescribeJobDefinitions", jobDefinitions=["task:1"])["jobDefinitions"]
    assert "containerProperties" not in definition and definition["containerOrchestrationType"] == "ECS"
    (shown,) = definition["ecsProperties"]["taskProperties"]
    assert shown == {"volumes": [{"name": "shared"}], "containers": [{**EMPTY, **container} for container in (PREPARE, WORK, WATCH)]}


def test_a_job_needs_what_its_containers_need_together(task: Bench) -> None:
    job_id = submit(task)
    needs = task.engine.ledger.specifications[job_id].needs
    assert (needs.vcpus, needs.memory_mib, needs.gpus) == (4, 2048, 0)


def test_before_a_job_is_placed_it_shows_what_it_will_run(task: Bench) -> None:
    register(task, {**WORK, "dependsOn": []}, name="huge")
    first = submit(task)
    shown = shown_task(task, first)
    assert by_name(shown["containers"])["prepare"]["command"] == ["prepare", "s1"]
    assert shown["runtimePlatform"] == {"operatingSystemFamily": "LINUX (process: image not used)"}


def test_the_course_of_a_task(task: Bench) -> None:
    job_id = submit(task)
    task.start(job_id)
    attempt = task.attempt(job_id)
    running = shown_task(task, job_id)
    assert running["taskArn"].endswith(f"/{attempt}") and ":container-instance/" in running["containerInstanceArn"]
    for name, container in by_name(running["containers"]).items():
        assert container["logStreamName"] == f"task/{name}/{attempt}"
        assert container["networkInterfaces"] == [] and "exitCode" not in container
    now = task.world.now
    task.end(
        job_id,
        3,
        containers=(
            ContainerEnd(name="prepare", exit_code=0, started_at_ms=now, stopped_at_ms=now),
            ContainerEnd(name="work", exit_code=3, oom=True, started_at_ms=now, stopped_at_ms=now),
            ContainerEnd(name="watch", reason="CannotStartContainerError: no"),
        ),
    )
    job = task.job(job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "Essential container in task exited")
    (closed,) = job["attempts"]
    assert closed["container"] == {} and closed["statusReason"] == "Essential container in task exited"
    (ended,) = closed["taskProperties"]
    assert ended["taskArn"] == running["taskArn"]
    assert ended["containers"] == [
        {"name": "prepare", "exitCode": 0, "logStreamName": f"task/prepare/{attempt}", "networkInterfaces": []},
        {
            "name": "work",
            "exitCode": 3,
            "reason": "OutOfMemoryError: Container killed due to memory usage",
            "logStreamName": f"task/work/{attempt}",
            "networkInterfaces": [],
        },
        {"name": "watch", "reason": "CannotStartContainerError: no", "networkInterfaces": []},
    ]
    shown = by_name(shown_task(task, job_id)["containers"])
    assert shown["work"]["exitCode"] == 3 and shown["work"]["reason"].startswith("OutOfMemoryError")
    assert "exitCode" not in shown["watch"] and "logStreamName" not in shown["watch"]


def test_a_task_lost_with_its_host_has_no_exit_codes(task: Bench) -> None:
    job_id = submit(task)
    task.start(job_id)
    instance = task.lose_host(job_id)
    job = task.job(job_id)
    assert job["statusReason"] == f"Host EC2 (instance {instance}) terminated."
    (ended,) = job["attempts"][0]["taskProperties"]
    assert all("exitCode" not in container for container in ended["containers"])


def test_overrides_merge_by_container_name(task: Bench) -> None:
    override = {
        "name": "work",
        "command": ["other", "Ref::sample"],
        "environment": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
        "resourceRequirements": [{"type": "MEMORY", "value": "2048"}],
    }
    job_id = submit(task, ecsPropertiesOverride={"taskProperties": [{"containers": [override]}]})
    work = by_name(shown_task(task, job_id)["containers"])["work"]
    assert work["command"] == ["other", "s1"]
    assert work["environment"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]
    assert work["resourceRequirements"] == [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "2048"}]
    assert task.engine.ledger.specifications[job_id].needs.memory_mib == 512 + 2048 + 512


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"containerOverrides": {"command": ["x"]}}, "containerOverrides is not for this job"),
        ({"eksPropertiesOverride": {"podProperties": {"containers": [{"name": "work"}]}}}, "eksPropertiesOverride is not for this job"),
        ({"ecsPropertiesOverride": {"taskProperties": [{}, {}]}}, "may hold one element"),
        ({"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"command": ["x"]}]}]}}, "containers[0].name is required"),
        ({"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "gone"}]}]}}, "It has: prepare, work, watch."),
        ({"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "work"}, {"name": "work"}]}]}}, "stands there twice"),
        ({"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "work", "command": [""]}]}]}}, "empty strings"),
        (
            {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "work", "environment": [{"name": "AWS_BATCH_X"}]}]}]}},
            "AWS_BATCH_X is reserved",
        ),
        ({"parameters": {}}, "No parameter found for reference sample"),
    ],
)
def test_submissions_that_are_refused(task: Bench, override: dict[str, Any], message: str) -> None:
    refusal = task.refused(
        "SubmitJob", **{"jobName": "j", "jobQueue": "queue", "jobDefinition": "task", "parameters": {"sample": "s"}, **override}
    )
    assert message in refusal


def test_an_override_of_the_wrong_kind_is_harmless_when_it_says_nothing(task: Bench) -> None:
    submit(task, containerOverrides={"environment": [], "command": []}, ecsPropertiesOverride={"taskProperties": []})


LONE = {"name": "only", "image": "x", "resourceRequirements": SIZES}


@pytest.mark.parametrize(
    ("containers", "task", "message"),
    [
        ([], {}, "between 1 and 10 containers"),
        ([{**LONE, "name": f"c{number}"} for number in range(11)], {}, "not 11"),
        ([LONE, {**LONE, "name": ""}], {}, "name is required where there are several"),
        ([{**LONE, "name": "no spaces"}], {}, "is not valid"),
        ([LONE, LONE], {}, "only stands there twice"),
        ([{**LONE, "image": ""}], {}, "ecsProperties.taskProperties[0].containers[0].image is required"),
        ([{**LONE, "command": [""]}], {}, "containers[0].command may not hold empty strings"),
        ([{**LONE, "resourceRequirements": []}], {}, "vCPU is not provided."),
        ([{**LONE, "user": "Not Valid"}], {}, "does not match regex"),
        ([{**LONE, "environment": [{"name": "AWS_BATCH_X", "value": ""}]}], {}, "AWS_BATCH_X is reserved"),
        ([{**LONE, "essential": False}], {}, "at least one container must be essential"),
        ([{**LONE, "startTimeout": 1}], {}, "containers[0].startTimeout must be at least 2"),
        ([{**LONE, "stopTimeout": 0}], {}, "containers[0].stopTimeout must be at least 2"),
        ([{**LONE, "firelensConfiguration": {"type": "fluentd"}}], {}, "firelensConfiguration is not available"),
        ([{**LONE, "dependsOn": [{"containerName": "gone", "condition": "START"}]}], {}, "gone is no container of the task"),
        ([{**LONE, "dependsOn": [{"containerName": "only"}]}], {}, "condition (none) is not valid"),
        ([{**LONE, "dependsOn": [{"containerName": "only", "condition": "HEALTHY"}]}], {}, "condition HEALTHY is not valid"),
        ([{**LONE, "dependsOn": [{"containerName": "only", "condition": "START"}]}], {}, "goes in a circle among these containers: only"),
        (
            [LONE, {**LONE, "name": "after", "dependsOn": [{"containerName": "only", "condition": "SUCCESS"}]}],
            {},
            "may not be asked of only, which is essential",
        ),
        ([{**LONE, "mountPoints": [{"sourceVolume": "gone", "containerPath": "/x"}]}], {}, "sourceVolume gone is not among volumes"),
        ([LONE], {"volumes": [{"name": "a"}, {"name": "a"}]}, "stands there twice"),
        (
            [LONE],
            {"volumes": [{"name": "a", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]},
            "efsVolumeConfiguration is not available",
        ),
        ([LONE], {"networkConfiguration": {"assignPublicIp": "ENABLED"}}, "networkConfiguration not applicable for EC2."),
        ([LONE], {"ephemeralStorage": {"sizeInGiB": 30}}, "ephemeralStorage not applicable for EC2."),
        ([LONE], {"platformVersion": "LATEST"}, "platformVersion not applicable for EC2."),
        ([LONE], {"pidMode": "none"}, "pidMode none is not valid"),
        ([LONE], {"ipcMode": "odd"}, "ipcMode odd is not valid"),
        ([LONE], {"networkMode": "bridge"}, "networkMode bridge cannot be had"),
    ],
)
def test_tasks_that_are_refused(bench: Bench, containers: list[dict[str, Any]], task: dict[str, Any], message: str) -> None:
    assert message in refused(bench, *containers, **task)


def test_a_definition_has_one_task(bench: Bench) -> None:
    for tasks in ([], [{"containers": [LONE]}] * 2):
        properties = {"taskProperties": tasks}
        message = bench.refused("RegisterJobDefinition", jobDefinitionName="t", type="container", ecsProperties=properties)
        assert "exactly one element" in message or "Container properties should not be empty" in message


def test_namespaces_of_processes_are_shared_where_jobs_are_processes(bench: Bench) -> None:
    register(bench, LONE, pidMode="task", ipcMode="host")
    tagged = {"jobDefinitionName": "t", "type": "container", "tags": {"batchyard:runtime": "container"}}
    properties = {"taskProperties": [{"containers": [LONE], "pidMode": "task"}]}
    assert "pidMode task cannot be had here" in bench.refused("RegisterJobDefinition", **tagged, ecsProperties=properties)
    bench.settings.runtime = "container"
    assert "pidMode task cannot be had here" in refused(bench, LONE, pidMode="task")


def test_the_record_of_a_task_that_runs_in_its_images_has_no_mark(ready: Bench) -> None:
    ecs = {"taskProperties": [{"containers": [LONE]}]}
    tags = {"batchyard:runtime": "container"}
    ready.call("RegisterJobDefinition", jobDefinitionName="task", type="container", ecsProperties=ecs, tags=tags)
    assert "runtimePlatform" not in shown_task(ready, submit(ready))


def test_the_only_container_needs_no_name(ready: Bench) -> None:
    register(ready, {name: value for name, value in LONE.items() if name != "name"})
    job_id = submit(ready)
    ready.start(job_id)
    (container,) = shown_task(ready, job_id)["containers"]
    assert container["logStreamName"] == f"task/default/{ready.attempt(job_id)}"


def test_each_container_says_where_its_log_goes(ready: Bench) -> None:
    options = {"awslogs-stream-prefix": "mine"}
    register(ready, {**LONE, "logConfiguration": {"logDriver": "awslogs", "options": options}}, {**WATCH, "name": "w"})
    job_id = submit(ready)
    ready.start(job_id)
    streams = [container["logStreamName"] for container in shown_task(ready, job_id)["containers"]]
    attempt = ready.attempt(job_id)
    assert streams == [f"mine/only/{attempt}", f"task/w/{attempt}"]


def test_mount_points_are_marked_in_the_record_of_a_process(ready: Bench) -> None:
    register(ready, {**LONE, "mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]}, volumes=[{"name": "v"}])
    platform = shown_task(ready, submit(ready))["runtimePlatform"]
    assert platform == {"operatingSystemFamily": "LINUX (process: image not used, mount points are directories in BATCHYARD_VOLUME_*)"}


def test_a_classic_job_takes_no_override_of_a_task(ready: Bench) -> None:
    override = {"taskProperties": [{"containers": [{"name": "default", "command": ["x"]}]}]}
    message = ready.refused("SubmitJob", jobName="j", jobQueue="queue", jobDefinition="job", ecsPropertiesOverride=override)
    assert message == "ecsPropertiesOverride is not for this job: its definition has containerProperties. Use containerOverrides."
    assert CONTAINER["command"] == ready.job(ready.submit())["container"]["command"]


# --- as nodes of a multi-node parallel job ---


def gang(*entries: dict[str, Any], main: int = 0) -> dict[str, Any]:
    ranges = [{"targetNodes": target, **entry} for target, entry in zip(("0:0", "1:"), entries, strict=True)]
    return {"numNodes": 2, "mainNode": main, "nodeRangeProperties": ranges}


def of_task(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"ecsProperties": {"taskProperties": [{"containers": list(containers)}]}}


def test_each_node_may_be_a_task(ready: Bench) -> None:
    nodes = gang(of_task(PREPARE, WORK), {"container": CONTAINER})
    ready.call("RegisterJobDefinition", jobDefinitionName="task", type="multinode", nodeProperties=nodes)
    (definition,) = ready.call("DescribeJobDefinitions", jobDefinitions=["task:1"])["jobDefinitions"]
    (shown,) = definition["nodeProperties"]["nodeRangeProperties"][0]["ecsProperties"]["taskProperties"]
    assert [c["name"] for c in shown["containers"]] == ["prepare", "work"] and shown["volumes"] == []
    override = {"taskProperties": [{"containers": [{"name": "work", "command": ["else"]}]}]}
    overrides = {"nodePropertyOverrides": [{"targetNodes": "0:0", "ecsPropertiesOverride": override}]}
    job_id = submit(ready, nodeOverrides=overrides)
    spec = ready.engine.ledger.specifications[job_id]
    assert [(g.form, g.needs.vcpus, g.needs.memory_mib) for g in spec.nodes] == [("ecs", 3, 1536), ("", 1, 512)]
    main = by_name(shown_task(ready, f"{job_id}#0")["containers"])
    assert main["prepare"]["command"] == ["prepare", "s1"] and main["work"]["command"] == ["else"]
    other = ready.job(f"{job_id}#1")
    assert other["container"]["command"] == ["sleep", "60"] and "ecsProperties" not in other
    whole = ready.job(job_id)
    assert "ecsProperties" not in whole and "container" not in whole
    assert whole["nodeProperties"]["nodeRangeProperties"][0]["ecsProperties"]["taskProperties"][0]["containers"][0]["command"][1] == "s1"


POD_NODE = {"eksProperties": {"podProperties": {"containers": [{"image": "x", "resources": {"limits": {"cpu": "1", "memory": "64Mi"}}}]}}}


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            gang(of_task(PREPARE), {"container": CONTAINER}),
            "nodeRangeProperties[0].ecsProperties.taskProperties[0].containers: at least one",
        ),
        (gang({**of_task(LONE), "container": CONTAINER}, {"container": CONTAINER}), "node 0 has container and ecsProperties"),
        (gang(of_task(LONE), POD_NODE), "cannot mix eksProperties with containers of ECS"),
        (gang({}, {"container": CONTAINER}), "node 0 has no container"),
        (
            gang({"eksProperties": {"podProperties": {"serviceAccountName": "s", "containers": [{"image": "x"}]}}}, POD_NODE),
            "nodeRangeProperties[0].eksProperties.podProperties.serviceAccountName cannot be had here",
        ),
    ],
)
def test_nodes_that_are_refused(bench: Bench, nodes: dict[str, Any], message: str) -> None:
    assert message in bench.refused("RegisterJobDefinition", jobDefinitionName="t", type="multinode", nodeProperties=nodes)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"containerOverrides": {"command": ["x"]}}, "containerOverrides is not for nodes that have ecsProperties"),
        ({"ecsPropertiesOverride": {"taskProperties": [{"containers": [{}]}]}}, "nodePropertyOverrides[0].ecsPropertiesOverride"),
        ({"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "gone"}]}]}}, "'gone' is no container"),
    ],
)
def test_node_overrides_that_are_refused(ready: Bench, override: dict[str, Any], message: str) -> None:
    nodes = gang(of_task(LONE), of_task(LONE))
    ready.call("RegisterJobDefinition", jobDefinitionName="task", type="multinode", nodeProperties=nodes)
    overrides = {"nodePropertyOverrides": [{"targetNodes": "0:", **override}]}
    assert message in ready.refused("SubmitJob", jobName="j", jobQueue="queue", jobDefinition="task", nodeOverrides=overrides)


def test_pods_of_many_nodes_go_to_queues_of_eks(ready: Bench) -> None:
    nodes = gang(POD_NODE, POD_NODE)
    ready.call("RegisterJobDefinition", jobDefinitionName="task", type="multinode", nodeProperties=nodes)
    assert "capability EKS" in ready.refused("SubmitJob", jobName="j", jobQueue="queue", jobDefinition="task")


# --- as ezbatch does ---


def test_what_ezbatch_registers(bench: Bench) -> None:
    """The requests of ezbatch 0.1.0, whose list of jobs shows only those with a task's ARN."""
    role = "arn:aws:iam::123456789012:role/ecs"
    container = {
        "name": "container1",
        "image": "busybox",
        "command": ["true"],
        "essential": True,
        "dependsOn": [],
        "environment": [{"name": "A", "value": "1"}],
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}],
        "logConfiguration": {"logDriver": "awslogs"},
    }
    task = {
        "containers": [container],
        "ephemeralStorage": {"sizeInGiB": 30},
        "executionRoleArn": role,
        "taskRoleArn": role,
        "platformVersion": "LATEST",
        "networkConfiguration": {"assignPublicIp": "DISABLED"},
        "runtimePlatform": {"operatingSystemFamily": "LINUX", "cpuArchitecture": "X86_64"},
    }
    bench.call(
        "RegisterJobDefinition",
        jobDefinitionName="ez",
        type="container",
        platformCapabilities=["FARGATE"],
        propagateTags=True,
        ecsProperties={"taskProperties": [task]},
    )
    resources = {"type": "FARGATE", "maxvCpus": 4, "subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}
    bench.call("CreateComputeEnvironment", computeEnvironmentName="ce", type="MANAGED", computeResources=resources)
    bench.queue()
    job_id = bench.submit(jobDefinition="ez", dependsOn=[], tags={})
    bench.start(job_id)
    (summary,) = bench.call("ListJobs", jobQueue="queue", jobStatus="RUNNING", maxResults=10)["jobSummaryList"]
    assert summary["jobName"] == "j"
    shown = shown_task(bench, summary["jobId"])
    task_id = shown["taskArn"].split("/")[-1]
    assert shown["containers"][0]["logStreamName"] == f"ez/container1/{task_id}" and shown["ephemeralStorage"] == {"sizeInGiB": 30}
