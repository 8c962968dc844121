"""The language of templates on a real service: refusals with their line, loops, and what one stack takes of another."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from yard import Yard

PATIENCE_S = 60.0


def deployed(yard: Yard, name: str, template: str, **more: Any) -> dict[str, str]:
    """The outputs of a stack of its own."""
    client = yard.client("cloudformation")
    client.create_stack(StackName=name, TemplateBody=template, **more)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        shown = client.describe_stacks(StackName=name)["Stacks"][0]
        if shown["StackStatus"] == "CREATE_COMPLETE":
            return {output["OutputKey"]: output["OutputValue"] for output in shown.get("Outputs", [])}
        assert shown["StackStatus"] == "CREATE_IN_PROGRESS", shown
        time.sleep(0.03)
    raise AssertionError(f"{name} took too long")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "Resources:\n  Results:\n\tType: AWS::S3::Bucket\n",
            "Template format error: YAML not well-formed. (line 3, column 1): tabs cannot indent, use spaces",
        ),
        (
            "Resources:\n  Queue:\n    Type: AWS::Batch::JobQueue\n    Properties: {Priority: !Ref Nowhere}\n",
            "Template format error: Unresolved resource dependencies [Nowhere] in the Resources block of the template (line 4)",
        ),
        (
            "Transform: AWS::Serverless-2016-10-31\nResources:\n  Function: {Type: 'AWS::Serverless::Function'}\n",
            "No transform named AWS::Serverless-2016-10-31 found. (line 1)",
        ),
    ],
)
def test_a_broken_template_is_refused_before_anything_is_made(yard: Yard, template: str, message: str) -> None:
    client = yard.client("cloudformation")
    for refused in (
        lambda: client.validate_template(TemplateBody=template),
        lambda: client.create_stack(StackName="broken", TemplateBody=template),
    ):
        with pytest.raises(ClientError) as raised:
            refused()
        assert raised.value.response["Error"]["Code"] == "ValidationError"
        assert raised.value.response["Error"]["Message"] == message
    assert [stack for stack in client.list_stacks()["StackSummaries"] if stack["StackName"] == "broken"] == []


def test_one_stack_takes_the_output_of_another(yard: Yard) -> None:
    note = "Resources:\n  Note: {Type: 'AWS::SSM::Parameter', Properties: {Type: String, Value: %s}}\n"
    deployed(yard, "giver", note % "reads" + "Outputs:\n  Word: {Value: !GetAtt Note.Value}\n")
    taken = "{'Fn::GetStackOutput': {StackName: giver, OutputName: Word}}"
    assert deployed(yard, "taker", note % taken + "Outputs:\n  Word: {Value: !GetAtt Note.Value}\n") == {"Word": "reads"}


LOOP = """
Transform: AWS::LanguageExtensions
Parameters: {Names: {Type: CommaDelimitedList}}
Resources:
  Fn::ForEach::Notes:
    - Name
    - !Ref Names
    - Note${Name}: {Type: 'AWS::SSM::Parameter', Properties: {Type: String, Value: !Sub 'of ${Name}'}}
Outputs:
  Count: {Value: {Fn::Length: !Ref Names}}
  Fn::ForEach::Values:
    - Name
    - !Ref Names
    - Of${Name}: {Value: !GetAtt [!Sub 'Note${Name}', Value]}
"""


def test_a_loop_makes_a_resource_for_each_element(yard: Yard) -> None:
    client = yard.client("cloudformation")
    summed = client.get_template_summary(TemplateBody=LOOP)
    assert (summed["ResourceTypes"], summed["DeclaredTransforms"]) == (["AWS::SSM::Parameter"], ["AWS::LanguageExtensions"])
    names: dict[str, Any] = {"Parameters": [{"ParameterKey": "Names", "ParameterValue": "Reads, Variants"}]}
    with pytest.raises(ClientError, match=r"Requires capabilities : \[CAPABILITY_AUTO_EXPAND\]"):
        client.create_stack(StackName="loop", TemplateBody=LOOP, **names)
    outputs = deployed(yard, "loop", LOOP, **names, Capabilities=["CAPABILITY_AUTO_EXPAND"])
    assert outputs == {"Count": "2", "OfReads": "of Reads", "OfVariants": "of Variants"}
    made = client.describe_stack_resources(StackName="loop")["StackResources"]
    assert sorted(resource["LogicalResourceId"] for resource in made) == ["NoteReads", "NoteVariants"]
    processed = client.get_template(StackName="loop", TemplateStage="Processed")["TemplateBody"]
    assert processed["Resources"]["NoteReads"]["Properties"]["Value"] == {"Fn::Sub": "of Reads"}
    assert client.validate_template(TemplateBody=LOOP)["DeclaredTransforms"] == ["AWS::LanguageExtensions"]
    client.create_change_set(
        StackName="loop-by-set",
        ChangeSetName="first",
        ChangeSetType="CREATE",
        TemplateBody=LOOP,
        **names,
    )
    client.get_waiter("change_set_create_complete").wait(
        StackName="loop-by-set", ChangeSetName="first", WaiterConfig={"Delay": 1, "MaxAttempts": 90}
    )
    changes = client.describe_change_set(StackName="loop-by-set", ChangeSetName="first")["Changes"]
    assert sorted(change["ResourceChange"]["LogicalResourceId"] for change in changes) == ["NoteReads", "NoteVariants"]
