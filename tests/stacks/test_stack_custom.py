"""Custom resources and stacks within stacks, over the wire: inline functions, what they answer or do not, inner failures, odd URLs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from stack_client import Stacks, body, broken, note

from yard import Yard, serving

# Says what it was asked by tags of a bucket that does not exist: what it does is decided by its properties alone.
CODE = """
import cfnresponse, os, time

def handler(event, context):
    print(event["RequestType"], event.get("PhysicalResourceId"), event["ResourceProperties"])
    properties = event["ResourceProperties"]
    does = properties.get("Does", "answers")
    if event["RequestType"] == "Delete":
        does = properties.get("AtTheEnd", "answers")
    if does == "dies":
        os._exit(3)
    if does == "raises":
        raise ValueError("no such genome")
    if does == "sleeps":
        return
    status = cfnresponse.FAILED if does == "fails" else cfnresponse.SUCCESS
    said = {"Echo": properties.get("Word", ""), "Kind": type(properties.get("Number")).__name__}
    name = properties.get("Name") or event.get("PhysicalResourceId") or "first"
    cfnresponse.send(event, context, status, said, name, reason="the index is broken" if does == "fails" else None)
"""
TRUST = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
FUNCTION = {
    "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
    "Function": {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Runtime": "python3.12",
            "Handler": "index.handler",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Code": {"ZipFile": CODE},
            "Timeout": 90,
        },
    },
}
MAY = {"Capabilities": ["CAPABILITY_IAM"]}


def custom(**properties: Any) -> str:
    made = {
        "Type": "Custom::Genome",
        "Properties": {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}, "ServiceTimeout": 120, **properties},
    }
    outputs = {"Echo": {"Value": {"Fn::GetAtt": ["Made", "Echo"]}}, "Kind": {"Value": {"Fn::GetAtt": ["Made", "Kind"]}}}
    return body({**FUNCTION, "Made": made}, Outputs=outputs | {"Id": {"Value": {"Ref": "Made"}}})


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("custom") / "yard") as one:
        one.client("s3").create_bucket(Bucket="templates", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield one


@pytest.fixture(scope="module")
def stacks(yard: Yard) -> Stacks:
    return Stacks(yard)


def outputs(stack: dict[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def test_a_function_makes_changes_replaces_and_takes_away(stacks: Stacks) -> None:
    stack = stacks.create("life", custom(Word="hello", Number=3), **MAY)
    assert stack["StackStatus"] == "CREATE_COMPLETE", stacks.events("life")
    assert outputs(stack) == {"Echo": "hello", "Kind": "str", "Id": "first"}
    assert outputs(stacks.update("life", custom(Word="bye", Number=3), **MAY)) == {"Echo": "bye", "Kind": "str", "Id": "first"}
    stack = stacks.update("life", custom(Word="bye", Name="second"), **MAY)
    assert stack["StackStatus"] == "UPDATE_COMPLETE" and outputs(stack)["Id"] == "second"
    own = [event[:2] for event in stacks.events("life") if event[0] == "Made"]
    assert own[-2:] == [("Made", "DELETE_IN_PROGRESS"), ("Made", "DELETE_COMPLETE")]
    gone = stacks.delete("life")
    assert gone["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("fails", "Received response status [FAILED] from custom resource. Message returned: the index is broken"),
        ("raises", "no such genome"),
        ("dies", "exit"),
    ],
)
def test_what_goes_wrong_is_the_reason_at_once(stacks: Stacks, does: str, words: str) -> None:
    name = f"wrong-{does}"
    assert stacks.create(name, custom(Does=does), **MAY)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert words in stacks.reason(name, "Made", "CREATE_FAILED")


def test_one_that_does_not_answer_is_waited_for_as_long_as_it_says(stacks: Stacks) -> None:
    stack = stacks.create("silent", custom(Does="sleeps", ServiceTimeout=1), **MAY)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "did not receive a response from your Custom Resource" in stacks.reason("silent", "Made", "CREATE_FAILED")


def test_one_that_cannot_go_is_named(stacks: Stacks) -> None:
    stacks.create("stays", custom(AtTheEnd="fails"), **MAY)
    assert stacks.delete("stays")["StackStatus"] == "DELETE_FAILED"
    assert "the index is broken" in stacks.reason("stays", "Made", "DELETE_FAILED")
    gone = stacks.delete("stays", RetainResources=["Made"])
    assert gone["StackStatus"] == "DELETE_COMPLETE"


def test_topics_cannot_make_anything(stacks: Stacks) -> None:
    made = {"Type": "Custom::Thing", "Properties": {"ServiceToken": "arn:aws:sns:eu-west-1:123456789012:topic"}}
    try:
        assert stacks.create("topic", body({"Made": made}))["StackStatus"] == "ROLLBACK_COMPLETE"
        words = stacks.reason("topic", "Made", "CREATE_FAILED")
    except ClientError as error:
        words = str(error)
    assert "only ARNs of Lambda functions are served here" in words


# --- stacks within stacks ---


def inner(value: str = "one", *, fails: bool = False) -> str:
    resources = {"Note": note({"Fn::Join": ["-", [value, {"Fn::Select": [1, {"Ref": "Names"}]}]]})} | ({"Bad": broken()} if fails else {})
    shown = {"Out": {"Value": {"Fn::GetAtt": ["Note", "Value"]}}}
    return body(resources, Parameters={"Names": {"Type": "CommaDelimitedList"}}, Outputs=shown)


def outer(url: str) -> str:
    nested = {
        "Type": "AWS::CloudFormation::Stack",
        "Properties": {"TemplateURL": url, "Parameters": {"Names": "a, b"}, "TimeoutInMinutes": "5"},
    }
    return body({"Inner": nested}, Outputs={"Out": {"Value": {"Fn::GetAtt": ["Inner", "Outputs.Out"]}}})


def test_templates_are_found_under_every_form_of_url(stacks: Stacks, yard: Yard) -> None:
    yard.client("s3").put_object(Bucket="templates", Key="forms/inner.json", Body=inner().encode())
    forms = (
        "https://templates.s3.amazonaws.com/forms/inner.json",
        "https://templates.s3.eu-west-1.amazonaws.com/forms/inner.json",
        "https://s3.amazonaws.com/templates/forms/inner.json",
        "https://s3-eu-west-1.amazonaws.com/templates/forms/inner.json",
        f"{yard.url.rstrip('/')}/templates/forms/inner.json",
    )
    for number, url in enumerate(forms):
        stack = stacks.create(f"form-{number}", outer(url))
        assert stack["StackStatus"] == "CREATE_COMPLETE", (url, stacks.events(f"form-{number}"))
        assert outputs(stack) == {"Out": "one-b"}
    direct = stacks.client.create_stack(
        StackName="direct", TemplateURL=forms[0], Parameters=[{"ParameterKey": "Names", "ParameterValue": "x,y"}]
    )
    assert outputs(stacks.over(direct["StackId"])) == {"Out": "one-y"}


def test_a_change_inside_alone_is_an_update(stacks: Stacks, yard: Yard) -> None:
    s3, url = yard.client("s3"), "https://templates.s3.amazonaws.com/inside.json"
    s3.put_object(Bucket="templates", Key="inside.json", Body=inner().encode())
    stacks.create("inside", outer(url))
    s3.put_object(Bucket="templates", Key="inside.json", Body=inner("two").encode())
    stack = stacks.update("inside", outer(url))
    assert stack["StackStatus"] == "UPDATE_COMPLETE" and outputs(stack) == {"Out": "two-b"}
    arn = stacks.client.describe_stack_resource(StackName="inside", LogicalResourceId="Inner")["StackResourceDetail"]["PhysicalResourceId"]
    within = stacks.one(arn)
    assert within["ParentId"] == within["RootId"] == stack["StackId"] and within["TimeoutInMinutes"] == 5
    s3.put_object(Bucket="templates", Key="inside.json", Body=inner("three", fails=True).encode())
    stack = stacks.update("inside", outer(url))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE" and outputs(stack) == {"Out": "two-b"}
    assert "Bad" in stacks.reason("inside", "Inner", "UPDATE_FAILED")
    assert stacks.one(arn)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    stacks.delete("inside")
    assert stacks.one(arn)["StackStatus"] == "DELETE_COMPLETE"


def test_an_inner_failure_takes_all_back_and_is_named(stacks: Stacks, yard: Yard) -> None:
    yard.client("s3").put_object(Bucket="templates", Key="bad.json", Body=inner(fails=True).encode())
    assert stacks.create("bad", outer("https://templates.s3.amazonaws.com/bad.json"))["StackStatus"] == "ROLLBACK_COMPLETE"
    why = stacks.reason("bad", "Inner", "CREATE_FAILED")
    assert "was not successfully created" in why and "Bad" in why
    names = [entry["StackName"] for entry in stacks.client.describe_stacks()["Stacks"]]
    assert [name for name in names if name.startswith("bad-")] == []
    stack = stacks.create("nowhere", outer("https://templates.s3.amazonaws.com/nobody.json"))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE" and "S3 error" in stacks.reason("nowhere", "Inner", "CREATE_FAILED")
