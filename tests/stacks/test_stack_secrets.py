"""What stacks tell of secrets: nothing, to nobody, at any time, whatever becomes of an update."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from stack_world import World, template

SECRETS = ("swordfish-one", "swordfish-two", "from-the-store")


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.hands.call("ssm", "PutParameter", {"Name": "stored", "Value": "from-the-store", "Type": "String"})
    yield made
    await made.leave()


def note(value: Any, **more: Any) -> dict[str, Any]:
    return {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": value, **more}}


def text(*, is_hidden: bool, **more: Any) -> str:
    parameters = {
        "Password": {"Type": "String", "Default": "swordfish-one", "NoEcho": is_hidden},
        "Listed": {"Type": "CommaDelimitedList", "Default": "swordfish-one, swordfish-two", "NoEcho": is_hidden},
        "Stored": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "stored", "NoEcho": is_hidden},
    }
    resources = {
        "Direct": note({"Ref": "Password"}),
        "Within": note({"Fn::Sub": "user:${Password}@${Stored}"}),
        "Selected": note({"Fn::Select": [1, {"Ref": "Listed"}]}),
        "Passed": note({"Fn::GetAtt": "Direct.Value"}),
        **more,
    }
    return template(resources, Parameters=parameters)


async def told(world: World) -> str:
    """All that describing a stack tells."""
    stack = await world.stack("s")
    assert stack is not None
    events = (await world.ask("DescribeStackEvents", StackName=stack["StackId"]))["StackEvents"]
    resources = (await world.ask("DescribeStackResources", StackName=stack["StackId"]))["StackResources"]
    return json.dumps([stack, events, resources], default=str)


def assert_silent(said: str, *secrets: str) -> None:
    for secret in (*SECRETS, *secrets):
        assert secret not in said
    assert "****" in said


async def test_events_and_parameters_hold_no_secret(world: World) -> None:
    assert await world.do("CreateStack", StackName="s", TemplateBody=text(is_hidden=True))
    assert_silent(await told(world))
    made = await world.ask(
        "CreateChangeSet", StackName="s", ChangeSetName="c", TemplateBody=text(is_hidden=True, New=note({"Ref": "Password"}))
    )
    shown = await world.ask("DescribeChangeSet", ChangeSetName=made["Id"], IncludePropertyValues=True)
    assert_silent(json.dumps(shown, default=str))
    assert await world.do("DeleteStack", StackName="s")
    assert_silent(await told(world))


async def test_an_update_that_is_taken_back_uncovers_nothing(world: World) -> None:
    assert await world.do("CreateStack", StackName="s", TemplateBody=text(is_hidden=True))
    late = {"Bad": {**note("y", Name="/aws/forbidden"), "DependsOn": ["Direct", "Within"]}}
    assert await world.do("UpdateStack", StackName="s", TemplateBody=text(is_hidden=False, **late))
    stack = await world.stack("s")
    assert stack is not None and stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", stack
    assert_silent(json.dumps(stack, default=str))


async def test_reasons_hold_no_secret(world: World) -> None:
    broken = note({"Ref": "Password"}, Name={"Fn::Sub": "/aws/${Password}"})
    assert await world.do("CreateStack", StackName="s", TemplateBody=text(is_hidden=True, Broken=broken))
    stack = await world.stack("s")
    assert stack is not None and stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert_silent(await told(world))


async def test_the_secret_of_a_key_that_goes_into_another_resource_is_not_told(world: World) -> None:
    resources = {
        "User": {"Type": "AWS::IAM::User"},
        "Key": {"Type": "AWS::IAM::AccessKey", "Properties": {"UserName": {"Ref": "User"}}},
        "Kept": {"Type": "AWS::SecretsManager::Secret", "Properties": {"SecretString": {"Fn::GetAtt": "Key.SecretAccessKey"}}},
        "Shown": note({"Fn::GetAtt": "Key.SecretAccessKey"}, Name="shown"),
    }
    assert await world.do("CreateStack", StackName="s", TemplateBody=template(resources), Capabilities=["CAPABILITY_IAM"])
    secret = (await world.hands.call("ssm", "GetParameter", {"Name": "shown"}))["Parameter"]["Value"]
    assert len(secret) > 20
    assert_silent(await told(world), secret)
