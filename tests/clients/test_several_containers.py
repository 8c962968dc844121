"""Jobs of several containers and Kubernetes pods, end to end by boto3: order, sidecars, outcomes, overrides, logs, termination."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from yard import Yard

SIZES = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
CALM = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"
UP = "$BATCHYARD_VOLUME_SHARED/up"  # there once it is calm: a container that was started may not have come so far
CALM_ONCE_TOLD = CALM.replace("echo up", f'echo up > "{UP}"')


def container(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], "resourceRequirements": SIZES, **more}


def after(name: str, condition: str) -> list[dict[str, str]]:
    return [{"containerName": name, "condition": condition}]


def register(yard: Yard, name: str, *containers: dict[str, Any], volumes: Any = (), **more: Any) -> str:
    properties = {"taskProperties": [{"containers": list(containers), "volumes": list(volumes)}]}
    answer = yard.batch.register_job_definition(jobDefinitionName=name, type="container", ecsProperties=properties, **more)
    return str(answer["jobDefinitionArn"])


def by_name(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (task,) = job["ecsProperties"]["taskProperties"]
    return {container["name"]: container for container in task["containers"]}


def said(yard: Yard, stream: str) -> list[str]:
    events = yard.client("logs").get_log_events(logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True)["events"]
    return [event["message"] for event in events]


def test_preparation_work_and_a_sidecar(yard: Yard, name: str) -> None:
    mount = {"sourceVolume": "shared", "containerPath": "/shared"}
    definition = register(
        yard,
        name,
        container("prepare", 'echo Ref::sample > "$BATCHYARD_VOLUME_SHARED/x"', essential=False, mountPoints=[mount]),
        container("watch", CALM_ONCE_TOLD, essential=False, mountPoints=[mount], dependsOn=after("prepare", "COMPLETE")),
        container(
            "work",
            f'until test -e "{UP}"; do sleep 0.05; done; cat "$BATCHYARD_VOLUME_SHARED/x"; echo $TOOL',
            mountPoints=[mount],
            dependsOn=after("watch", "START"),
        )
        | {"environment": [{"name": "TOOL", "value": "a"}]},
        volumes=[{"name": "shared"}],
        parameters={"sample": "s1"},
    )
    override = {"name": "work", "environment": [{"name": "TOOL", "value": "b"}]}
    job_id = yard.submit(definition, parameters={"sample": "s2"}, ecsPropertiesOverride={"taskProperties": [{"containers": [override]}]})
    job = yard.until(job_id)
    assert (job["status"], job["statusReason"]) == ("SUCCEEDED", "Essential container in task exited")
    assert job["container"] == {}
    containers = by_name(job)
    assert {each: shown["exitCode"] for each, shown in containers.items()} == {"prepare": 0, "watch": 0, "work": 0}
    assert said(yard, containers["work"]["logStreamName"]) == ["s2", "b"]
    (task,) = job["ecsProperties"]["taskProperties"]
    task_id = task["taskArn"].rpartition("/")[2]
    assert containers["watch"]["logStreamName"] == f"{name}/watch/{task_id}"
    assert job["attempts"][0]["taskProperties"][0]["taskArn"] == task["taskArn"]


def test_an_essential_container_that_fails_decides_and_is_tried_again(yard: Yard, name: str) -> None:
    definition = register(
        yard,
        name,
        container("server", "exec sleep 600"),
        container("client", 'sleep 0.2; [ "$AWS_BATCH_JOB_ATTEMPT" = 2 ]'),
        retryStrategy={"attempts": 2, "evaluateOnExit": [{"action": "RETRY", "onExitCode": "1"}, {"action": "EXIT", "onExitCode": "*"}]},
    )
    job = yard.until(yard.submit(definition))
    assert job["status"] == "SUCCEEDED"
    first, second = ({c["name"]: c["exitCode"] for c in attempt["taskProperties"][0]["containers"]} for attempt in job["attempts"])
    assert first == {"server": 143, "client": 1} and second == {"server": 143, "client": 0}


def test_a_condition_that_fails_and_what_the_record_says(yard: Yard, name: str) -> None:
    definition = register(
        yard, name, container("prepare", "exit 4", essential=False), container("work", "true", dependsOn=after("prepare", "SUCCESS"))
    )
    job = yard.until(yard.submit(definition))
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start") and "startedAt" not in job
    work = by_name(job)["work"]
    assert work["reason"] == "DependencyError: container prepare ended with exit code 4, not 0"
    assert "exitCode" not in work and "logStreamName" not in work and by_name(job)["prepare"]["exitCode"] == 4


def test_terminate_ends_all_containers(yard: Yard, name: str) -> None:
    job_id = yard.submit(register(yard, name, container("one", CALM), container("two", CALM, essential=False)))
    yard.until(job_id, "RUNNING")
    yard.batch.terminate_job(jobId=job_id, reason="enough")
    job = yard.until(job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "enough")
    assert {shown["exitCode"] for shown in by_name(job).values()} <= {0, 143}


def test_array_children_are_tasks_too(yard: Yard, name: str) -> None:
    definition = register(
        yard, name, container("one", "exit $AWS_BATCH_JOB_ARRAY_INDEX"), container("two", "exec sleep 600", essential=False)
    )
    parent = yard.until(yard.submit(definition, arrayProperties={"size": 2}))
    assert parent["status"] == "FAILED" and parent["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 1
    assert by_name(yard.job(f"{parent['jobId']}:1"))["one"]["exitCode"] == 1
    assert "exitCode" not in by_name(parent)["one"]


def test_the_command_line_shows_the_log_of_each_container(yard: Yard, name: str) -> None:
    definition = register(
        yard,
        name,
        container("prepare", "echo prepared", essential=False),
        container("work", "echo worked; sleep 0.2; echo more", dependsOn=after("prepare", "SUCCESS")),
    )
    job_id = yard.submit(definition)
    assert yard.cli("logs", "--follow", job_id, "--data", str(yard.data)).stdout.splitlines() == ["worked", "more"]
    assert yard.cli("logs", job_id, "--container", "prepare", "--data", str(yard.data)).stdout == "prepared\n"
    wrong = yard.cli("logs", job_id, "--container", "gone", "--data", str(yard.data), check=False)
    assert wrong.returncode != 0 and "has no container gone" in wrong.stderr and "It has: prepare, work." in wrong.stderr


def test_a_pod(yard: Yard, name: str) -> None:
    region, account = yard.endpoint["region"], yard.client("sts").get_caller_identity()["Account"]
    cluster = f"arn:aws:eks:{region}:{account}:cluster/{name}"
    resources = {
        "type": "EC2",
        "minvCpus": 0,
        "maxvCpus": 4,
        "instanceTypes": ["optimal"],
        "subnets": ["subnet-12345678"],
        "securityGroupIds": ["sg-12345678"],
        "instanceRole": "eksInstanceProfile",
    }
    yard.batch.create_compute_environment(
        computeEnvironmentName=name,
        type="MANAGED",
        computeResources=resources,
        eksConfiguration={"eksClusterArn": cluster, "kubernetesNamespace": "batch"},
    )
    yard.queue_of(name, name)
    small = {"limits": {"cpu": "0.5", "memory": "64Mi"}}
    pod = {
        "initContainers": [
            {
                "name": "fetch",
                "image": "busybox",
                "command": ["sh", "-c"],
                "args": ['echo $(GREETING) > "$BATCHYARD_VOLUME_DATA/x"'],
                "env": [{"name": "WHO", "value": "you"}, {"name": "GREETING", "value": "hello $(WHO)"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
        "containers": [
            {
                "name": "work",
                "image": "busybox",
                "command": ["sh", "-c", 'cat "$BATCHYARD_VOLUME_DATA/x"; echo $AWS_BATCH_JOB_ID $(AWS_BATCH_JOB_ID) $${HOME:+home}'],
                "resources": small,
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            },
            {"name": "late", "image": "busybox", "command": ["sh", "-c", "sleep 0.3; exit 5"], "resources": small},
        ],
        "volumes": [{"name": "data", "emptyDir": {}}],
    }
    answer = yard.batch.register_job_definition(jobDefinitionName=name, type="container", eksProperties={"podProperties": pod})
    job = yard.until(yard.submit(answer["jobDefinitionArn"], queue=name))
    assert job["status"] == "FAILED"  # one of its containers has failed, and the others ran to their end
    (closed,) = job["eksAttempts"]
    assert [(c["name"], c["exitCode"]) for c in closed["initContainers"] + closed["containers"]] == [("fetch", 0), ("work", 0), ("late", 5)]
    assert (closed["eksClusterArn"], closed["podNamespace"]) == (cluster, "batch")
    pod_name = job["eksProperties"]["podProperties"]["podName"]
    assert pod_name == closed["podName"] and pod_name.startswith("aws-batch.")
    stream = f"{name}/work/{pod_name.removeprefix('aws-batch.').replace('-', '')}"
    assert said(yard, stream) == ["hello you", f"{job['jobId']} {job['jobId']} home"]


def test_refusals_reach_the_client(yard: Yard, name: str) -> None:
    for properties, words in (
        ({"ecsProperties": {"taskProperties": [{"containers": [container("a", "x", essential=False)]}]}}, "must be essential"),
        ({"eksProperties": {"podProperties": {"serviceAccountName": "r", "containers": [{"image": "x"}]}}}, "serviceAccountName"),
    ):
        try:
            yard.batch.register_job_definition(jobDefinitionName=name, type="container", **properties)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ClientException" and words in error.response["Error"]["Message"]
        else:
            raise AssertionError(f"not refused: {properties}")


def test_a_stack_trace_is_one_event(yard: Yard, name: str) -> None:
    log = {"logDriver": "awslogs", "options": {"awslogs-multiline-pattern": "^(INFO|ERROR)", "awslogs-stream-prefix": name}}
    definition = register(yard, name, container("work", "printf 'INFO a\\nERROR b\\n  at c\\n  at d\\nINFO e\\n'", logConfiguration=log))
    stream = by_name(yard.until(yard.submit(definition)))["work"]["logStreamName"]
    assert stream.startswith(f"{name}/work/")
    assert said(yard, stream) == ["INFO a", "ERROR b\n  at c\n  at d", "INFO e"]


def test_a_node_of_many_may_be_a_task(yard: Yard, name: str) -> None:
    task = {
        "containers": [
            container("prepare", "true", essential=False),
            container("work", "echo node $AWS_BATCH_JOB_NODE_INDEX", dependsOn=after("prepare", "SUCCESS")),
        ]
    }
    nodes = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [{"targetNodes": "0:", "ecsProperties": {"taskProperties": [task]}}]}
    yard.batch.register_job_definition(jobDefinitionName=name, type="multinode", nodeProperties=nodes)
    job_id = yard.submit(name)
    assert yard.until(job_id)["status"] == "SUCCEEDED"
    work = by_name(yard.job(f"{job_id}#0"))["work"]
    assert work["exitCode"] == 0 and said(yard, work["logStreamName"]) == ["node 0"]


def test_a_secret_goes_to_the_container_that_names_it(yard: Yard, name: str) -> None:
    yard.client("ssm").put_parameter(Name=f"/{name}/key", Value="s3cret", Type="SecureString")
    secrets = [{"name": "KEY", "valueFrom": f"/{name}/key"}]
    definition = register(
        yard,
        name,
        container("has", "echo key=$KEY", secrets=secrets),
        container("lacks", "echo key=$KEY", essential=False),
    )
    job = yard.until(yard.submit(definition))
    assert job["status"] == "SUCCEEDED", job
    assert said(yard, by_name(job)["has"]["logStreamName"]) == ["key=s3cret"]
    assert by_name(job)["has"]["secrets"] == secrets and "s3cret" not in str(job)
