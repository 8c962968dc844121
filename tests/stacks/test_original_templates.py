"""The templates of 2018, unchanged, and our own: they deploy, resolve, are updated and deleted, and leave nothing when a resource fails."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yard import Yard

ROOT = Path(__file__).parents[2]
ORIGINALS = ROOT.parent / "shared" / "templates"
HOST = "https://aws-genomics-workflows.s3.amazonaws.com/templates/"
PARTS = "https://parts.example/"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1mD1yk2V3Jt6lq0Xm7cXgkN7s2tq0c0P5l7cXkqQ0m someone"
PATIENCE_S = 150.0
pytestmark = pytest.mark.timeout(700)  # a failure of each resource, one after the other


@pytest.fixture(scope="module")
def wish(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wish") / "resource"


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory, wish: Path) -> Iterator[Yard]:
    urls = ("--template-url", f"{HOST}=file:{ORIGINALS}/", "--template-url", f"{PARTS}=file:{ROOT}/templates/genomics/")
    made = Yard(tmp_path_factory.mktemp("originals") / "data", *urls)
    made.program = (str(Path(__file__).with_name("failing_serve.py")),)
    os.environ["FAILING_RESOURCE"] = str(wish)
    try:
        made.start()
        made.client("ec2").import_key_pair(KeyName="somebody", PublicKeyMaterial=KEY.encode())
        yield made
    finally:
        del os.environ["FAILING_RESOURCE"]
        made.down()


def parameters(yard: Yard, name: str) -> dict[str, str]:
    """What each template wants to be told."""
    ec2 = yard.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]]
    zones = [zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]]
    account = yard.client("sts").get_caller_identity()["Account"]
    role = f"arn:aws:iam::{account}:role/r"
    every = {
        "VpcId": vpc,
        "SubnetIds": ", ".join(subnets[:2]),
        "S3BucketName": "results-of-the-stack",
        "KeyPairName": "somebody",
        "CustomAmiId": "ami-0123456789abcdef0",
        "AvailabilityZone1": zones[0],
        "AvailabilityZone2": zones[1],
        "BatchServiceRoleArn": role,
        "Ec2KeyPairName": "somebody",
        "Ec2InstanceProfileArn": f"arn:aws:iam::{account}:instance-profile/p",
        "SpotFleetRoleArn": role,
        "BatchJobRoleArn": role,
        "JobRoleArn": role,
    }
    summary = yard.client("cloudformation").get_template_summary(TemplateBody=body(name))
    wanted = [entry["ParameterKey"] for entry in summary["Parameters"]]
    return {key: every[key] for key in wanted if key in every}


def body(name: str) -> str:
    if name == "root.yaml":
        return (ROOT / "templates" / "genomics" / name).read_text().replace("TemplateURL: ./", f"TemplateURL: {PARTS}")
    return (ROOT / "templates" / name if name == "genomics.yaml" else ORIGINALS / name).read_text()


def create(yard: Yard, name: str, stack: str) -> dict[str, Any]:
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters(yard, name).items()]
    yard.client("cloudformation").create_stack(StackName=stack, TemplateBody=body(name), Parameters=given, Capabilities=["CAPABILITY_IAM"])
    return ended(yard, stack)


def ended(yard: Yard, stack: str) -> dict[str, Any]:
    """The stack when nothing is done to it any more."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found: dict[str, Any] = yard.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        if not found["StackStatus"].endswith("IN_PROGRESS"):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{stack} is {found['StackStatus']} after {PATIENCE_S} s")


def delete(yard: Yard, arn: str) -> None:
    yard.client("cloudformation").delete_stack(StackName=arn)
    assert ended(yard, arn)["StackStatus"] == "DELETE_COMPLETE"


def residue(yard: Yard) -> dict[str, Any]:
    """What there is of everything that these templates make."""
    ec2, iam, batch = yard.client("ec2"), yard.client("iam"), yard.client("batch")
    groups = ec2.describe_security_groups()["SecurityGroups"]
    return {
        "groups": sorted((group["GroupName"], len(group["IpPermissions"]), len(group["IpPermissionsEgress"])) for group in groups),
        "templates": ec2.describe_launch_templates()["LaunchTemplates"],
        "networks": [vpc["CidrBlock"] for vpc in ec2.describe_vpcs()["Vpcs"]],
        "subnets": len(ec2.describe_subnets()["Subnets"]),
        "routes": sorted(len(table["Routes"]) for table in ec2.describe_route_tables()["RouteTables"]),
        "gateways": [gateway["InternetGatewayId"] for gateway in ec2.describe_internet_gateways()["InternetGateways"]],
        "addresses": ec2.describe_addresses()["Addresses"],
        "endpoints": ec2.describe_vpc_endpoints()["VpcEndpoints"],
        "roles": [role["RoleName"] for role in iam.list_roles()["Roles"] if "/aws-service-role/" not in role["Path"]],
        "profiles": iam.list_instance_profiles()["InstanceProfiles"],
        "buckets": [bucket["Name"] for bucket in yard.client("s3").list_buckets()["Buckets"]],
        "environments": [entry["status"] for entry in batch.describe_compute_environments()["computeEnvironments"]],
        "queues": [entry["status"] for entry in batch.describe_job_queues()["jobQueues"]],
        "log groups": [group["logGroupName"] for group in yard.client("logs").describe_log_groups()["logGroups"]],
        "parameters": yard.client("ssm").describe_parameters()["Parameters"],
    }


