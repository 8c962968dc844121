"""Fargate, ordered strategies and ECS managed instances through the API, with the provider played by hand."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import RESOURCES, Bench

FARGATE = {"type": "FARGATE", "maxvCpus": 4, "subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}
ROLE = "arn:aws:iam::123456789012:role/execution"
PROVIDER = {
    "infrastructureRoleArn": ROLE,
    "instanceLaunchTemplate": {
        "ec2InstanceProfileArn": ROLE,
        "networkConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]},
    },
}


def task(vcpus: str = "0.25", memory: str = "512", **more: Any) -> dict[str, Any]:
    requirements = [{"type": "VCPU", "value": vcpus}, {"type": "MEMORY", "value": memory}]
    return {"image": "busybox", "command": ["true"], "executionRoleArn": ROLE, "resourceRequirements": requirements, **more}


def definition_of(container: dict[str, Any], name: str = "task", **more: Any) -> dict[str, Any]:
    return {"jobDefinitionName": name, "type": "container", "platformCapabilities": ["FARGATE"], "containerProperties": container, **more}


def environment_of(name: str, **resources: Any) -> dict[str, Any]:
    return {"computeEnvironmentName": name, "type": "MANAGED", "computeResources": {**FARGATE, **resources}}


def shown(bench: Bench, name: str) -> dict[str, Any]:
    (environment,) = bench.call("DescribeComputeEnvironments", computeEnvironments=[name])["computeEnvironments"]
    return dict(environment)


@pytest.fixture
def serverless(bench: Bench) -> Bench:
    bench.call("CreateComputeEnvironment", **environment_of("fargate"))
    bench.call("CreateComputeEnvironment", **environment_of("spot", type="FARGATE_SPOT"))
    bench.queue("queue", ("fargate",))
    bench.queue("cheap", ("spot", "fargate"))
    bench.call("RegisterJobDefinition", **definition_of(task()))
    return bench


def test_an_environment_shows_what_was_given_and_nothing_of_ec2(serverless: Bench) -> None:
    assert shown(serverless, "fargate")["computeResources"] == FARGATE
    (queue,) = serverless.call("DescribeJobQueues", jobQueues=["cheap"])["jobQueues"]
    assert queue["jobQueueType"] == "ECS_FARGATE"


def test_a_task_has_a_slice_of_its_size_and_nothing_stays_of_it(serverless: Bench) -> None:
    jobs = [serverless.submit(jobDefinition="task") for _ in range(2)]
    for job in jobs:
        serverless.start(job)
    assert [tuple(i.room)[:2] for i in serverless.engine.ledger.instances.values()] == [(0.25, 512), (0.25, 512)]
    running = serverless.job(jobs[0])
    assert "taskArn" in running["container"] and "containerInstanceArn" not in running["container"]
    assert running["platformCapabilities"] == ["FARGATE"]
    assert running["container"]["executionRoleArn"] == ROLE
    serverless.end(jobs[0])
    stopping = [i.state.value for i in serverless.engine.ledger.instances.values()]
    assert sorted(stopping) == ["running", "shutting-down"]


def test_a_spot_task_that_is_interrupted_says_so_and_is_tried_again(serverless: Bench) -> None:
    job = serverless.submit(jobDefinition="task", jobQueue="cheap", retryStrategy={"attempts": 2})
    serverless.start(job)
    serverless.lose_host(job)
    told = serverless.job(job)
    assert told["status"] == "RUNNABLE"
    assert [attempt["statusReason"] for attempt in told["attempts"]] == ["Your Spot Task was interrupted."]
    assert "containerInstanceArn" not in told["attempts"][0]["container"]


def test_capabilities_must_match_the_queue(serverless: Bench) -> None:
    serverless.definition("plain")
    said = serverless.refused("SubmitJob", jobName="j", jobQueue="queue", jobDefinition="plain")
    assert said == "Job Queue is attached to Compute Environment that can not run Jobs with capability EC2."
    serverless.environment("ec2")
    serverless.queue("machines", ("ec2",))
    said = serverless.refused("SubmitJob", jobName="j", jobQueue="machines", jobDefinition="task")
    assert said == "Job Queue is attached to Compute Environment that can not run Jobs with capability FARGATE."


def test_overrides_must_be_a_size_as_well(serverless: Bench) -> None:
    job = {"jobName": "j", "jobQueue": "queue", "jobDefinition": "task"}
    larger = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}]
    assert serverless.submit(**job, containerOverrides={"resourceRequirements": larger})
    said = serverless.refused("SubmitJob", **job, containerOverrides={"resourceRequirements": larger[:1]})
    assert said == "Error executing request, Exception : Fargate resource requirements (1.00 vCPU, 512 MiB) not valid."
    said = serverless.refused("SubmitJob", **job, containerOverrides={"vcpus": 2})
    assert said == "vcpus is not applicable for Fargate. Use resource requirements instead."


@pytest.mark.parametrize(
    ("container", "said"),
    [
        (
            task("1", "1024"),
            "Error executing request, Exception : Fargate resource requirements (1.00 vCPU, 1024 MiB) not valid., RequestId",
        ),
        (task(executionRoleArn=""), "executionRoleArn is required for Fargate"),
        (task(privileged=True), "privileged is not applicable for Fargate"),
        (task(ulimits=[{"name": "nofile", "softLimit": 1, "hardLimit": 1}]), "ulimits is not applicable for Fargate"),
        (task(linuxParameters={"sharedMemorySize": 64}), "linuxParameters.sharedMemorySize is not applicable for Fargate"),
        (task(volumes=[{"name": "v", "host": {"sourcePath": "/data"}}]), "host volumes are not applicable for Fargate"),
        ({**task(), "memory": 512}, "memory is not applicable for Fargate. Use resource requirements instead."),
        (task(ephemeralStorage={"sizeInGiB": 20}), "between 21 and 200, not 20"),
        (task(fargatePlatformConfiguration={"platformVersion": "1.0.0"}), "Valid values are: 1.3.0, 1.4.0, LATEST"),
        (task(networkConfiguration={"assignPublicIp": "MAYBE"}), "Valid values are: ENABLED, DISABLED"),
        (task(runtimePlatform={"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}), "cannot run on this host, which runs Linux"),
    ],
)
def test_definitions_that_fargate_does_not_take(bench: Bench, container: dict[str, Any], said: str) -> None:
    assert said in bench.refused("RegisterJobDefinition", **definition_of(container))


def test_what_only_fargate_has_is_kept_and_shown(bench: Bench) -> None:
    own = {
        "networkConfiguration": {"assignPublicIp": "ENABLED"},
        "fargatePlatformConfiguration": {"platformVersion": "1.4.0"},
        "ephemeralStorage": {"sizeInGiB": 100},
        "runtimePlatform": {"operatingSystemFamily": "LINUX", "cpuArchitecture": "X86_64"},
        "linuxParameters": {"initProcessEnabled": True},
    }
    bench.call("RegisterJobDefinition", **definition_of(task(**own)))
    (known,) = bench.call("DescribeJobDefinitions", jobDefinitionName="task")["jobDefinitions"]
    assert known["platformCapabilities"] == ["FARGATE"]
    assert own.items() <= known["containerProperties"].items()


@pytest.mark.parametrize(
    ("capabilities", "said"),
    [
        (["MOON"], "platformCapabilities MOON is not valid"),
        (["EC2", "FARGATE"], "may hold one value"),
        (["MANAGED_INSTANCES"], "ecsProperties"),
    ],
)
def test_capabilities_that_are_refused(bench: Bench, capabilities: list[str], said: str) -> None:
    request = definition_of(task())
    assert said in bench.refused("RegisterJobDefinition", **{**request, "platformCapabilities": capabilities})


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        *[({name: value}, f"{name} is not applicable for Fargate.") for name, value in {"minvCpus": 0, "desiredvCpus": 1}.items()],
        ({"instanceTypes": ["m5"]}, "instanceTypes is not applicable for Fargate."),
        ({"tags": {"a": "b"}}, "tags is not applicable for Fargate."),
        ({"allocationStrategy": "BEST_FIT"}, "allocationStrategy is not applicable for Fargate."),
        ({"subnets": []}, "subnets of a Fargate environment must hold between 1 and 16"),
        ({"securityGroupIds": [f"sg-{n}" for n in range(6)]}, "between 1 and 5 entries, not 6"),
        ({"type": "FARGATE_MOON"}, "computeResources.type FARGATE_MOON is not valid"),
    ],
)
def test_environments_that_are_refused(bench: Bench, resources: dict[str, Any], said: str) -> None:
    assert said in bench.refused("CreateComputeEnvironment", **environment_of("fargate", **resources))


def test_updates_change_what_is_sent_and_never_the_type(serverless: Bench) -> None:
    change = {"computeEnvironment": "fargate"}
    serverless.call(
        "UpdateComputeEnvironment", **change, computeResources={"maxvCpus": 9, "subnets": ["subnet-2"], "securityGroupIds": [], "type": ""}
    )
    assert shown(serverless, "fargate")["computeResources"] == {**FARGATE, "maxvCpus": 9, "subnets": ["subnet-2"]}
    said = serverless.refused("UpdateComputeEnvironment", **change, computeResources={"type": "FARGATE_SPOT"})
    assert "cannot be changed" in said
    assert "is not applicable for Fargate" in serverless.refused("UpdateComputeEnvironment", **change, computeResources={"minvCpus": 1})
    serverless.call("UpdateComputeEnvironment", **change, updatePolicy={"terminateJobsOnUpdate": True})
    assert "updatePolicy" not in shown(serverless, "fargate"), "AWS ignores it for Fargate"


def test_kinds_of_environments_do_not_mix(serverless: Bench) -> None:
    serverless.environment("ec2")
    order = [{"order": 1, "computeEnvironment": "fargate"}, {"order": 2, "computeEnvironment": "ec2"}]
    said = serverless.refused("CreateJobQueue", jobQueueName="both", priority=1, computeEnvironmentOrder=order)
    assert "cannot mix compute environments of different kinds: EC2, FARGATE" in said
    said = serverless.refused("UpdateJobQueue", jobQueue="queue", computeEnvironmentOrder=order[1:])
    assert "A job queue of type ECS_FARGATE cannot have compute environments of type ECS" in said
    said = serverless.refused("CreateJobQueue", jobQueueName="q", priority=1, jobQueueType="ECS", computeEnvironmentOrder=order[:1])
    assert "they are of type ECS_FARGATE" in said


def test_ordered_strategies_try_types_as_they_stand(bench: Bench) -> None:
    types = ["m5.xlarge", "m5.large"]
    for name, strategy in (("ordered", "BEST_FIT_PROGRESSIVE_ORDERED"), ("cheapest", "BEST_FIT_PROGRESSIVE")):
        bench.environment(name, instanceTypes=types, allocationStrategy=strategy, maxvCpus=64)
        bench.queue(name, (name,))
    bench.definition()
    for queue in ("ordered", "cheapest"):
        bench.submit(jobQueue=queue)
    started = {i.environment.rpartition("/")[2]: i.type_name for i in bench.pending}
    assert started == {"ordered": "m5.xlarge", "cheapest": "m5.large"}
    spot = {"type": "SPOT", "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED", "instanceTypes": types}
    bench.environment("spot", **spot)
    refused = {"computeEnvironmentName": "x", "type": "MANAGED"}
    wrong = {**RESOURCES, "type": "SPOT", "allocationStrategy": "BEST_FIT_PROGRESSIVE_ORDERED"}
    assert "only for compute environments of type EC2" in bench.refused("CreateComputeEnvironment", **refused, computeResources=wrong)
    wrong = {**RESOURCES, "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"}
    assert "only for compute environments of type SPOT" in bench.refused("CreateComputeEnvironment", **refused, computeResources=wrong)


def test_managed_instances_are_carved_to_fit_and_shown_as_given(bench: Bench) -> None:
    resources = {"type": "ECS_MANAGED_INSTANCES", "maxvCpus": 8, "managedInstancesProvider": PROVIDER, "capacityTags": {"team": "x"}}
    request = {"computeEnvironmentName": "managed", "type": "MANAGED", "computeResources": resources}
    bench.call("CreateComputeEnvironment", **request)
    assert shown(bench, "managed")["computeResources"] == {**resources, "minvCpus": 0, "desiredvCpus": 0}
    bench.queue("queue", ("managed",), jobQueueType="ECS_MANAGED_INSTANCES")
    spot = {**PROVIDER, "instanceLaunchTemplate": {**PROVIDER["instanceLaunchTemplate"], "capacityOptionType": "SPOT"}}  # type: ignore[dict-item]
    bench.call(
        "CreateComputeEnvironment",
        **{**request, "computeEnvironmentName": "spot", "computeResources": {**resources, "managedInstancesProvider": spot}},
    )
    order = [{"order": n, "computeEnvironment": e} for n, e in enumerate(("spot", "managed"), 1)]
    said = bench.refused("CreateJobQueue", jobQueueName="wrong", priority=1, computeEnvironmentOrder=order)
    assert "must come before Spot ones" in said
    for wrong, words in (
        ({"managedInstancesProvider": None}, "managedInstancesProvider is required"),
        ({"instanceTypes": ["m5"]}, "instanceTypes is not applicable for ECS managed instances"),
    ):
        kept = {name: value for name, value in {**resources, **wrong}.items() if value is not None}
        said = bench.refused("CreateComputeEnvironment", computeEnvironmentName="w", type="MANAGED", computeResources=kept)
        assert words in said
    scale = {"infrastructureOptimization": {"scaleInAfter": 60}}
    bench.call("UpdateComputeEnvironment", computeEnvironment="managed", computeResources={"managedInstancesProvider": scale})
    assert shown(bench, "managed")["computeResources"]["managedInstancesProvider"] == {**PROVIDER, **scale}
    wrong_kind = {**RESOURCES, "capacityTags": {"a": "b"}}
    said = bench.refused("CreateComputeEnvironment", computeEnvironmentName="w", type="MANAGED", computeResources=wrong_kind)
    assert "only for compute environments of type ECS_MANAGED_INSTANCES" in said


def test_container_insights_are_echoed_and_an_update_policy_may_come_alone(bench: Bench) -> None:
    settings = {"containerInsights": "ENHANCED"}
    bench.call("CreateComputeEnvironment", computeEnvironmentName="ce", type="MANAGED", computeResources=RESOURCES, ecsSettings=settings)
    assert shown(bench, "ce")["ecsSettings"] == settings
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", ecsSettings={"containerInsights": "DISABLED"})
    assert shown(bench, "ce")["ecsSettings"] == {"containerInsights": "DISABLED"}
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", updatePolicy={"jobExecutionTimeoutMinutes": 60})
    assert shown(bench, "ce")["updatePolicy"] == {"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 60}
    change = {"computeEnvironment": "ce"}
    said = bench.refused("UpdateComputeEnvironment", **change, updatePolicy={"jobExecutionTimeoutMinutes": 7201})
    assert "less than or equal to 7200" in said
    assert "is not valid" in bench.refused("UpdateComputeEnvironment", **change, ecsSettings={"containerInsights": "SOME"})
    assert bench.refused("UpdateComputeEnvironment", **change).startswith("One of [state")


def test_a_task_of_several_containers_has_its_size_as_a_whole(serverless: Bench) -> None:
    parts = [{"name": name, "image": "busybox", "essential": True} for name in ("one", "two")]
    half = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
    task_of = {"executionRoleArn": ROLE, "containers": [{**part, "resourceRequirements": half} for part in parts]}
    request = {"jobDefinitionName": "pair", "type": "container", "platformCapabilities": ["FARGATE"]}
    serverless.call("RegisterJobDefinition", **request, ecsProperties={"taskProperties": [task_of]})
    job = serverless.submit(jobDefinition="pair")
    serverless.instances_up()
    assert serverless.job(job)["status"] == "STARTING"
    assert [tuple(i.room)[:2] for i in serverless.engine.ledger.instances.values()] == [(0.5, 1024)]
    three = {**task_of, "containers": [*task_of["containers"], {**parts[0], "name": "three", "resourceRequirements": half}]}
    said = serverless.refused("RegisterJobDefinition", **request, ecsProperties={"taskProperties": [three]})
    assert "Fargate resource requirements (0.75 vCPU, 1536 MiB) not valid." in said
    said = serverless.refused("RegisterJobDefinition", **request, ecsProperties={"taskProperties": [{**task_of, "executionRoleArn": ""}]})
    assert "executionRoleArn is required for Fargate" in said
    wrong = {**task_of, "ephemeralStorage": {"sizeInGiB": 201}}
    said = serverless.refused("RegisterJobDefinition", **request, ecsProperties={"taskProperties": [wrong]})
    assert "between 21 and 200" in said


def test_jobs_on_managed_instances(bench: Bench) -> None:
    resources = {"type": "ECS_MANAGED_INSTANCES", "maxvCpus": 8, "managedInstancesProvider": PROVIDER}
    bench.call("CreateComputeEnvironment", computeEnvironmentName="managed", type="MANAGED", computeResources=resources)
    bench.queue("queue", ("managed",))
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "100"}]
    task_of = {"containers": [{"name": "main", "image": "busybox", "resourceRequirements": needs}]}
    request = {"jobDefinitionName": "job", "type": "container", "platformCapabilities": ["MANAGED_INSTANCES"]}
    bench.call("RegisterJobDefinition", **request, ecsProperties={"taskProperties": [task_of]})
    job = bench.submit()
    bench.start(job)
    assert bench.job(job)["status"] == "RUNNING"
