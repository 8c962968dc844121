"""The template deploys as one stack and its parts fit together: on moto, a stand-in for AWS (see genomics_on_moto)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from genomics_on_moto import CONFIG, deploy, session
from genomics_promises import BASELINE, OWN_BUCKET
from moto import mock_aws


@pytest.fixture(scope="module")
def aws() -> Iterator[Any]:
    """A session on one stand-in for all tests, since starting it takes longer than a test."""
    with mock_aws(config=CONFIG):
        yield session()


@pytest.fixture(scope="module")
def outputs(aws: Any) -> dict[str, str]:
    """Outputs of the stack `genomics`."""
    given = {"SpotMaxvCpus": "32", "SpotBidPercentage": "60", "JobLogRetentionDays": "30", "RootVolumeGiB": "300"}
    return deploy(aws, "genomics", given)


def queue_order(aws: Any, arn: str) -> list[str]:
    """ARNs of the environments of a queue, in order."""
    (queue,) = aws.create_client("batch").describe_job_queues(jobQueues=[arn])["jobQueues"]
    assert (queue["status"], queue["state"]) == ("VALID", "ENABLED")
    entries = sorted(queue["computeEnvironmentOrder"], key=lambda entry: entry["order"])
    return [entry["computeEnvironment"] for entry in entries]


def buckets(s3: Any, stack: str) -> set[str]:
    """Names of the buckets that belong to a stack."""
    return {bucket["Name"] for bucket in s3.list_buckets()["Buckets"] if bucket["Name"].startswith(f"{stack}-")}


def test_the_stack_holds_two_queues_on_two_environments(aws: Any, outputs: dict[str, str]) -> None:
    spot, on_demand = (outputs[f"GenomicsEnv{name}ComputeEnvironmentArn"] for name in ("Spot", "OnDemand"))
    assert queue_order(aws, outputs["GenomicsEnvDefaultJobQueueArn"]) == [spot, on_demand]
    assert queue_order(aws, outputs["GenomicsEnvHighPriorityJobQueueArn"]) == [on_demand, spot]
    (found,) = aws.create_client("batch").describe_compute_environments(computeEnvironments=[spot])["computeEnvironments"]
    resources = found["computeResources"]
    assert (resources["type"], resources["maxvCpus"], resources["bidPercentage"]) == ("SPOT", 32, 60)
    assert resources["instanceTypes"] == ["optimal"]


def test_with_a_baseline_the_default_queue_never_scales_on_demand(aws: Any) -> None:
    outputs = deploy(aws, "with-baseline", BASELINE)
    spot, on_demand, baseline = (outputs[f"GenomicsEnv{n}ComputeEnvironmentArn"] for n in ("Spot", "OnDemand", "Baseline"))
    assert queue_order(aws, outputs["GenomicsEnvDefaultJobQueueArn"]) == [spot, baseline]
    assert queue_order(aws, outputs["GenomicsEnvHighPriorityJobQueueArn"]) == [baseline, on_demand, spot]
    batch = aws.create_client("batch")
    (found,) = batch.describe_compute_environments(computeEnvironments=[baseline])["computeEnvironments"]
    assert found["computeResources"]["minvCpus"] == found["computeResources"]["maxvCpus"] == 64


def test_a_job_in_each_queue_uses_the_starter_definition(aws: Any, outputs: dict[str, str]) -> None:
    batch = aws.create_client("batch")
    for queue in ("Default", "HighPriority"):
        job_id = batch.submit_job(
            jobName="hello",
            jobQueue=outputs[f"GenomicsEnv{queue}JobQueueArn"],
            jobDefinition=outputs["GenomicsEnvStarterJobDefinitionArn"],
        )["jobId"]
        (job,) = batch.describe_jobs(jobs=[job_id])["jobs"]
        assert job["status"] == "SUCCEEDED"
        (definition,) = batch.describe_job_definitions(jobDefinitions=[job["jobDefinition"]])["jobDefinitions"]
        container = definition["containerProperties"]
        assert container["jobRoleArn"] == outputs["GenomicsEnvBatchJobRoleArn"]
        assert container["logConfiguration"]["options"]["awslogs-group"] == outputs["GenomicsEnvLogGroup"]


def test_others_find_the_environment_by_parameter_and_export(aws: Any, outputs: dict[str, str]) -> None:
    ssm, cloudformation = aws.create_client("ssm"), aws.create_client("cloudformation")
    exports = {entry["Name"]: entry["Value"] for entry in cloudformation.list_exports()["Exports"]}
    for parameter, export, output in (
        ("results-bucket", "S3Bucket", "GenomicsEnvS3Bucket"),
        ("log-bucket", "LogBucket", "GenomicsEnvLogBucket"),
        ("log-group", "LogGroup", "GenomicsEnvLogGroup"),
        ("job-role-arn", "BatchJobRoleArn", "GenomicsEnvBatchJobRoleArn"),
        ("default-job-queue-arn", "DefaultJobQueueArn", "GenomicsEnvDefaultJobQueueArn"),
        ("high-priority-job-queue-arn", "HighPriorityJobQueueArn", "GenomicsEnvHighPriorityJobQueueArn"),
    ):
        value = ssm.get_parameter(Name=f"/batchyard/genomics/{parameter}")["Parameter"]["Value"]
        assert value == exports[f"genomics-Genomics-{export}"] == outputs[output]


def test_instances_logs_and_buckets_are_as_promised(aws: Any, outputs: dict[str, str]) -> None:
    ec2, logs, s3 = (aws.create_client(name) for name in ("ec2", "logs", "s3"))
    summaries = aws.create_client("cloudformation").list_stack_resources(StackName="genomics")["StackResourceSummaries"]
    (launch,) = (entry["PhysicalResourceId"] for entry in summaries if entry["ResourceType"].endswith("LaunchTemplate"))
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=launch)["LaunchTemplateVersions"]
    data = versions[0]["LaunchTemplateData"]
    disk = data["BlockDeviceMappings"][0]["Ebs"]
    assert (disk["Encrypted"], disk["VolumeType"], disk["VolumeSize"]) == (True, "gp3", 300)
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    (group,) = logs.describe_log_groups(logGroupNamePrefix="/aws/batch/genomics")["logGroups"]
    assert (group["logGroupName"], group["retentionInDays"]) == ("/aws/batch/genomics", 30)
    for name in ("GenomicsEnvS3Bucket", "GenomicsEnvLogBucket"):
        rules = s3.get_bucket_encryption(Bucket=outputs[name])["ServerSideEncryptionConfiguration"]["Rules"]
        assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_an_existing_bucket_is_used_and_only_the_log_bucket_is_made(aws: Any) -> None:
    s3 = aws.create_client("s3")
    outputs = deploy(aws, "own-bucket", OWN_BUCKET)
    assert outputs["GenomicsEnvS3Bucket"] == "our-results"
    assert buckets(s3, "own-bucket") == {outputs["GenomicsEnvLogBucket"]}


def test_deleting_the_stack_leaves_the_buckets(aws: Any) -> None:
    outputs = deploy(aws, "short-lived", {})
    s3, cloudformation = aws.create_client("s3"), aws.create_client("cloudformation")
    cloudformation.delete_stack(StackName="short-lived")
    assert buckets(s3, "short-lived") == {outputs["GenomicsEnvS3Bucket"], outputs["GenomicsEnvLogBucket"]}
    with pytest.raises(ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName="short-lived")
