"""The genomics environment on a real service that enforces IAM: where jobs of both queues run, what they may do, what logs they leave."""

from __future__ import annotations

import base64
import email
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from yard import Yard, serving, until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "objects"))

from access_log_lines import logged

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
OPTIONS = ("--vcpus", "4", "--memory-mib", "4096", "--log-delivery", "0.5", "--idle", "3600", "--enforce-iam")
pytestmark = pytest.mark.timeout(700)  # `aws cloudformation deploy` looks every thirty seconds


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("environment") / "data", *OPTIONS) as made:
        made.client("s3").create_bucket(Bucket="of-others")
        made.definition_of("sleep", "sleep", "600")
        made.definition_of("true", "true")
        yield made


def deploy(yard: Yard, template: Path, stack: str, **parameters: str) -> dict[str, str]:
    """The outputs of a stack, made by `batchyard stack deploy`."""
    given = [f"--parameter={name}={value}" for name, value in parameters.items()]
    yard.cli("stack", "deploy", str(template), "--stack-name", stack, "--data", str(yard.data), "--capabilities=CAPABILITY_IAM", *given)
    (found,) = yard.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    assert found["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


@pytest.fixture(scope="module")
def outputs(yard: Yard) -> dict[str, str]:
    return small_environment(yard)


def small_environment(yard: Yard) -> dict[str, str]:
    """The environment with room for one job of one vCPU on Spot and one on demand."""
    ec2 = yard.client("ec2")
    network = {
        "VpcId": ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
        "SubnetIds": ",".join(subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]),
    }
    scratch = {"Scratch": "auto", "ScratchPackage": "s3://packages/batchyard.tar.gz"}  # without effect here, where the node has its own
    sizes = {"SpotMaxvCpus": "1", "OnDemandMaxvCpus": "1"}
    return deploy(yard, TEMPLATES / "genomics.yaml", "genomics", **network, **scratch, **sizes, RequireTls="false")


def runs_in(yard: Yard, job_id: str) -> str:
    """The environment that a job runs, or ran, in."""
    job = yard.until(job_id, "RUNNING", "SUCCEEDED")
    cluster = job["container"]["containerInstanceArn"].split("/")[1]
    for environment in yard.batch.describe_compute_environments()["computeEnvironments"]:
        if cluster in environment["ecsClusterArn"]:
            return str(environment["computeEnvironmentArn"])
    raise AssertionError(f"{cluster} is of no environment")


def test_both_queues_go_where_they_were_promised_to_go(tmp_path: Path) -> None:
    with serving(tmp_path / "data", *OPTIONS) as yard:  # in another one jobs of other tests may run, or have left instances behind
        yard.definition_of("sleep", "sleep", "600")
        goes_where_it_was_promised(yard, small_environment(yard))


def goes_where_it_was_promised(yard: Yard, outputs: dict[str, str]) -> None:
    default, urgent = outputs["GenomicsEnvDefaultJobQueueArn"], outputs["GenomicsEnvHighPriorityJobQueueArn"]
    spot, on_demand = outputs["GenomicsEnvSpotComputeEnvironmentArn"], outputs["GenomicsEnvOnDemandComputeEnvironmentArn"]
    first = yard.submit("sleep", default, "first")
    assert runs_in(yard, first) == spot
    second = yard.submit("sleep", default, "second")
    until(lambda: yard.job(second).get("statusReason"), "the second to wait: nothing is idle on demand")
    hurried = yard.submit("sleep", urgent, "hurried")
    assert runs_in(yard, hurried) == on_demand, "and it came before the second, which waited for longer"
    yard.batch.terminate_job(jobId=hurried, reason="leaves an idle instance")
    assert runs_in(yard, second) == on_demand, "the default queue falls back into what is there"
    yard.batch.terminate_job(jobId=first, reason="leaves room on Spot")
    yard.until(first)
    third = yard.submit("sleep", urgent, "third")
    assert runs_in(yard, third) == spot, "the high-priority queue goes on to Spot when on-demand is full"
    for job in (second, third):
        yard.batch.terminate_job(jobId=job, reason="done")
        yard.until(job)


