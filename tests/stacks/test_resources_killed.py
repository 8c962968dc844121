"""A server that is killed within a step repeats it. Every act, cut off before and after each of its calls, ends as if nothing had been."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from resource_acts import Life
from stack_hands import ACCOUNT, REGION, Workbench
from test_resources_iam import CONTAINERS, OTHER, POLICY, ROLE, SPOT, TRUST
from test_resources_keys import KEY, REPOSITORY
from test_resources_lambda import FUNCTION, SETTINGS

from batchyard.services.cloudformation.resources import types
from batchyard.services.cloudformation.schemas.attributes import attributes
from batchyard.services.repeating import Step, current_step, forget
from batchyard.store.shelf import Place

TYPES = types()
TOKEN = "5" * 32
TAGS = [{"Key": "lab", "Value": "7"}]
WEB = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0"}
SSH = {**WEB, "FromPort": 22, "ToPort": 22}


class Killed(BaseException):
    """The end of the server."""


class MortalHands:
    """Hands with which the server dies at call number `at`: before it was made, or after it was made and before its answer was heard."""

    partition = "aws"

    def __init__(self, hands: Any, at: int, *, after: bool) -> None:
        self.inner, self.at, self.after, self.count = hands, at, after, 0
        self.account, self.region, self.desk = hands.account, hands.region, hands.desk

    async def call(self, service: str, operation: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self.count += 1
        if self.count == self.at and not self.after:
            raise Killed
        answer: dict[str, Any] = await self.inner.call(service, operation, params)
        if self.count == self.at:
            raise Killed
        return answer

    async def until(self, done: Callable[[], Awaitable[Any]], *, patience_s: float, what: str) -> Any:
        return await self.inner.until(done, patience_s=patience_s, what=what)


async def survived(bench: Workbench, life: Life, act: Callable[[], Awaitable[Any]]) -> Any:
    """What an act leads to that is cut off at its first call, then at its second one ..., each time before and after, in one and the same
    step. The last time it comes to its end."""
    at, after = 1, False
    while True:
        current_step.set(Step(TOKEN, ACCOUNT, bench.sealer))
        life.hands = MortalHands(bench.hands, at, after=after)  # type: ignore[assignment]
        try:
            answer = await act()
        except Killed:
            at, after = (at + 1, False) if after else (at, True)
            continue
        finally:
            current_step.set(None)
            life.hands = bench.hands
        bench.shelf.change(Place("cloudformation", ACCOUNT, REGION), lambda drawer: forget(drawer, TOKEN)).result(60)
        return answer


async def ground(bench: Workbench) -> dict[str, str]:
    """What the types under test stand on."""
    vpc = await Life(bench.hands, TYPES["AWS::EC2::VPC"], "Ground").create(CidrBlock="10.0.0.0/16")
    subnet = await Life(bench.hands, TYPES["AWS::EC2::Subnet"], "Ground").create(VpcId=vpc.physical_id, CidrBlock="10.0.0.0/24")
    address = await Life(bench.hands, TYPES["AWS::EC2::EIP"], "Ground").create()
    roles = [
        (await Life(bench.hands, TYPES["AWS::IAM::Role"], f"Ground{n}").create(AssumeRolePolicyDocument=TRUST)).physical_id for n in (1, 2)
    ]
    group = await Life(bench.hands, TYPES["AWS::IAM::Group"], "Ground").create()
    return {
        "vpc": vpc.physical_id,
        "subnet": subnet.physical_id,
        "allocation": address.attributes["AllocationId"],
        "first": roles[0],
        "second": roles[1],
        "group": group.physical_id,
    }


def cases(on: dict[str, str]) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """By type: what it is made of, and what it is changed to."""
    group = {"GroupDescription": "x", "VpcId": on["vpc"]}
    inline = [{"PolicyName": "other", "PolicyDocument": OTHER}]
    endpoint = {"VpcId": on["vpc"], "ServiceName": f"com.amazonaws.{REGION}.s3"}
    return {
        "IAM::Role": (
            {**ROLE, "Tags": TAGS},
            {**ROLE, "ManagedPolicyArns": [SPOT], "Policies": inline, "Description": "x", "PermissionsBoundary": CONTAINERS},
        ),
        "IAM::InstanceProfile": ({"Roles": [on["first"]]}, {"Roles": [on["second"]]}),
        "IAM::Policy": (
            {"PolicyName": "p", "PolicyDocument": POLICY, "Roles": [on["first"], on["second"]]},
            {"PolicyName": "q", "PolicyDocument": OTHER, "Roles": [on["second"]], "Groups": [on["group"]]},
        ),
        "IAM::ManagedPolicy": ({"PolicyDocument": POLICY, "Roles": [on["first"]]}, {"PolicyDocument": OTHER, "Roles": [on["second"]]}),
        "IAM::User": (
            {"Groups": [on["group"]], "Policies": ROLE["Policies"], "Tags": TAGS},
            {"Path": "/x/", "ManagedPolicyArns": [SPOT], "Policies": inline},
        ),
        "EC2::VPC": ({"CidrBlock": "10.1.0.0/16", "EnableDnsHostnames": True, "Tags": TAGS}, {"CidrBlock": "10.1.0.0/16"}),
        "EC2::Subnet": (
            {"VpcId": on["vpc"], "CidrBlock": "10.0.1.0/24", "MapPublicIpOnLaunch": True},
            {"VpcId": on["vpc"], "CidrBlock": "10.0.1.0/24", "Tags": TAGS},
        ),
        "EC2::SecurityGroup": (
            {**group, "SecurityGroupIngress": [WEB, SSH], "SecurityGroupEgress": [WEB]},
            {**group, "SecurityGroupIngress": [SSH], "SecurityGroupEgress": [SSH], "Tags": TAGS},
        ),
        "EC2::NatGateway": (
            {"SubnetId": on["subnet"], "AllocationId": on["allocation"]},
            {"SubnetId": on["subnet"], "AllocationId": on["allocation"], "Tags": TAGS},
        ),
        "EC2::VPCEndpoint": (endpoint, {**endpoint, "PolicyDocument": POLICY}),
        "EC2::LaunchTemplate": (
            {"LaunchTemplateData": {"InstanceType": "m5.large"}},
            {"LaunchTemplateData": {"InstanceType": "m5.xlarge"}, "TagSpecifications": [{"ResourceType": "launch-template", "Tags": TAGS}]},
        ),
        "SSM::Parameter": ({"Type": "String", "Value": "1", "Tags": {"a": "1"}}, {"Type": "String", "Value": "2", "Tags": {"b": "1"}}),
        "SecretsManager::Secret": ({"GenerateSecretString": {}}, {"SecretString": "x", "Tags": TAGS}),
        "KMS::Key": (KEY, {"Enabled": False}),
        "ECR::Repository": (REPOSITORY, {"ImageTagMutability": "MUTABLE", "Tags": TAGS}),
        "Lambda::Function": ({**FUNCTION, **SETTINGS}, {**FUNCTION, "Timeout": 9, "Code": {"ZipFile": "x = 3"}}),
    }


NAMES = sorted(cases(dict.fromkeys(("vpc", "subnet", "allocation", "first", "second", "group"), "")))


async def everything(bench: Workbench) -> dict[str, int]:
    """How many there are of what the types make."""
    asked = {
        "iam": ("ListRoles", "ListUsers", "ListGroups", "ListInstanceProfiles"),
        "ec2": ("DescribeVpcs", "DescribeSubnets", "DescribeSecurityGroups", "DescribeNatGateways", "DescribeVpcEndpoints"),
        "ssm": ("DescribeParameters",),
        "secretsmanager": ("ListSecrets",),
        "kms": ("ListKeys",),
        "ecr": ("DescribeRepositories",),
        "lambda": ("ListFunctions",),
    }
    found = {}
    for service, operations in asked.items():
        for operation in operations:
            answer = await bench.hands.call(service, operation)
            found[operation] = len(next(value for value in answer.values() if isinstance(value, list)))
    policies = (await bench.hands.call("iam", "ListPolicies", {"Scope": "Local"}))["Policies"]
    templates = (await bench.hands.call("ec2", "DescribeLaunchTemplates"))["LaunchTemplates"]
    return {**found, "ListPolicies": len(policies), "DescribeLaunchTemplates": len(templates)}


@pytest.mark.parametrize("name", NAMES)
async def test_a_life_that_is_cut_off_everywhere(bench: Workbench, name: str) -> None:
    on = await ground(bench)
    before = await everything(bench)
    first, second = cases(on)[name]
    whole, cut = (Life(bench.hands, TYPES[f"AWS::{name}"], "Whole"), Life(bench.hands, TYPES[f"AWS::{name}"], "Cut"))

    def alike(read: dict[str, Any] | None) -> str:
        return repr(read).replace("Whole", "Cut").replace("whole", "cut")

    await whole.create(**first)
    plain = alike(await whole.read())
    await whole.update(**second)
    plain_updated = alike(await whole.read())
    if name == "IAM::ManagedPolicy":
        versions = await bench.hands.call("iam", "ListPolicyVersions", {"PolicyArn": whole.kept.physical_id})  # type: ignore[union-attr]
        assert len(versions["Versions"]) == 1
    await whole.delete()
    await survived(bench, cut, lambda: cut.create(**first))
    assert alike(await cut.read()) == plain
    await survived(bench, cut, lambda: cut.update(**second))
    assert alike(await cut.read()) == plain_updated
    await survived(bench, cut, cut.delete)
    assert await cut.read() is None
    after = await everything(bench)
    kept = {"DescribeNatGateways", "ListKeys"}  # they are shown for a while after their end
    assert {operation: count for operation, count in after.items() if operation not in kept} == {
        operation: count for operation, count in before.items() if operation not in kept
    }


async def test_getatt_gives_what_may_be_asked(bench: Workbench) -> None:
    """But for what a resource here never has, and what a template would have to say first."""
    on = await ground(bench)
    never = (
        "VpcEncryptionControl",
        "BlockPublicAccessStates",
        "Ipv4",
        "Ipv6",
        "EnableLniAtDeviceIndex",
        "AutoProvisionZones",
        "AutoScalingIps",
    )
    unsaid = {"AllowedPattern", "Policies", "RouteTableId", "SnapStartResponse"}
    for name, (first, _) in cases(on).items():
        made = await Life(bench.hands, TYPES[f"AWS::{name}"], "Asked").create(**first)
        missing = {one for one in attributes(f"AWS::{name}") if one not in made.attributes and not one.startswith(never)}
        assert missing <= unsaid, name
