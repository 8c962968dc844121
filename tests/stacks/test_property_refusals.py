"""Properties of stacks on a real service: what no value could mend is refused with its line, the rest fails its resource."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from yard import Yard, until


def stack(yard: Yard, name: str, template: str, **parameters: str) -> dict[str, Any]:
    """The stack at its end."""
    client = yard.client("cloudformation")
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    client.create_stack(StackName=name, TemplateBody=template, Parameters=given)

    def ended() -> dict[str, Any] | None:
        (found,) = client.describe_stacks(StackName=name)["Stacks"]
        return None if found["StackStatus"].endswith("IN_PROGRESS") else dict(found)

    return until(ended, f"end of {name}", patience_s=60)


def reasons(yard: Yard, name: str, logical_id: str) -> list[str]:
    events = yard.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    return [
        event["ResourceStatusReason"]
        for event in events
        if event["LogicalResourceId"] == logical_id and event["ResourceStatus"] == "CREATE_FAILED"
    ]


POLICY = """
Parameters:
  Reserved: {Type: String, Default: "7"}
Resources:
  Shares:
    Type: AWS::Batch::SchedulingPolicy
    Properties:
      Name: NAME
      FairsharePolicy:
        ComputeReservation: !Ref Reserved
"""
MISFIT = (
    "Properties validation failed for resource Shares with message:\n"
    "#/FairsharePolicy/ComputeReservation: expected type: Number, found: String"
)


def reserved(yard: Yard) -> dict[str, int]:
    """What the policies that there are reserve, by name."""
    batch = yard.client("batch")
    arns = [one["arn"] for one in batch.list_scheduling_policies()["schedulingPolicies"]]
    found = batch.describe_scheduling_policies(arns=arns)["schedulingPolicies"] if arns else []
    return {one["name"]: one["fairsharePolicy"]["computeReservation"] for one in found}


def test_text_is_settled_and_what_does_not_fit_fails_its_resource(yard: Yard) -> None:
    assert stack(yard, "settled", POLICY.replace("NAME", "settled"))["StackStatus"] == "CREATE_COMPLETE"
    assert reserved(yard)["settled"] == 7
    assert stack(yard, "misfit", POLICY.replace("NAME", "misfit"), Reserved="many")["StackStatus"] == "ROLLBACK_COMPLETE"
    assert reasons(yard, "misfit", "Shares") == [MISFIT]
    assert "misfit" not in reserved(yard)


def test_a_dynamic_reference_is_settled_too(yard: Yard) -> None:
    template = POLICY.replace("!Ref Reserved", "'{{resolve:ssm:/reserved}}'")
    yard.client("ssm").put_parameter(Name="/reserved", Value="30", Type="String")
    assert stack(yard, "dynamic", template.replace("NAME", "dynamic"))["StackStatus"] == "CREATE_COMPLETE"
    assert reserved(yard)["dynamic"] == 30
    yard.client("ssm").put_parameter(Name="/reserved", Value="many", Type="String", Overwrite=True)
    assert stack(yard, "dynamic-misfit", template.replace("NAME", "other"))["StackStatus"] == "ROLLBACK_COMPLETE"
    assert reasons(yard, "dynamic-misfit", "Shares") == [MISFIT]


def test_what_no_value_could_mend_is_refused_with_its_line(yard: Yard) -> None:
    with pytest.raises(ClientError) as caught:
        yard.client("cloudformation").create_stack(StackName="wrong", TemplateBody=POLICY.replace("FairsharePolicy", "Fairshare"))
    assert caught.value.response["Error"]["Message"] == (
        "Properties validation failed for resource Shares with message:\n#: extraneous key [Fairshare] is not permitted (line 9)"
    )
    assert "wrong" not in [one["StackName"] for one in yard.client("cloudformation").list_stacks()["StackSummaries"]]


def test_an_attribute_that_a_type_has_not_is_refused_with_its_line(yard: Yard) -> None:
    client = yard.client("cloudformation")
    for asked in ("!GetAtt Shares.Colour", "!Sub 'the ${Shares.Colour}'", "!GetAtt [Shares, Colour]"):
        with pytest.raises(ClientError) as caught:
            client.create_stack(StackName="colour", TemplateBody=POLICY + f"Outputs:\n  Colour:\n    Value: {asked}\n")
        assert caught.value.response["Error"]["Message"] == (
            "Template error: resource Shares does not support attribute type Colour in Fn::GetAtt (line 13)"
        )
    template = POLICY.replace("NAME", "has") + "Outputs:\n  Arn:\n    Value: !GetAtt Shares.Arn\n"
    (output,) = stack(yard, "has", template)["Outputs"]
    assert output["OutputValue"].endswith(":scheduling-policy/has")