def registered(yard: Yard, outputs: dict[str, str], name: str, *command: str) -> str:
    """A job definition with the job role and the log group of the environment."""
    container = {
        "image": "busybox",
        "command": list(command),
        "jobRoleArn": outputs["GenomicsEnvBatchJobRoleArn"],
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": outputs["GenomicsEnvLogGroup"]}},
    }
    answer = yard.batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=container)
    return str(answer["jobDefinitionArn"])


@pytest.fixture(scope="module")
def keys(yard: Yard, outputs: dict[str, str]) -> Iterator[dict[str, str]]:
    """The credentials of a job that runs, out of its environment: what it may, it may with these."""
    script = "echo $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY $AWS_SESSION_TOKEN; sleep 600"
    definition = registered(yard, outputs, "tells-its-keys", "sh", "-c", script)
    job_id = yard.submit(definition, outputs["GenomicsEnvHighPriorityJobQueueArn"], "tells-its-keys")
    stream = {"logGroupName": outputs["GenomicsEnvLogGroup"], "logStreamName": yard.until(job_id, "RUNNING")["container"]["logStreamName"]}

    def said() -> str | None:
        events = yard.client("logs").get_log_events(**stream, startFromHead=True)["events"]
        return events[0]["message"] if events else None

    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    yield dict(zip(names, until(said, "the job to tell its keys").split(), strict=True))
    yard.batch.terminate_job(jobId=job_id, reason="enough")
    yard.until(job_id)


def test_a_job_may_what_it_needs(yard: Yard, outputs: dict[str, str], keys: dict[str, str]) -> None:
    s3, bucket = yard.client("s3", **keys), outputs["GenomicsEnvS3Bucket"]
    s3.put_object(Bucket=bucket, Key="calls/sample.vcf", Body=b"##fileformat=VCFv4.3")
    assert s3.get_object(Bucket=bucket, Key="calls/sample.vcf")["Body"].read() == b"##fileformat=VCFv4.3"
    assert s3.list_objects_v2(Bucket=bucket, Prefix="calls/sample.")["KeyCount"] == 1
    upload = s3.create_multipart_upload(Bucket=bucket, Key="calls/half-made")
    s3.abort_multipart_upload(Bucket=bucket, Key="calls/half-made", UploadId=upload["UploadId"])
    s3.put_object(Bucket=bucket, Key="calls/half-made", Body=b"")
    s3.delete_object(Bucket=bucket, Key="calls/half-made")
    s3.put_object(Bucket=outputs["GenomicsEnvLogBucket"], Key="jobs/trace.txt", Body=b"trace")


@pytest.mark.parametrize(
    ("service", "operation", "parameters"),
    [
        ("s3", "delete_bucket", {"Bucket": "{results}"}),
        ("s3", "put_bucket_versioning", {"Bucket": "{results}", "VersioningConfiguration": {"Status": "Enabled"}}),
        ("s3", "delete_bucket_policy", {"Bucket": "{logs}"}),
        ("s3", "put_object", {"Bucket": "{logs}", "Key": "s3-access/forged", "Body": b""}),
        ("s3", "put_object", {"Bucket": "{logs}", "Key": "job-logs/forged", "Body": b""}),
        ("s3", "delete_object", {"Bucket": "{logs}", "Key": "jobs/trace.txt"}),
        ("s3", "list_objects_v2", {"Bucket": "{logs}"}),
        ("s3", "list_objects_v2", {"Bucket": "of-others"}),
        ("s3", "list_buckets", {}),
        ("batch", "submit_job", {"jobName": "x", "jobQueue": "genomics-default", "jobDefinition": "sleep"}),
        ("ssm", "get_parameter", {"Name": "/batchyard/genomics/log-bucket"}),
        ("cloudformation", "delete_stack", {"StackName": "genomics"}),
    ],
)
def test_a_job_may_nothing_else(
    yard: Yard, outputs: dict[str, str], keys: dict[str, str], service: str, operation: str, parameters: dict[str, Any]
) -> None:
    buckets = {"{results}": outputs["GenomicsEnvS3Bucket"], "{logs}": outputs["GenomicsEnvLogBucket"]}
    given = {name: buckets.get(value, value) if isinstance(value, str) else value for name, value in parameters.items()}
    with pytest.raises(ClientError) as caught:
        getattr(yard.client(service, **keys), operation)(**given)
    assert caught.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")


