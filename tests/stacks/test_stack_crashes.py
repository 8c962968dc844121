"""The power is cut before every commit of an operation on a stack, in turn: after the next start it ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stack_world import World, template

from batchyard.services.cloudformation.running import stacks

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def environment(cidr: str = "10.1.0.0/16", value: str = "one", *, fails: bool = False, has_secret: bool = True) -> str:
    """A network, a role, a bucket, logs and parameters; with `fails` the last resource cannot be made."""
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": {"Fn::Sub": "${Bucket.Arn}/*"}}
    resources: dict[str, Any] = {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": cidr}},
        "Group": {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {"GroupDescription": "of the stack", "VpcId": {"Ref": "Vpc"}},
        },
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": TRUST,
                "Description": value,
                "Policies": [{"PolicyName": "p", "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}],
            },
        },
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {"VersioningConfiguration": {"Status": "Enabled" if value == "one" else "Suspended"}},
        },
        "Log": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 7 if value == "one" else 14}},
        "Last": {
            "Type": "AWS::SSM::Parameter",
            "DependsOn": ["Group", "Role", "Log"],
            "Properties": {"Type": "String", "Value": {"Fn::Sub": f"{value} ${{Bucket}}"}, **({"AllowedPattern": "none"} if fails else {})},
        },
    }
    if has_secret:
        resources["Secret"] = {"Type": "AWS::SecretsManager::Secret", "Properties": {"GenerateSecretString": {"PasswordLength": 20}}}
    return template(resources, Outputs={"Vpc": {"Value": {"Ref": "Vpc"}, "Export": {"Name": "the-vpc"}}})


FIRST = environment()
CAPABILITIES = ["CAPABILITY_IAM"]
# name -> what was before, and the operation that is interrupted
OPERATIONS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "create": ("", "CreateStack", {"TemplateBody": FIRST, "Capabilities": CAPABILITIES}, "CREATE_COMPLETE"),
    "create that fails": ("", "CreateStack", {"TemplateBody": environment(fails=True), "Capabilities": CAPABILITIES}, "ROLLBACK_COMPLETE"),
    "update": (
        FIRST,
        "UpdateStack",
        {"TemplateBody": environment("10.2.0.0/16", "two", has_secret=False), "Capabilities": CAPABILITIES},
        "UPDATE_COMPLETE",
    ),
    "update that fails": (
        FIRST,
        "UpdateStack",
        {"TemplateBody": environment("10.2.0.0/16", "two", fails=True), "Capabilities": CAPABILITIES},
        "UPDATE_ROLLBACK_COMPLETE",
    ),
    "delete": (FIRST, "DeleteStack", {}, "DELETE_COMPLETE"),
}


@pytest.fixture(autouse=True)
def answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "GRACE_S", 0.0)


async def prepared(folder: Path, before: str) -> None:
    """The folder with the stack as it was before."""
    if before:
        world = World(folder)
        assert await world.do("CreateStack", StackName="s", TemplateBody=before, Capabilities=CAPABILITIES)
        await world.leave()


async def outcome(world: World) -> dict[str, Any]:
    """All that a user can see of the stack, and of what it made."""
    stack = await world.stack("s")
    assert stack is not None
    resources = (await world.ask("DescribeStackResources", StackName=stack["StackId"]))["StackResources"]
    exports = [entry["Name"] for entry in (await world.ask("ListExports"))["Exports"]]
    shown = {entry["LogicalResourceId"]: entry["ResourceStatus"] for entry in resources}
    return {"status": stack["StackStatus"], "resources": shown, "exports": exports} | await world.residue()


@pytest.mark.parametrize("name", OPERATIONS)
async def test_whatever_is_interrupted_ends_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    before, operation, params, status = OPERATIONS[name]
    whole = tmp_path / "whole"
    whole.mkdir()
    await prepared(whole, before)
    world = World(whole)
    assert await world.do(operation, StackName="s", **params)
    expected, commits = await outcome(world), world.cut.commits
    await world.leave()
    assert expected["status"] == status and expected["answers"] == 0 and commits > 8

    for cut_at in range(1, commits + 1):
        folder = tmp_path / str(cut_at)
        folder.mkdir()
        await prepared(folder, before)
        world = World(folder, cut_at)
        is_whole = await world.do(operation, StackName="s", **params)
        await world.leave()
        world = World(folder)
        await world.restart()
        stack = await world.stack("s")
        if stack is None or (not is_whole and stack["StackStatus"] != status):
            # It was cut before anything of it was acknowledged: the client asks again.
            assert await world.do(operation, StackName="s", **params), cut_at
        assert await outcome(world) == expected, f"cut before commit {cut_at} of {commits}"
        await world.leave()
