"""Members of CloudFormation's requests that nothing here acts on are refused by name, and harmless while they say nothing."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from batchyard.services.cloudformation.operations.unserved import MEMBERS
from batchyard.services.cloudformation.table import OPERATIONS
from batchyard.wire import shapes
from yard import Yard

TEMPLATE = '{"Resources": {"Parameter": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "x"}}}}'
SAID: dict[str, Any] = {
    "ResourceTypes": ["AWS::IAM::*"],
    "RollbackConfiguration": {"MonitoringTimeInMinutes": 5},
    "DisableValidation": True,
}


@pytest.mark.parametrize("member", SAID)
def test_members_are_refused_before_anything_is_made(yard: Yard, member: str) -> None:
    client = yard.client("cloudformation")
    with pytest.raises(ClientError, match=f"{member} is not available in this version of Batchyard"):
        client.create_stack(StackName="refused", TemplateBody=TEMPLATE, **{member: SAID[member]})
    assert "refused" not in [stack["StackName"] for stack in client.describe_stacks()["Stacks"]]


def test_what_says_nothing_is_taken(yard: Yard) -> None:
    client = yard.client("cloudformation")
    nothing: Any = {"ResourceTypes": [], "RollbackConfiguration": {"RollbackTriggers": []}, "DisableValidation": False}
    client.create_stack(StackName="plain", TemplateBody=TEMPLATE, **nothing)
    client.get_waiter("stack_create_complete").wait(StackName="plain", WaiterConfig={"Delay": 1, "MaxAttempts": 90})
    with pytest.raises(ClientError, match="DeletionMode FORCE_DELETE_STACK is not available"):
        client.delete_stack(StackName="plain", DeletionMode="FORCE_DELETE_STACK")
    client.delete_stack(StackName="plain", DeletionMode="STANDARD")


def test_the_members_are_those_of_the_model() -> None:
    for operation, members in MEMBERS.items():
        assert operation in OPERATIONS
        assert set(members) <= set(shapes.load("cloudformation").model.input_shape(operation).members), operation


def test_the_one_way_to_deploy_may_be_named_and_another_is_refused(yard: Yard) -> None:
    """The CDK names it."""
    body = {"StackName": "named", "TemplateBody": TEMPLATE}
    client = yard.client("cloudformation")
    client.create_stack(**body, DeploymentConfig={"Mode": "STANDARD"})
    with pytest.raises(ClientError, match="DeploymentConfig is not available in this version of Batchyard"):
        client.create_stack(**(body | {"StackName": "express"}), DeploymentConfig={"Mode": "EXPRESS"})


def test_a_change_set_that_failed_gives_its_name_free(yard: Yard) -> None:
    client = yard.client("cloudformation")
    client.create_stack(StackName="same", TemplateBody=TEMPLATE)
    client.get_waiter("stack_create_complete").wait(StackName="same", WaiterConfig={"Delay": 1, "MaxAttempts": 90})
    for _ in range(2):  # as the AWS CLI's deploy does, twice in a second
        client.create_change_set(StackName="same", ChangeSetName="of-this-second", TemplateBody=TEMPLATE)
        assert client.describe_change_set(StackName="same", ChangeSetName="of-this-second")["Status"] == "FAILED"
    changed = TEMPLATE.replace('"x"', '"y"')
    client.create_change_set(StackName="same", ChangeSetName="of-this-second", TemplateBody=changed)
    with pytest.raises(client.exceptions.AlreadyExistsException):
        client.create_change_set(StackName="same", ChangeSetName="of-this-second", TemplateBody=changed)