def test_the_access_log_of_the_results_arrives(yard: Yard, outputs: dict[str, str], keys: dict[str, str]) -> None:
    s3, logs = yard.client("s3"), outputs["GenomicsEnvLogBucket"]
    yard.client("s3", **keys).put_object(Bucket=outputs["GenomicsEnvS3Bucket"], Key="calls/other.vcf", Body=b"")
    role = outputs["GenomicsEnvBatchJobRoleArn"].rpartition("/")[2]

    def told() -> dict[str, str] | None:
        records = logged(s3, logs, "s3-access/")
        return next((each for each in records if (each["operation"], each["key"]) == ("REST.PUT.OBJECT", "calls/other.vcf")), None)

    record = until(told, "the record of the job's request")
    assert (record["bucket"], record["status"]) == (outputs["GenomicsEnvS3Bucket"], "200")
    assert f":assumed-role/{role}/" in record["requester"]


def test_what_the_job_wrote_arrives_as_a_file(yard: Yard, outputs: dict[str, str]) -> None:
    s3, logs = yard.client("s3"), outputs["GenomicsEnvLogBucket"]
    definition = registered(yard, outputs, "aligns", "echo", "1000 reads aligned")
    job_id = yard.submit(definition, outputs["GenomicsEnvDefaultJobQueueArn"], "sample-7")
    yard.until(job_id)

    def files() -> dict[str, str] | None:
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=logs, Prefix="job-logs/genomics-default/").get("Contents", [])]
        found = {key: s3.get_object(Bucket=logs, Key=key)["Body"].read().decode() for key in keys if f"/sample-7/{job_id}/" in key}
        return found if any(key.endswith("job.json") for key in found) else None

    found = {key.rpartition("/")[2]: text for key, text in until(files, "the files of the job").items()}
    assert found["attempt-1.log"] == "1000 reads aligned\n"
    assert json.loads(found["job.json"])["status"] == "SUCCEEDED"


def test_the_environment_in_parts_with_a_network_of_its_own(yard: Yard) -> None:
    """Nested templates at relative paths, from a folder, deployed, changed and deleted; what it keeps are the two buckets."""
    ec2, s3, batch = yard.client("ec2"), yard.client("s3"), yard.batch
    vpcs = len(ec2.describe_vpcs()["Vpcs"])
    made = deploy(yard, TEMPLATES / "genomics" / "root.yaml", "parts", RequireTls="false", NumberOfAZs="3", NatGateways="per-zone")
    (vpc,) = ec2.describe_vpcs(VpcIds=[made["GenomicsEnvVpcId"]])["Vpcs"]
    subnets = ec2.describe_subnets(SubnetIds=made["GenomicsEnvSubnetIds"].split(","))["Subnets"]
    assert len({subnet["AvailabilityZone"] for subnet in subnets}) == 3 and {subnet["VpcId"] for subnet in subnets} == {vpc["VpcId"]}
    assert yard.until(yard.submit("true", "parts-high-priority"))["status"] == "SUCCEEDED"
    changed = deploy(yard, TEMPLATES / "genomics" / "root.yaml", "parts", OnDemandMaxvCpus="2", NatGateways="0", NumberOfAZs="3")
    assert changed["GenomicsEnvS3Bucket"] == made["GenomicsEnvS3Bucket"]
    (environment,) = batch.describe_compute_environments(computeEnvironments=[made["GenomicsEnvOnDemandComputeEnvironmentArn"]])[
        "computeEnvironments"
    ]
    resources = environment["computeResources"]
    assert resources["maxvCpus"] == 2
    public = ec2.describe_subnets(SubnetIds=resources["subnets"])["Subnets"]
    assert all(subnet["MapPublicIpOnLaunch"] for subnet in public), "without a way out of the private ones"
    yard.cli("stack", "delete", "parts", "--yes", "--data", str(yard.data))
    assert len(ec2.describe_vpcs()["Vpcs"]) == vpcs
    names = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    assert {made["GenomicsEnvS3Bucket"], made["GenomicsEnvLogBucket"]} <= names


