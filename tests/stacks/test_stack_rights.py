"""Whose rights a stack has: nobody gets more through a stack, or through the role that it names, than was given to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from stack_hands import ACCOUNT, REGION, ROOT
from stack_world import World, template

from batchyard.main.desk import ServerSettings
from batchyard.main.serve import SERVICES
from batchyard.model.fault import Fault
from batchyard.server.inner import InnerDoor
from batchyard.services import Caller, s3
from batchyard.services.authorization import Authorizer

NOTE = template({"Note": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "x"}}})
PATIENCE_S = 90.0


def allowing(*statements: tuple[str | list[str], str]) -> str:
    entries = [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": entries})


def trusting(service: str) -> str:
    entry = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [entry]})


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    made.desk.settings = ServerSettings("open", REGION, ACCOUNT, enforce_iam=True)
    made.desk.calls = InnerDoor(made.desk, SERVICES, s3.handle, Authorizer(made.shelf, is_enforced=True))
    yield made
    await made.leave()


async def user(world: World, name: str, *statements: tuple[str | list[str], str]) -> Caller:
    arn = (await world.hands.call("iam", "CreateUser", {"UserName": name}))["User"]["Arn"]
    document = {"UserName": name, "PolicyName": "p", "PolicyDocument": allowing(*statements)}
    await world.hands.call("iam", "PutUserPolicy", document)
    return replace(ROOT, arn=arn, user_id=name)


async def role(world: World, name: str, path: str = "/", service: str = "cloudformation.amazonaws.com") -> str:
    asked = {"RoleName": name, "Path": path, "AssumeRolePolicyDocument": trusting(service)}
    arn = str((await world.hands.call("iam", "CreateRole", asked))["Role"]["Arn"])
    await world.hands.call("iam", "PutRolePolicy", {"RoleName": name, "PolicyName": "p", "PolicyDocument": allowing(("*", "*"))})
    return arn


async def ask(world: World, caller: Caller, operation: str, **params: Any) -> dict[str, Any]:
    """The answer, once what was begun with it is at its end."""
    answer: dict[str, Any] = await asyncio.wait_for(world.desk.calls(caller, "cloudformation", operation, params), PATIENCE_S)
    await world.rest()
    return answer


async def refusal(world: World, caller: Caller, operation: str, **params: Any) -> Fault:
    with pytest.raises(Fault) as raised:
        await ask(world, caller, operation, **params)
    return raised.value


@pytest.mark.parametrize("operation", ["CreateStack", "CreateChangeSet", "UpdateStack", "DeleteStack"])
async def test_a_role_is_for_those_who_may_pass_it(world: World, operation: str) -> None:
    arn = await role(world, "powerful")
    weak = await user(world, "weak", ("cloudformation:*", "*"))
    name = "new" if operation.startswith("Create") else "old"
    if name == "old":
        await ask(world, ROOT, "CreateStack", StackName="old", TemplateBody=NOTE)
    more = {"ChangeSetName": "c", "ChangeSetType": "CREATE"} if operation == "CreateChangeSet" else {}
    body = {} if operation == "DeleteStack" else {"TemplateBody": NOTE.replace('"x"', '"y"')}
    fault = await refusal(world, weak, operation, StackName=name, RoleARN=arn, **body, **more)
    assert fault.code == "AccessDeniedException"
    assert f"not authorized to perform: iam:PassRole on resource: {arn}" in fault.message
    passing = await user(world, "passing", ("cloudformation:*", "*"), ("iam:PassRole", arn))
    await ask(world, passing, operation, StackName=name, RoleARN=arn, **body, **more)


async def test_a_role_is_meant_by_the_whole_of_its_arn(world: World) -> None:
    await role(world, "admin")
    passing = await user(world, "passing", ("cloudformation:*", "*"), ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/mine/*"))
    arn = f"arn:aws:iam::{ACCOUNT}:role/mine/admin"
    fault = await refusal(world, passing, "CreateStack", StackName="s", TemplateBody=NOTE, RoleARN=arn)
    assert (fault.code, fault.message) == ("ValidationError", f"Role {arn} is invalid or cannot be assumed")


async def test_a_role_must_trust_cloudformation(world: World) -> None:
    arn = await role(world, "of-jobs", service="ecs-tasks.amazonaws.com")
    fault = await refusal(world, ROOT, "CreateStack", StackName="s", TemplateBody=NOTE, RoleARN=arn)
    assert fault.message == f"Role {arn} is invalid or cannot be assumed"


async def test_rights_to_one_stack_are_none_to_another(world: World) -> None:
    prefix = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/team-"
    allowed = (["cloudformation:*"], prefix + "*/*")
    ssm = (["ssm:*", "ec2:DescribeAvailabilityZones"], "*")
    member = await user(world, "member", allowed, ssm)
    await ask(world, ROOT, "CreateStack", StackName="other", TemplateBody=NOTE)
    await ask(world, member, "CreateStack", StackName="team-a", TemplateBody=NOTE)
    (shown,) = (await ask(world, member, "DescribeStacks", StackName="team-a"))["Stacks"]
    assert shown["StackStatus"] == "CREATE_COMPLETE"
    made = await ask(world, ROOT, "CreateChangeSet", StackName="other", ChangeSetName="c", TemplateBody=NOTE.replace('"x"', '"y"'))
    for operation, params in (
        ("DescribeStacks", {"StackName": "other"}),
        ("DeleteStack", {"StackName": "other"}),
        ("ExecuteChangeSet", {"ChangeSetName": made["Id"]}),
    ):
        fault = await refusal(world, member, operation, **params)
        assert fault.code == "AccessDeniedException"
        assert f"on resource: arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/other/" in fault.message
    forged = prefix + "a/" + made["StackId"].rpartition("/")[2]
    fault = await refusal(world, member, "DescribeStackResources", StackName=forged)
    assert fault.message == f"Stack with id {forged} does not exist"
    await ask(world, member, "DeleteStack", StackName="team-a")


async def test_the_steps_have_no_more_rights_than_who_asked(world: World) -> None:
    weak = await user(world, "weak", ("cloudformation:*", "*"))
    await ask(world, weak, "CreateStack", StackName="s", TemplateBody=NOTE)
    (shown,) = (await ask(world, ROOT, "DescribeStacks", StackName="s"))["Stacks"]
    assert shown["StackStatus"] == "ROLLBACK_COMPLETE"
    narrowed = replace(ROOT, session_policy=json.dumps({"documents": [allowing(("cloudformation:*", "*"))], "arns": []}))
    narrowed = replace(narrowed, arn=(await user(world, "strong", ("*", "*"))).arn)
    await ask(world, narrowed, "CreateStack", StackName="t", TemplateBody=NOTE)
    (shown,) = (await ask(world, ROOT, "DescribeStacks", StackName="t"))["Stacks"]
    assert shown["StackStatus"] == "ROLLBACK_COMPLETE"


async def test_who_deletes_a_stack_under_construction_does_it_with_rights_of_their_own(world: World) -> None:
    weak = await user(world, "weak", ("cloudformation:*", "*"))
    reached, opened, calls = asyncio.Event(), asyncio.Event(), world.desk.calls

    async def held(caller: Caller, service: str, operation: str, params: Any) -> Any:
        if operation == "PutParameter":
            reached.set()
            await asyncio.wait_for(opened.wait(), PATIENCE_S)
        return await calls(caller, service, operation, params)

    world.desk.calls = held
    creating = asyncio.create_task(ask(world, ROOT, "CreateStack", StackName="s", TemplateBody=NOTE))
    await asyncio.wait_for(reached.wait(), PATIENCE_S)
    deleting = asyncio.create_task(ask(world, weak, "DeleteStack", StackName="s"))
    async with asyncio.timeout(PATIENCE_S):
        while not world.desk.stacks.runs or not next(iter(world.desk.stacks.runs.values())).is_cancelled():
            await asyncio.sleep(0.005)
    opened.set()
    await asyncio.gather(creating, deleting)
    world.desk.calls = calls
    (shown,) = (await ask(world, ROOT, "DescribeStacks", StackName="s"))["Stacks"]
    assert shown["StackStatus"] == "DELETE_FAILED"
    await ask(world, ROOT, "DeleteStack", StackName="s")
    assert (await ask(world, ROOT, "DescribeStacks"))["Stacks"] == []
