"""EventBridge over the wire: rules, their targets, events of one's own, and what a log group and a URL get to see."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from receiver import Receiver

from batchyard.services.announcing.listeners import Notice, Refused
from batchyard.services.announcing.webhooks import Call, call_all
from yard import Yard, serving, until

FINAL = {"source": ["aws.batch"], "detail-type": ["Batch Job State Change"], "detail": {"status": ["SUCCEEDED", "FAILED"]}}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("rules") / "data", "--vcpus", "2", "--memory-mib", "1024") as made:
        yield made.with_queue()


@pytest.fixture
def events(yard: Yard) -> Any:
    return yard.client("events")


def code_of(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**params)
    return str(refused.value.response["Error"]["Code"])


def log_group(yard: Yard, name: str) -> str:
    yard.client("logs").create_log_group(logGroupName=name)
    return f"arn:aws:logs:us-east-1:000000000000:log-group:{name}"


def messages(yard: Yard, group: str) -> list[str]:
    return [event["message"] for event in yard.client("logs").filter_log_events(logGroupName=group)["events"]]


def test_a_log_group_gets_the_ends_of_jobs(yard: Yard, events: Any) -> None:
    arn = log_group(yard, "/aws/events/ends")
    events.put_rule(Name="ends", EventPattern=json.dumps(FINAL), Description="ends of jobs")
    assert events.put_targets(Rule="ends", Targets=[{"Id": "1", "Arn": arn}])["FailedEntryCount"] == 0
    job_id = yard.submit(yard.definition_of("hello", "true"))
    yard.until(job_id)
    (text,) = until(lambda: messages(yard, "/aws/events/ends") or None, "the log event")
    assert json.loads(text)["detail"] == yard.job(job_id)
    events.disable_rule(Name="ends")
    assert events.describe_rule(Name="ends")["State"] == "DISABLED"


def test_a_url_gets_a_template_filled_in(yard: Yard, events: Any) -> None:
    receiver = Receiver()
    try:
        events.put_rule(Name="url", EventPattern=json.dumps({"source": ["mine"], "detail": {"n": [{"numeric": [">", 1]}]}}))
        template = {"InputPathsMap": {"n": "$.detail.n", "who": "$.detail.who"}, "InputTemplate": '{"n": <n>, "text": "of <who>"}'}
        events.put_targets(Rule="url", Targets=[{"Id": "hook", "Arn": receiver.url, "InputTransformer": template}])
        own = [{"Source": "mine", "DetailType": "t", "Detail": json.dumps({"n": n, "who": 'a "b"'})} for n in (1, 2)]
        answer = events.put_events(Entries=[*own, {"Source": "aws.batch", "DetailType": "t", "Detail": "{}"}])
        assert answer["FailedEntryCount"] == 1
        assert answer["Entries"][2]["ErrorCode"] == "NotAuthorizedForSourceException"
        until(lambda: receiver.requests or None, "the event")
        assert [json.loads(body) for _, body in receiver.requests] == [{"n": 2, "text": 'of a "b"'}]
        assert receiver.requests[0][0]["x-batchyard-event-id"] == answer["Entries"][1]["EventId"]
        removed = events.remove_targets(Rule="url", Ids=["hook", "other"])
        assert removed["FailedEntries"][0]["TargetId"] == "other"
        events.delete_rule(Name="url")
    finally:
        receiver.close()


def test_rules_and_targets_are_kept_and_listed(yard: Yard, events: Any) -> None:
    arn = events.put_rule(Name="kept", EventPattern=json.dumps(FINAL), State="DISABLED", Tags=[{"Key": "a", "Value": "1"}])["RuleArn"]
    target = {"Id": "logs", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:/x:*", "InputPath": "$.detail"}
    events.put_targets(Rule="kept", Targets=[target])
    yard.kill()
    yard.start()
    events = yard.client("events")
    assert [r["Arn"] for r in events.list_rules(NamePrefix="kept")["Rules"]] == [arn]
    assert events.list_targets_by_rule(Rule="kept")["Targets"] == [target]
    assert events.list_rule_names_by_target(TargetArn=target["Arn"])["RuleNames"] == ["kept"]
    events.tag_resource(ResourceARN=arn, Tags=[{"Key": "b", "Value": "2"}])
    events.untag_resource(ResourceARN=arn, TagKeys=["a"])
    assert events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    events.enable_rule(Name="kept")
    assert code_of(events.delete_rule, Name="kept") == "ValidationException"
    assert [bus["Name"] for bus in events.list_event_buses()["EventBuses"]] == ["default"]
    assert events.describe_event_bus()["Name"] == "default"


def test_what_is_not_there_is_refused(events: Any) -> None:
    pattern = json.dumps(FINAL)
    assert code_of(events.put_rule, Name="timer", ScheduleExpression="rate(1 minutes)") == "ValidationException"
    assert code_of(events.put_rule, Name="bad", EventPattern='{"a": "b"}') == "InvalidEventPatternException"
    assert code_of(events.put_rule, Name="bus", EventPattern=pattern, EventBusName="other") == "ResourceNotFoundException"
    events.put_rule(Name="queue", EventPattern=pattern)
    sqs = [{"Id": "1", "Arn": "arn:aws:sqs:us-east-1:000000000000:queue"}]
    assert code_of(events.put_targets, Rule="queue", Targets=sqs) == "ValidationException"
    assert code_of(events.put_targets, Rule="none", Targets=sqs) == "ResourceNotFoundException"
    assert code_of(events.describe_rule, Name="none") == "ResourceNotFoundException"
    assert code_of(events.create_event_bus, Name="other") == "UnsupportedOperationException"


@pytest.mark.parametrize(
    "url",
    ["http://h:99999/", "http://h:port/", "http://h:80:90/", "http://[::1", "http://a b/", "http://a/\x00", "http://user@h/", "http:///x"],
)
def test_a_url_that_cannot_be_sent_to_is_no_target(events: Any, url: str) -> None:
    events.put_rule(Name="urls", EventPattern=json.dumps(FINAL))
    assert code_of(events.put_targets, Rule="urls", Targets=[{"Id": "1", "Arn": url}]) == "ValidationException"


def test_a_url_that_cannot_be_sent_to_holds_up_nothing() -> None:
    with pytest.raises(Refused, match="no URL that can be sent to"):
        call_all("http://a b/", lambda notice: Call("POST", "/", {}, b""), (), [Notice("1", 1, "{}")])


@pytest.mark.parametrize(
    ("at_s", "is_taken"), [("-1", True), ("253402300799", True), ("253402300800", False), ("1e20", False), ("1e308", False)]
)
def test_the_time_of_an_event_is_one_that_can_be_written(yard: Yard, at_s: str, is_taken: bool) -> None:
    body = f'{{"Entries": [{{"Source": "mine", "DetailType": "t", "Detail": "{{}}", "Time": {at_s}}}]}}'
    headers = {"X-Amz-Target": "AWSEvents.PutEvents", "Content-Type": "application/x-amz-json-1.1"}
    request = AWSRequest("POST", yard.url, headers, body)
    place = yard.endpoint
    SigV4Auth(Credentials(place["access_key_id"], place["secret_access_key"]), "events", place["region"]).add_auth(request)
    connection = http.client.HTTPConnection(urlsplit(yard.url).netloc, timeout=60)
    connection.request("POST", "/", body, dict(request.headers))
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert (answer.status, told.get("__type")) == ((200, None) if is_taken else (400, "SerializationException")), told


def test_a_pattern_can_be_tried(events: Any) -> None:
    event = {"source": "s", "detail": {"name": "run-7", "n": 3, "list": ["a", "b"]}}
    for detail, expected in (
        ({"name": [{"prefix": "run"}]}, True),
        ({"name": [{"suffix": "8"}]}, False),
        ({"name": [{"wildcard": "r*-7"}]}, True),
        ({"name": [{"anything-but": ["run-7"]}]}, False),
        ({"list": ["b"], "n": [{"numeric": [">", 2, "<=", 3]}]}, True),
        ({"none": [{"exists": False}]}, True),
        ({"$or": [{"n": [9]}, {"name": [{"equals-ignore-case": "RUN-7"}]}]}, True),
    ):
        answer = events.test_event_pattern(EventPattern=json.dumps({"detail": detail}), Event=json.dumps(event))
        assert answer["Result"] is expected, detail