def test_the_parts_packaged_by_the_aws_cli(yard: Yard, tmp_path: Path) -> None:
    """`aws cloudformation package` puts the parts into a bucket, and `deploy` takes what it writes."""
    yard.client("s3").create_bucket(Bucket="parts-of-templates")
    packaged = str(tmp_path / "packaged.yaml")

    def aws(*words: str) -> None:
        command = [str(Path(sys.executable).with_name("aws")), "cloudformation", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=yard.environment, timeout=200, check=False)
        assert done.returncode == 0, done.stderr

    root = str(TEMPLATES / "genomics" / "root.yaml")
    aws("package", "--template-file", root, "--s3-bucket", "parts-of-templates", "--output-template-file", packaged)
    assert "TemplateURL: ./" not in Path(packaged).read_text()
    assert len(yard.client("s3").list_objects_v2(Bucket="parts-of-templates")["Contents"]) == 4
    given = ["RequireTls=false", "BaselinevCpus=1", "InterfaceEndpoints=true", "NatGateways=0"]
    aws(
        "deploy",
        "--template-file",
        packaged,
        "--stack-name",
        "packaged",
        "--capabilities",
        "CAPABILITY_IAM",
        "--parameter-overrides",
        *given,
    )
    (stack,) = yard.client("cloudformation").describe_stacks(StackName="packaged")["Stacks"]
    made = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    (queue,) = yard.batch.describe_job_queues(jobQueues=["packaged-high-priority"])["jobQueues"]
    assert queue["computeEnvironmentOrder"][0]["computeEnvironment"] == made["GenomicsEnvBaselineComputeEnvironmentArn"]
    private = yard.client("ec2").describe_subnets(SubnetIds=made["GenomicsEnvSubnetIds"].split(","))["Subnets"]
    assert not any(subnet["MapPublicIpOnLaunch"] for subnet in private), "which reach AWS by endpoints"


def test_what_instances_on_aws_would_set_up_is_on_record_and_allowed(yard: Yard, outputs: dict[str, str]) -> None:
    """Scratch space that grows: here the node has its own, so nothing comes of the user data but the record."""
    resources = yard.client("cloudformation").describe_stack_resources(StackName="genomics")["StackResources"]
    physical = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources}
    template, ec2 = physical["InstanceLaunchTemplate"], yard.client("ec2")
    (version,) = ec2.describe_launch_template_versions(LaunchTemplateId=template)["LaunchTemplateVersions"]
    told = email.message_from_bytes(base64.b64decode(version["LaunchTemplateData"]["UserData"]))
    assert [part.get_content_type() for part in told.walk()] == ["multipart/mixed", "text/x-shellscript"]
    iam, context = yard.client("iam"), {"aws:userid": "AROA:i-1", "aws:ResourceTag/batchyard:scratch-instance": "i-1"}
    for owner, decision in (("i-1", "allowed"), ("i-2", "implicitDeny")):
        entries = [{"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"} for name, value in context.items()]
        entries[1]["ContextKeyValues"] = [owner]
        answer = iam.simulate_principal_policy(
            PolicySourceArn=iam.get_role(RoleName=physical["InstanceRole"])["Role"]["Arn"],
            ActionNames=["ec2:DeleteVolume"],
            ResourceArns=["arn:aws:ec2:us-east-1:000000000000:volume/vol-1"],
            ContextEntries=entries,
        )
        assert answer["EvaluationResults"][0]["EvalDecision"] == decision