def inside(yard: Yard, stack: str) -> list[tuple[str, str]]:
    """(logical id, stack) of every resource, also of the stacks within."""
    found = []
    for entry in yard.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]:
        found.append((entry["LogicalResourceId"], stack))
        if entry["ResourceType"] == "AWS::CloudFormation::Stack":
            found += inside(yard, entry["PhysicalResourceId"])
    return found


NAMES = [
    "aws-genomics-root.template.yaml",
    "aws-genomics-root-novpc.template.yaml",
    "aws-genomics-s3.template.yaml",
    "aws-genomics-iam.template.yaml",
    "aws-genomics-batch.template.yaml",
    "genomics.yaml",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_template_deploys_and_goes_again_without_a_trace(yard: Yard, name: str) -> None:
    before = residue(yard)
    stack = create(yard, name, "whole")
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack.get("StackStatusReason")
    assert all(output["OutputValue"] and "${" not in output["OutputValue"] for output in stack.get("Outputs", []))
    again = [{"ParameterKey": entry["ParameterKey"], "UsePreviousValue": True} for entry in stack.get("Parameters", [])]
    tags = [{"Key": "project", "Value": "reads"}]
    yard.client("cloudformation").update_stack(
        StackName="whole", UsePreviousTemplate=True, Parameters=again, Tags=tags, Capabilities=["CAPABILITY_IAM"]
    )
    assert ended(yard, "whole")["StackStatus"] == "UPDATE_COMPLETE"
    delete(yard, stack["StackId"])
    kept = {"buckets"} if name == "genomics.yaml" else set()
    after = residue(yard)
    assert {key: value for key, value in after.items() if key not in kept} == {k: v for k, v in before.items() if k not in kept}
    for bucket in set(after["buckets"]) - set(before["buckets"]):  # ours outlive their stack
        yard.client("s3").delete_bucket(Bucket=bucket)


@pytest.mark.parametrize("name", NAMES)
def test_whatever_fails_leaves_nothing_behind(yard: Yard, name: str, wish: Path) -> None:
    stack = create(yard, name, "model")
    resources = sorted({logical_id for logical_id, _ in inside(yard, stack["StackId"])})
    buckets = residue(yard)["buckets"]
    delete(yard, stack["StackId"])
    for bucket in buckets:
        if bucket in residue(yard)["buckets"]:
            yard.client("s3").delete_bucket(Bucket=bucket)
    before = residue(yard)
    assert len(resources) >= 1
    for logical_id in resources:
        wish.write_text(logical_id)
        try:
            failed = create(yard, name, "fails")
        finally:
            wish.unlink()
        assert failed["StackStatus"] == "ROLLBACK_COMPLETE", f"{logical_id}: {failed['StackStatus']} {failed.get('StackStatusReason')}"
        assert residue(yard) == before, logical_id
        delete(yard, failed["StackId"])


@pytest.mark.parametrize("logical_id", ["S3Endpoint", "JobLogGroup", "JobRole", "HighPriorityJobQueue", "DefaultJobQueueParameter"])
def test_whatever_fails_in_the_environment_in_parts_leaves_nothing_behind(yard: Yard, wish: Path, logical_id: str) -> None:
    """One of each part, and of the root: parts that were complete go too, with their buckets."""
    before = residue(yard)
    wish.write_text(logical_id)
    try:
        capabilities = ["CAPABILITY_IAM"]
        yard.client("cloudformation").create_stack(StackName="parts", TemplateBody=body("root.yaml"), Capabilities=capabilities)
        failed = ended(yard, "parts")
    finally:
        wish.unlink()
    assert failed["StackStatus"] == "ROLLBACK_COMPLETE", failed.get("StackStatusReason")
    assert residue(yard) == before
    delete(yard, failed["StackId"])
