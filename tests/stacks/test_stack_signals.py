"""Stacks that wait for word from outside, and stack policies, over the wire."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from stack_client import Stacks, body, note
from stack_world import World, template

from yard import Yard

HANDLE = {"Type": "AWS::CloudFormation::WaitConditionHandle"}


@pytest.fixture(scope="module")
def stacks(yard: Yard) -> Stacks:
    return Stacks(yard)


def put(url: str, said: Any) -> int:
    """What curl does: no credentials, no content type that S3 would have signed."""
    content = said if isinstance(said, bytes) else json.dumps(said).encode()
    request = urllib.request.Request(url, content, {"Content-Type": ""}, method="PUT")
    with urllib.request.urlopen(request, timeout=90) as answer:
        return int(answer.status)


def waiting(stacks: Stacks, name: str, count: int = 1, **options: Any) -> str:
    """A stack that waits; the URL that it waits at."""
    wait = {"Type": "AWS::CloudFormation::WaitCondition", "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "120", "Count": count}}
    outputs = {"Said": {"Value": {"Fn::GetAtt": ["Wait", "Data"]}}, "Url": {"Value": {"Ref": "Handle"}}}
    stacks.client.create_stack(StackName=name, TemplateBody=body({"Handle": HANDLE, "Wait": wait}, Outputs=outputs), **options)
    stacks.under_way(name, "Wait", "CREATE_IN_PROGRESS")
    resource = stacks.client.describe_stack_resource(StackName=name, LogicalResourceId="Handle")["StackResourceDetail"]
    return str(resource["PhysicalResourceId"])


def test_a_condition_waits_for_as_many_signals_as_it_counts(stacks: Stacks) -> None:
    url = waiting(stacks, "counts", 2)
    assert put(url, {"Status": "SUCCESS", "UniqueId": "a", "Data": "one", "Reason": "r"}) == 200
    assert put(url, {"Status": "SUCCESS", "UniqueId": "a", "Data": "again", "Reason": "r"}) == 200
    assert stacks.one("counts")["StackStatus"] == "CREATE_IN_PROGRESS"
    assert put(url, {"Status": "SUCCESS", "UniqueId": "b", "Data": "two", "Reason": "r"}) == 200
    stack = stacks.over("counts")
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    said = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert json.loads(said["Said"]) == {"a": "one", "b": "two"} and said["Url"] == url
    stacks.delete("counts")


def test_a_signal_of_failure_ends_the_stack_with_its_reason(stacks: Stacks) -> None:
    url = waiting(stacks, "unhappy")
    put(url, {"Status": "FAILURE", "UniqueId": "a", "Reason": "no disk"})
    assert stacks.over("unhappy")["StackStatus"] == "ROLLBACK_COMPLETE"
    assert stacks.reason("unhappy", "Wait", "CREATE_FAILED") == "WaitCondition received failed message: 'no disk' for uniqueId: a"


def test_only_the_url_that_was_given_out_is_answered(stacks: Stacks) -> None:
    url = waiting(stacks, "strict")
    other = url[:-4] + ("1111" if url.endswith("0000") else "0000")
    for wrong, said in ((other, {"Status": "SUCCESS"}), (url, b"no json"), (url, {"Status": "PERHAPS"})):
        with pytest.raises(urllib.error.HTTPError) as refused:
            put(wrong, said)
        assert refused.value.code in (400, 403)
        refused.value.close()
    assert stacks.one("strict")["StackStatus"] == "CREATE_IN_PROGRESS"
    put(url, {"Status": "SUCCESS", "UniqueId": "a"})
    assert stacks.over("strict")["StackStatus"] == "CREATE_COMPLETE"


def test_resources_are_signalled_by_name(stacks: Stacks) -> None:
    policy = {"ResourceSignal": {"Count": 2, "Timeout": "PT2M"}}
    resources = {"Wait": {"Type": "AWS::CloudFormation::WaitCondition", "CreationPolicy": policy}, "One": note()}
    stacks.client.create_stack(StackName="by-name", TemplateBody=body(resources))
    stacks.under_way("by-name", "Wait", "CREATE_IN_PROGRESS")
    for unique in ("i-1", "i-2"):
        stacks.client.signal_resource(StackName="by-name", LogicalResourceId="Wait", UniqueId=unique, Status="SUCCESS")
    assert stacks.over("by-name")["StackStatus"] == "CREATE_COMPLETE"
    with pytest.raises(ClientError, match="can not be signaled"):
        stacks.client.signal_resource(StackName="by-name", LogicalResourceId="Wait", UniqueId="i-3", Status="SUCCESS")
    with pytest.raises(ClientError, match="Resource Nobody does not exist for stack by-name"):
        stacks.client.signal_resource(StackName="by-name", LogicalResourceId="Nobody", UniqueId="i-3", Status="SUCCESS")
    stacks.client.create_stack(StackName="by-bad-name", TemplateBody=body(resources))
    stacks.under_way("by-bad-name", "Wait", "CREATE_IN_PROGRESS")
    stacks.client.signal_resource(StackName="by-bad-name", LogicalResourceId="Wait", UniqueId="i-1", Status="FAILURE")
    assert stacks.over("by-bad-name")["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "i-1" in stacks.reason("by-bad-name", "Wait", "CREATE_FAILED")


def test_a_condition_that_hears_nothing_times_out(stacks: Stacks) -> None:
    wait = {"Type": "AWS::CloudFormation::WaitCondition", "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "1"}}
    assert stacks.create("silent", body({"Handle": HANDLE, "Wait": wait}))["StackStatus"] == "ROLLBACK_COMPLETE"
    assert stacks.reason("silent", "Wait", "CREATE_FAILED") == "WaitCondition timed out. Received 0 conditions when expecting 1"


def test_a_stack_waits_on_across_a_kill(stacks: Stacks, yard: Yard) -> None:
    url = waiting(stacks, "killed", 2)
    put(url, {"Status": "SUCCESS", "UniqueId": "a"})
    yard.kill()
    yard.start()
    stacks.client = yard.client("cloudformation")
    assert stacks.one("killed")["StackStatus"] == "CREATE_IN_PROGRESS"
    again = stacks.client.describe_stack_resource(StackName="killed", LogicalResourceId="Handle")["StackResourceDetail"][
        "PhysicalResourceId"
    ]
    path = again.partition("/_cloudformation")[2]
    put(f"{yard.url.rstrip('/')}/_cloudformation{path}", {"Status": "SUCCESS", "UniqueId": "b"})
    assert stacks.over("killed")["StackStatus"] == "CREATE_COMPLETE"


async def test_a_stack_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    world = World(tmp_path)
    now = {"ms": 1_700_000_000_000}
    world.desk.now_ms = lambda: now["ms"]
    wait = {"Type": "AWS::CloudFormation::WaitCondition", "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "600"}}
    await world.ask("CreateStack", StackName="late", TemplateBody=template({"Handle": HANDLE, "Wait": wait}), TimeoutInMinutes=2)
    stack = await world.stack("late")
    assert stack is not None and (stack["StackStatus"], stack["TimeoutInMinutes"]) == ("CREATE_IN_PROGRESS", 2)
    now["ms"] += 121_000
    await world.desk.stacks.ended(stack["StackId"].rpartition("/")[2], 90)
    assert (await world.stack("late") or {})["StackStatus"] == "ROLLBACK_COMPLETE"
    events = (await world.ask("DescribeStackEvents", StackName="late"))["StackEvents"]
    assert "Stack creation time exceeded the specified timeout" in str([event.get("ResourceStatusReason") for event in events])
    await world.leave()


def test_a_policy_says_what_an_update_may_do(stacks: Stacks) -> None:
    def named(value: str, name: str = "policy-one", **more: Any) -> str:
        one = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": value, "Name": name}}
        return body({"One": one, "Two": note(value), **more})

    deny = {"Effect": "Deny", "Action": "Update:Replace", "Principal": "*", "Resource": "LogicalResourceId/One"}
    allow = {"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"}
    stacks.create("guarded", named("a"), StackPolicyBody=json.dumps({"Statement": [deny, allow]}))
    assert json.loads(stacks.client.get_stack_policy(StackName="guarded")["StackPolicyBody"])["Statement"][0] == deny
    assert stacks.update("guarded", named("b"))["StackStatus"] == "UPDATE_COMPLETE"
    assert stacks.update("guarded", named("b", "policy-other"))["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    words = "Action denied by stack policy: Statement [#1] does not allow [Update:Replace] for resource [LogicalResourceId/One]"
    assert stacks.reason("guarded", "One", "UPDATE_FAILED") == words
    free = json.dumps({"Statement": [allow]})
    assert stacks.update("guarded", named("b", "policy-other"), StackPolicyDuringUpdateBody=free)["StackStatus"] == "UPDATE_COMPLETE"
    types = {**deny, "Action": "Update:Delete", "Resource": "*", "Condition": {"StringLike": {"ResourceType": ["AWS::SSM::*"]}}}
    stacks.client.set_stack_policy(StackName="guarded", StackPolicyBody=json.dumps({"Statement": [allow, types]}))
    stack = stacks.update("guarded", body({"One": note("c")}))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "[Update:Delete] for resource [LogicalResourceId/Two]" in str(stacks.events("guarded"))
    modify = {**allow, "Resource": "LogicalResourceId/Two"}
    stacks.client.set_stack_policy(StackName="guarded", StackPolicyBody=json.dumps({"Statement": [modify]}))
    assert stacks.update("guarded", named("d", "policy-other"))["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "Action not allowed by stack policy" in stacks.reason("guarded", "One", "UPDATE_FAILED")
    for wrong in (
        "no json",
        "{}",
        json.dumps({"Statement": [{**allow, "Action": "s3:*"}]}),
        json.dumps({"Statement": [{"Effect": "Allow"}]}),
    ):
        with pytest.raises(ClientError, match="Error validating stack policy"):
            stacks.client.set_stack_policy(StackName="guarded", StackPolicyBody=wrong)
    assert stacks.delete("guarded")["StackStatus"] == "DELETE_COMPLETE"
