"""Log groups, streams, resource policies and saved queries as stacks make them."""

from __future__ import annotations

import pytest
from stack_hands import ACCOUNT, REGION, Workbench
from yard_hands import standing, wanted

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import logs
from batchyard.services.repeating import Step, current_step

GROUP, STREAM, POLICY, QUERY = logs.TYPES


async def test_a_log_group(bench: Workbench) -> None:
    hands = bench.hands
    statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "logs:PutLogEvents", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    properties = {
        "LogGroupName": "/jobs",
        "RetentionInDays": 30,
        "Tags": [{"Key": "a", "Value": "b"}],
        "DeletionProtectionEnabled": True,
        "ResourcePolicyDocument": document,
    }
    asked = wanted(GROUP, properties, tags={"Team": "t"})
    current_step.set(Step("1" * 32, ACCOUNT, bench.sealer))
    made = await GROUP.create(hands, asked)
    current_step.set(Step("1" * 32, ACCOUNT, bench.sealer))
    assert await GROUP.create(hands, asked) == made
    current_step.set(None)
    assert (made.physical_id, made.attributes) == ("/jobs", {"Arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/jobs:*"})
    with pytest.raises(Fault, match="'AWS::Logs::LogGroup' with identifier '/jobs' already exists"):
        await GROUP.create(hands, asked)
    kept = standing(asked, made)
    read = await GROUP.read(hands, kept)
    assert {name: read[name] for name in properties} == properties
    with pytest.raises(Fault, match="protected from deletion"):
        await GROUP.delete(hands, kept)

    plain = wanted(GROUP, {"LogGroupName": "/jobs"}, tags={"Team": "other"})
    assert await GROUP.update(hands, plain, kept) == made
    read = await GROUP.read(hands, standing(plain, made))
    assert "RetentionInDays" not in read and read["DeletionProtectionEnabled"] is False and read["Tags"] == []
    tags = await hands.call("logs", "ListTagsForResource", {"resourceArn": made.attributes["Arn"].removesuffix(":*")})
    assert tags["tags"] == {"Team": "other"}
    with pytest.raises(Fault, match="LogGroupClass of a log group cannot be changed"):
        await GROUP.update(hands, wanted(GROUP, {"LogGroupClass": "INFREQUENT_ACCESS"}), kept)
    refused = wanted(GROUP, {"LogGroupName": "/jobs", "LogGroupClass": "INFREQUENT_ACCESS"}, tags={"Team": "other"})
    assert await GROUP.update(hands, plain, standing(refused, made)) == made  # taken back
    await GROUP.delete(hands, kept)
    await GROUP.delete(hands, kept)
    assert await GROUP.read(hands, kept) is None


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"RetentionInDays": 2}, "retentionInDays"),
        ({"KmsKeyId": "key"}, "kmsKeyId"),
        ({"DataProtectionPolicy": {"Name": "x"}}, "Property DataProtectionPolicy of AWS::Logs::LogGroup"),
        ({"RetentionInDays": 2, "DeletionProtectionEnabled": True}, "retentionInDays"),
    ],
)
async def test_a_refused_group_is_not_left(bench: Workbench, properties: dict[str, object], words: str) -> None:
    with pytest.raises(Fault) as refused:
        await GROUP.create(bench.hands, wanted(GROUP, properties, name="refused"))
    assert words in refused.value.message
    assert (await bench.hands.call("logs", "DescribeLogGroups", {"logGroupNamePrefix": "refused"}))["logGroups"] == []


async def test_the_group_of_jobs_may_be_a_stacks_before_the_first_job(bench: Workbench) -> None:
    hands = bench.hands
    asked = wanted(GROUP, {"LogGroupName": "/aws/batch/job", "RetentionInDays": 30})
    made = await GROUP.create(hands, asked)
    kept = standing(asked, made)
    assert (await GROUP.read(hands, kept))["RetentionInDays"] == 30
    with pytest.raises(Fault, match="already exists"):
        await GROUP.create(hands, asked)
    await GROUP.delete(hands, kept)
    made = await GROUP.create(hands, wanted(GROUP, {"LogGroupName": "/aws/batch/job"}))
    await hands.call("logs", "CreateLogStream", {"logGroupName": "/aws/batch/job", "logStreamName": "job/default/1"})
    with pytest.raises(Fault, match="already exists"):
        await GROUP.create(hands, asked)


async def test_a_log_stream(bench: Workbench) -> None:
    hands = bench.hands
    await hands.call("logs", "CreateLogGroup", {"logGroupName": "/jobs"})
    asked = wanted(STREAM, {"LogGroupName": "/jobs"}, name="stack-Stream")
    made = await STREAM.create(hands, asked)
    assert (made.physical_id, made.ref) == ("/jobs|stack-Stream", "stack-Stream")
    with pytest.raises(Fault, match="already exists"):
        await STREAM.create(hands, asked)
    kept = standing(asked, made)
    assert await STREAM.read(hands, kept) == {"LogGroupName": "/jobs", "LogStreamName": "stack-Stream"}
    await STREAM.delete(hands, kept)
    await STREAM.delete(hands, kept)
    assert await STREAM.read(hands, kept) is None
    await hands.call("logs", "DeleteLogGroup", {"logGroupName": "/jobs"})
    await STREAM.delete(hands, kept)


async def test_a_resource_policy_and_a_saved_query(bench: Workbench) -> None:
    hands = bench.hands
    document = {"Version": "2012-10-17", "Statement": []}
    asked = wanted(POLICY, {"PolicyName": "events", "PolicyDocument": document})
    made = await POLICY.create(hands, asked)
    kept = standing(asked, made)
    assert made.physical_id == "events" and await POLICY.read(hands, kept) == asked.properties
    with pytest.raises(Fault, match="already exists"):
        await POLICY.create(hands, asked)
    await POLICY.delete(hands, kept)
    await POLICY.delete(hands, kept)
    assert await POLICY.read(hands, kept) is None

    asked = wanted(QUERY, {"Name": "errors", "QueryString": "fields @message", "LogGroupNames": ["/jobs"]})
    made = await QUERY.create(hands, asked)
    assert made.attributes == {"QueryDefinitionId": made.physical_id}
    kept = standing(asked, made)
    read = await QUERY.read(hands, kept)
    assert {name: read[name] for name in asked.properties} == asked.properties
    more = wanted(QUERY, {"Name": "all", "QueryString": "fields @message"})
    assert await QUERY.update(hands, more, kept) == made
    assert (await QUERY.read(hands, kept))["Name"] == "all"
    await QUERY.delete(hands, kept)
    await QUERY.delete(hands, kept)
    assert await QUERY.read(hands, kept) is None
