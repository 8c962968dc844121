"""Jobs with secrets and roles, and what ECS and EC2 tell of them, on a real service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shelf_serving import refused

from yard import Yard, serving, until

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
UNABLE = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("identity") / "data", "--vcpus", "4", "--memory-mib", "4096", "--enforce-iam") as yard:
        yield yard.with_queue("ce", types=["m5"])


def definition(service: Yard, name: str, *command: str, retries: int = 1, **container: Any) -> str:
    properties = {
        "image": "busybox",
        "command": list(command),
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
        **container,
    }
    answer = service.batch.register_job_definition(
        jobDefinitionName=name, type="container", containerProperties=properties, retryStrategy={"attempts": retries}
    )
    return str(answer["jobDefinitionArn"])


def role(service: Yard, name: str, *actions: str) -> str:
    iam = service.client("iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    if actions:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    return str(arn)


def test_secrets_reach_the_job_and_nobody_else(service: Yard) -> None:
    ssm, manager = service.client("ssm"), service.client("secretsmanager")
    ssm.put_parameter(Name="/jobs/token", Value="from-parameter", Type="SecureString")
    secret = manager.create_secret(Name="database", SecretString=json.dumps({"user": "ada", "password": "from-secret"}))
    manager.put_secret_value(SecretId="database", SecretString=json.dumps({"user": "ada", "password": "rotated"}))
    execution = role(service, "execution", "ssm:GetParameters", "secretsmanager:GetSecretValue")
    asked = [
        {"name": "TOKEN", "valueFrom": "/jobs/token"},
        {"name": "TOKEN_BY_ARN", "valueFrom": "arn:aws:ssm:us-east-1:000000000000:parameter/jobs/token"},
        {"name": "PASSWORD", "valueFrom": f"{secret['ARN']}:password::"},
        {"name": "OLD_PASSWORD", "valueFrom": f"{secret['ARN']}:password:AWSPREVIOUS:"},
    ]
    command = ["sh", "-c", "echo $TOKEN $TOKEN_BY_ARN $PASSWORD $OLD_PASSWORD"]
    definition(service, "with-secrets", *command, secrets=asked, executionRoleArn=execution)
    job = service.until(service.submit("with-secrets"))
    assert service.logs(job) == ["from-parameter from-parameter rotated from-secret"]
    assert job["container"]["secrets"] == asked
    assert "from-parameter" not in json.dumps(job, default=str) and "rotated" not in json.dumps(job, default=str)
    for name in ("batchyard.db", "batchyard.db-wal"):
        path = service.data / name
        assert not path.exists() or b"from-parameter" not in path.read_bytes()


def test_each_container_of_several_has_its_own_secrets(service: Yard) -> None:
    service.client("ssm").put_parameter(Name="for-one", Value="mine", Type="String")
    execution = role(service, "of-the-task", "ssm:GetParameters")
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]

    def container(name: str, **more: object) -> dict[str, object]:
        command = ["sh", "-c", "echo $NAME has ${TOKEN:-nothing}"]
        named = [{"name": "NAME", "value": name}]
        return {"name": name, "image": "busybox", "command": command, "environment": named, "resourceRequirements": needs, **more}

    # The task is over with "one": before that, "two" has said what it has.
    after_two = [{"containerName": "two", "condition": "COMPLETE"}]
    one = container("one", secrets=[{"name": "TOKEN", "valueFrom": "for-one"}], dependsOn=after_two)
    containers = [one, container("two", essential=False)]
    task = {"containers": containers, "executionRoleArn": execution}
    service.batch.register_job_definition(jobDefinitionName="two", type="container", ecsProperties={"taskProperties": [task]})
    job = service.until(service.submit("two"))
    assert job["status"] == "SUCCEEDED", job
    logs = service.client("logs")
    said = []
    for shown in job["attempts"][0]["taskProperties"][0]["containers"]:
        events = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=shown["logStreamName"], startFromHead=True)["events"]
        said += [event["message"] for event in events]
    assert sorted(said) == ["one has mine", "two has nothing"]


@pytest.mark.parametrize(
    ("value_from", "reason"),
    [
        (
            "/jobs/none",
            f"{UNABLE}unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid ssm parameters: /jobs/none",
        ),
        (
            "arn:aws:secretsmanager:us-east-1:000000000000:secret:none-abcdef",
            f"{UNABLE}unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret ",
        ),
    ],
)
def test_a_job_without_its_secret_does_not_start(service: Yard, value_from: str, reason: str) -> None:
    name = "none-" + str(len(value_from))
    reads = role(service, name, "ssm:*", "secretsmanager:*")
    definition(service, name, "true", retries=2, secrets=[{"name": "X", "valueFrom": value_from}], executionRoleArn=reads)
    job = service.until(service.submit(name))
    assert (job["status"], job["statusReason"], len(job["attempts"])) == ("FAILED", "Task failed to start", 2)
    assert job["container"]["reason"].startswith(reason) and "startedAt" not in job["attempts"][0]


def test_the_execution_role_must_be_allowed_to_read(service: Yard) -> None:
    service.client("ssm").put_parameter(Name="closed", Value="x", Type="String")
    nothing = role(service, "reads-nothing")
    definition(service, "denied", "true", secrets=[{"name": "X", "valueFrom": "closed"}], executionRoleArn=nothing)
    job = service.until(service.submit("denied"))
    assert "AccessDeniedException: User: arn:aws:sts::000000000000:assumed-role/" in job["container"]["reason"]


def test_names_of_secrets_are_names_of_variables(service: Yard) -> None:
    environment = [{"name": "X", "value": "1"}]
    with refused("ClientException", "The secret name must be unique and not shared with any new or existing environment variables"):
        definition(service, "twice", "true", secrets=[{"name": "X", "valueFrom": "a"}], environment=environment)


def test_a_job_is_its_role(service: Yard) -> None:
    """The credentials in a job's environment are those of jobRoleArn's role, and may do what that may."""
    service.client("ssm").put_parameter(Name="for-role", Value="yes", Type="String")
    arn = role(service, "reader", "ssm:GetParameter", "batch:Describe*")
    script = "echo $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY $AWS_SESSION_TOKEN; sleep 600"
    definition(service, "as-role", "sh", "-c", script, jobRoleArn=arn)
    job_id = service.submit("as-role")
    job = service.until(job_id, "RUNNING")
    line = until(lambda: lines[0] if (lines := service.logs(job)) else None, "the job to say its keys")
    keys = dict(zip(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), line.split(), strict=True))
    assert service.client("sts", **keys).get_caller_identity()["Arn"] == f"arn:aws:sts::000000000000:assumed-role/reader/{job_id}"
    assert service.client("ssm", **keys).get_parameter(Name="for-role")["Parameter"]["Value"] == "yes"
    assert service.client("batch", **keys).describe_jobs(jobs=[job_id])["jobs"]
    words = f"User: arn:aws:sts::000000000000:assumed-role/reader/{job_id} is not authorized to perform: batch:TerminateJob on resource: "
    with refused("AccessDeniedException", words):
        service.client("batch", **keys).terminate_job(jobId=job_id, reason="x")
    with refused("AccessDenied"):
        service.client("s3", **keys).list_buckets()
    service.batch.terminate_job(jobId=job_id, reason="enough")
    service.until(job_id)


def test_a_user_submits_to_one_queue_only(service: Yard) -> None:
    service.queue_of("other", "ce")
    definition(service, "plain", "true")
    iam = service.client("iam")
    iam.create_user(UserName="submitter")
    resources = ["arn:aws:batch:*:*:job-queue/queue", "arn:aws:batch:*:*:job-definition/plain*"]
    allowed = {"Effect": "Allow", "Action": "batch:SubmitJob", "Resource": resources}
    iam.put_user_policy(UserName="submitter", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": allowed}))
    key = iam.create_access_key(UserName="submitter")["AccessKey"]
    batch = service.client("batch", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    job_id = batch.submit_job(jobName="j", jobQueue="queue", jobDefinition="plain")["jobId"]
    service.until(job_id)  # other tests count what runs
    user = "User: arn:aws:iam::000000000000:user/submitter is not authorized to perform: batch:SubmitJob on resource: "
    with refused("AccessDeniedException", user + "arn:aws:batch:us-east-1:000000000000:job-queue/other"):
        batch.submit_job(jobName="j", jobQueue="other", jobDefinition="plain")
    with refused("AccessDeniedException", "is not authorized to perform: iam:PassRole on resource"):
        allow = {"Effect": "Allow", "Action": "batch:RegisterJobDefinition", "Resource": "*"}
        iam.put_user_policy(UserName="submitter", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": allow}))
        container = {"image": "b", "vcpus": 1, "memory": 64, "jobRoleArn": "arn:aws:iam::000000000000:role/reader"}
        batch.register_job_definition(jobDefinitionName="x", type="container", containerProperties=container)


def test_from_a_job_to_its_instance_as_nextflow_asks(service: Yard) -> None:
    """nf-amazon: DescribeJobs -> taskArn -> DescribeTasks -> DescribeContainerInstances -> DescribeInstances."""
    ecs, ec2 = service.client("ecs"), service.client("ec2")
    definition(service, "sleeper", "sleep", "600")
    job = service.until(service.submit("sleeper"), "RUNNING")
    (environment,) = service.batch.describe_compute_environments(computeEnvironments=["ce"])["computeEnvironments"]
    cluster, task_arn = environment["ecsClusterArn"], job["container"]["taskArn"]
    assert cluster in ecs.list_clusters()["clusterArns"]
    assert ecs.list_tasks(cluster=cluster)["taskArns"] == [task_arn]
    (task,) = ecs.describe_tasks(cluster=cluster, tasks=[task_arn])["tasks"]
    assert (task["lastStatus"], task["containers"][0]["name"], task["launchType"]) == ("RUNNING", "default", "EC2")
    assert task["containerInstanceArn"] == job["container"]["containerInstanceArn"]
    assert task["containerInstanceArn"] in ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
    (held,) = ecs.describe_container_instances(cluster=cluster, containerInstances=[task["containerInstanceArn"]])["containerInstances"]
    registered, remaining = ({r["name"]: r["integerValue"] for r in held[k]} for k in ("registeredResources", "remainingResources"))
    assert registered["CPU"] - remaining["CPU"] == 1024 and registered["MEMORY"] - remaining["MEMORY"] == 64
    assert ecs.describe_clusters(clusters=[cluster])["clusters"][0]["runningTasksCount"] == 1
    (reservation,) = ec2.describe_instances(InstanceIds=[held["ec2InstanceId"]])["Reservations"]
    (instance,) = reservation["Instances"]
    assert instance["State"]["Name"] == "running" and instance["InstanceType"].startswith("m5.")
    assert {"Key": "aws:batch:compute-environment", "Value": "ce"} in instance["Tags"]
    spot = [{"Name": "instance-lifecycle", "Values": ["spot"]}]
    assert ec2.describe_instances(Filters=spot)["Reservations"] == []
    assert ec2.describe_instance_status(InstanceIds=[held["ec2InstanceId"]])["InstanceStatuses"][0]["InstanceStatus"]["Status"] == "ok"
    ended = ec2.terminate_instances(InstanceIds=[held["ec2InstanceId"]])["TerminatingInstances"]
    assert ended[0]["CurrentState"]["Name"] == "shutting-down"
    lost = service.until(job["jobId"])
    assert lost["statusReason"] == f"Host EC2 (instance {held['ec2InstanceId']}) terminated."
    (task,) = ecs.describe_tasks(cluster=cluster, tasks=[task_arn])["tasks"]
    assert (task["lastStatus"], task["stoppedReason"]) == ("STOPPED", lost["statusReason"])
    with refused("InvalidInstanceID.NotFound", "The instance ID 'i-00000000000000000' does not exist"):
        ec2.describe_instances(InstanceIds=["i-00000000000000000"])
    unknown = ecs.describe_tasks(cluster=cluster, tasks=["0" * 32])
    assert (unknown["tasks"], unknown["failures"][0]["reason"]) == ([], "MISSING")
    with refused("ClusterNotFoundException", "Cluster not found."):
        ecs.list_tasks(cluster="none")


def test_tasks_that_have_ended_are_told_of_after_a_restart(service: Yard) -> None:
    hello = definition(service, "hello", "true")
    fails = definition(service, "fails", "sh", "-c", "exit 3", retries=2)
    single, array = service.submit(fails), service.submit(hello, arrayProperties={"size": 2})
    jobs = [service.until(single), *(service.until(f"{array}:{index}") for index in (0, 1))]
    tasks = [attempt["container"]["taskArn"] for job in jobs for attempt in job["attempts"]]
    (environment,) = service.batch.describe_compute_environments(computeEnvironments=["ce"])["computeEnvironments"]
    ecs, cluster = service.client("ecs"), environment["ecsClusterArn"]
    before = ecs.describe_tasks(cluster=cluster, tasks=tasks)["tasks"]
    assert len(before) == 4 and {task["lastStatus"] for task in before} == {"STOPPED"}
    service.kill()
    service.start()
    ecs = service.client("ecs")
    assert ecs.describe_tasks(cluster=cluster, tasks=tasks)["tasks"] == before
    assert set(tasks) <= set(ecs.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"])


def test_objects_are_deleted_by_the_right_to_each(service: Yard) -> None:
    s3, iam = service.client("s3"), service.client("iam")
    s3.create_bucket(Bucket="rights")
    for key in ("mine/1", "mine/2", "other/1"):
        s3.put_object(Bucket="rights", Key=key, Body=b"x")
    iam.create_user(UserName="tidier")
    statement = {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::rights/mine/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="tidier", PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName="tidier")["AccessKey"]
    theirs = service.client("s3", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    wanted = [{"Key": "mine/1"}, {"Key": "other/1"}, {"Key": "mine/2", "VersionId": "null"}]
    answer = theirs.delete_objects(Bucket="rights", Delete={"Objects": wanted})
    assert [deleted["Key"] for deleted in answer["Deleted"]] == ["mine/1"]
    assert [(error["Key"], error["Code"]) for error in answer["Errors"]] == [("other/1", "AccessDenied"), ("mine/2", "AccessDenied")]
    assert [found["Key"] for found in s3.list_objects_v2(Bucket="rights")["Contents"]] == ["mine/2", "other/1"]


def test_what_was_made_is_there_after_kill(service: Yard) -> None:
    iam, ec2 = service.client("iam"), service.client("ec2")
    iam.create_role(RoleName="kept", AssumeRolePolicyDocument=TRUST)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    service.client("secretsmanager").create_secret(Name="kept", SecretString="tango")
    service.kill()
    service.start()
    assert service.client("iam").get_role(RoleName="kept")["Role"]["RoleName"] == "kept"
    assert service.client("ec2").describe_vpcs(VpcIds=[vpc])["Vpcs"]
    assert service.client("secretsmanager").get_secret_value(SecretId="kept")["SecretString"] == "tango"


def test_an_environment_stands_on_what_exists_in_profile_aws(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--vcpus", "1", "--memory-mib", "512", "--profile", "aws") as yard:
        yard.environment_of("sound")
        (environment,) = yard.batch.describe_compute_environments(computeEnvironments=["sound"])["computeEnvironments"]
        assert environment["status"] == "VALID"
        resources = {**environment["computeResources"], "subnets": ["subnet-0123"]}
        yard.batch.create_compute_environment(computeEnvironmentName="broken", type="MANAGED", computeResources=resources)
        (broken,) = yard.batch.describe_compute_environments(computeEnvironments=["broken"])["computeEnvironments"]
        assert broken["status"] == "INVALID"
        assert broken["statusReason"].startswith("CLIENT_ERROR - The subnet ID 'subnet-0123' does not exist")
        mended = {"subnets": environment["computeResources"]["subnets"]}
        yard.batch.update_compute_environment(computeEnvironment="broken", computeResources=mended)
        (broken,) = yard.batch.describe_compute_environments(computeEnvironments=["broken"])["computeEnvironments"]
        assert (broken["status"], broken["statusReason"]) == ("VALID", "ComputeEnvironment Healthy")
