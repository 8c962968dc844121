"""Rules with their targets, connections and API destinations as stacks make them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from stack_hands import ACCOUNT, REGION, Workbench
from yard_hands import standing, wanted

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import events
from batchyard.services.repeating import Step, current_step

RULE, CONNECTION, DESTINATION = events.TYPES
ROLE = f"arn:aws:iam::{ACCOUNT}:role/events"
QUEUE = f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/q"
GROUP = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/events"
JOB = {
    "Id": "job",
    "Arn": QUEUE,
    "RoleArn": ROLE,
    "BatchParameters": {"JobDefinition": "d", "JobName": "n", "RetryStrategy": {"Attempts": 2}},
}
LOG = {"Id": "log", "Arn": GROUP}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    made.desk.announcer = SimpleNamespace(refresh=lambda: None)
    yield made
    made.close()


async def test_a_rule_with_its_targets(bench: Workbench) -> None:
    hands = bench.hands
    properties: dict[str, Any] = {
        "Description": "failed jobs",
        "EventPattern": {"source": ["aws.batch"], "detail": {"status": ["FAILED"]}},
        "State": "ENABLED",
        "Targets": [LOG, JOB],
        "Tags": [{"Key": "a", "Value": "b"}],
    }
    asked = wanted(RULE, properties, name="stack-Rule", tags={"Team": "t"})
    current_step.set(Step("1" * 32, ACCOUNT, bench.sealer))
    made = await RULE.create(hands, asked)
    current_step.set(Step("1" * 32, ACCOUNT, bench.sealer))
    assert await RULE.create(hands, asked) == made
    current_step.set(None)
    arn = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/stack-Rule"
    assert (made.physical_id, made.attributes) == ("stack-Rule", {"Arn": arn, "RuleName": "stack-Rule"})
    with pytest.raises(Fault, match="'AWS::Events::Rule' with identifier 'stack-Rule' already exists"):
        await RULE.create(hands, asked)
    kept = standing(asked, made)
    read = await RULE.read(hands, kept)
    assert {name: read[name] for name in properties} == properties

    other = {"ScheduleExpression": "rate(5 minutes)", "State": "DISABLED", "Targets": [{**LOG, "Input": "{}"}], "EventBusName": "default"}
    changed = wanted(RULE, other)
    for _ in range(2):
        assert await RULE.update(hands, changed, kept) == made
    read = await RULE.read(hands, standing(changed, made))
    assert {name: read[name] for name in other} == other
    assert not {"EventPattern", "Description"} & set(read) and read["Tags"] == []
    await RULE.delete(hands, kept)
    await RULE.delete(hands, kept)
    assert await RULE.read(hands, kept) is None


@pytest.mark.parametrize(
    "properties",
    [
        {"EventPattern": {"source": ["a"]}, "Targets": [{"Id": "x", "Arn": "arn:aws:sns:eu-west-1:123456789012:topic"}]},
        {"EventPattern": {"source": ["a"]}, "Targets": [{**LOG, "EcsParameters": {"TagList": [], "TaskDefinitionArn": "x"}}]},
        {"EventPattern": {"source": ["a"]}, "Targets": [{**LOG, "Colour": "red"}]},
        {"EventPattern": {"source": ["a"]}, "EventBusName": "other"},
        {"ScheduleExpression": "never"},
    ],
)
async def test_a_refused_rule_is_not_left(bench: Workbench, properties: dict[str, Any]) -> None:
    with pytest.raises(Fault):
        await RULE.create(bench.hands, wanted(RULE, properties, name="refused"))
    assert (await bench.hands.call("events", "ListRules"))["Rules"] == []


async def test_a_connection_and_an_api_destination(bench: Workbench) -> None:
    hands = bench.hands
    parameters = {
        "ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "secret"},
        "InvocationHttpParameters": {"HeaderParameters": [{"Key": "X-More", "Value": "m", "IsValueSecret": False}]},
    }
    asked = wanted(CONNECTION, {"AuthorizationType": "API_KEY", "AuthParameters": parameters, "Description": "c"}, name="stack-Connection")
    current_step.set(Step("3" * 32, ACCOUNT, bench.sealer))
    made = await CONNECTION.create(hands, asked)
    current_step.set(Step("3" * 32, ACCOUNT, bench.sealer))
    assert await CONNECTION.create(hands, asked) == made
    current_step.set(None)
    with pytest.raises(Fault, match="'AWS::Events::Connection' with identifier 'stack-Connection' already exists"):
        await CONNECTION.create(hands, asked)
    connection = standing(asked, made)
    assert made.attributes["Arn"].startswith(f"{made.attributes['ArnForPolicy']}/")
    assert made.attributes["ArnForPolicy"].endswith(":connection/stack-Connection")
    read = await CONNECTION.read(hands, connection)
    assert read["Description"] == "c" and read["AuthParameters"]["ApiKeyAuthParameters"] == {"ApiKeyName": "X-Key"}
    assert (
        await CONNECTION.update(hands, wanted(CONNECTION, {"AuthorizationType": "API_KEY", "AuthParameters": parameters}), connection)
        == made
    )
    assert "Description" not in await CONNECTION.read(hands, connection)

    properties = {
        "ConnectionArn": made.attributes["Arn"],
        "HttpMethod": "POST",
        "InvocationEndpoint": "https://example.com/hook",
        "InvocationRateLimitPerSecond": 10,
    }
    asked = wanted(DESTINATION, properties, name="stack-Destination")
    there = await DESTINATION.create(hands, asked)
    kept = standing(asked, there)
    assert there.physical_id == "stack-Destination" and ":api-destination/stack-Destination/" in there.attributes["Arn"]
    read = await DESTINATION.read(hands, kept)
    assert {name: read[name] for name in properties} == properties
    target = {"Id": "web", "Arn": there.attributes["Arn"], "RoleArn": ROLE, "HttpParameters": {"HeaderParameters": {"X-A": "b"}}}
    rule = wanted(RULE, {"EventPattern": {"source": ["mine"]}, "Targets": [target]}, name="stack-Web")
    ruled = standing(rule, await RULE.create(hands, rule))
    assert (await RULE.read(hands, ruled))["Targets"] == [target]
    less = {name: value for name, value in properties.items() if name != "InvocationRateLimitPerSecond"}
    assert await DESTINATION.update(hands, wanted(DESTINATION, less), kept) == there
    assert (await DESTINATION.read(hands, kept))["InvocationRateLimitPerSecond"] == 300
    for type, one in ((RULE, ruled), (DESTINATION, kept), (CONNECTION, connection)):
        await type.delete(hands, one)
        await type.delete(hands, one)
        assert await type.read(hands, one) is None
