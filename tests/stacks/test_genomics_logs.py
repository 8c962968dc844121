"""What arrives in the log bucket of the genomics template: access logs in S3's format, and what jobs wrote as files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yard import Yard, serving, until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "objects"))

from access_log_lines import logged

STACK = "genomics"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    data = tmp_path_factory.mktemp("genomics-logs") / "data"
    with serving(data, "--vcpus", "4", "--memory-mib", "4096", "--log-delivery", "0.5") as made:
        yield made


@pytest.fixture(scope="module")
def outputs(yard: Yard) -> dict[str, str]:
    """The names of what the template made. It is too long for the body of a request, so it lies in a bucket."""
    ec2, s3, cloudformation = yard.client("ec2"), yard.client("s3"), yard.client("cloudformation")
    s3.create_bucket(Bucket="templates")
    s3.upload_file(str(ROOT / "templates" / "genomics.yaml"), "templates", "genomics.yaml")
    given = {
        "VpcId": ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
        "SubnetIds": ",".join(subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]),
    }
    cloudformation.create_stack(
        StackName=STACK,
        TemplateURL=f"{yard.endpoint['endpoint_url']}/templates/genomics.yaml",
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )

    def ended() -> dict[str, Any] | None:
        (stack,) = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
        return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack

    stack = until(ended, "the stack", 120)
    assert stack["StackStatus"] == "CREATE_COMPLETE", cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def test_requests_on_the_results_bucket(yard: Yard, outputs: dict[str, str]) -> None:
    s3, results, logs = yard.client("s3"), outputs["GenomicsEnvS3Bucket"], outputs["GenomicsEnvLogBucket"]
    s3.put_object(Bucket=results, Key="calls.vcf", Body=b"##fileformat=VCFv4.3\n")
    s3.get_object(Bucket=results, Key="calls.vcf")

    wanted = {("REST.PUT.OBJECT", "calls.vcf", "200"), ("REST.GET.OBJECT", "calls.vcf", "200")}

    def told() -> bool | None:
        found = {(record["operation"], record["key"], record["status"]) for record in logged(s3, logs, "s3-access/")}
        return wanted <= found or None

    until(told, "both records")


def test_what_a_job_wrote(yard: Yard, outputs: dict[str, str]) -> None:
    s3, logs, group = yard.client("s3"), outputs["GenomicsEnvLogBucket"], outputs["GenomicsEnvLogGroup"]
    definition = yard.batch.register_job_definition(
        jobDefinitionName="align",
        type="container",
        containerProperties={
            "image": "busybox",
            "command": ["echo", "1000 reads aligned"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": group}},
        },
    )["jobDefinitionArn"]
    queue = outputs["GenomicsEnvDefaultJobQueueArn"]
    job_id = yard.submit(definition, queue, "sample-7")
    yard.until(job_id)

    def files() -> dict[str, str] | None:
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=logs, Prefix="job-logs/").get("Contents", [])]
        found = {key: s3.get_object(Bucket=logs, Key=key)["Body"].read().decode() for key in keys if f"/sample-7/{job_id}/" in key}
        return found if any(key.endswith("job.json") for key in found) else None

    found = {key.rpartition("/")[2]: text for key, text in until(files, "the files of the job").items()}
    assert found["attempt-1.log"] == "1000 reads aligned\n"
    assert json.loads(found["job.json"])["status"] == "SUCCEEDED"
