"""The rules of each operation: what must be given, what is refused and in which words, what is answered."""

from __future__ import annotations

import os
from typing import Any

import botocore.session
import pytest
from logs_yard import CALLER, NOW_MS, Yard

from batchyard.model.fault import Fault
from batchyard.services import Caller, logs, sts
from batchyard.services.logs.events import BATCH_BYTES_MAX
from batchyard.services.logs.groups import RETENTION_DAYS
from batchyard.store.logs import frame, open_segment

GROUP = "/aws/batch/job"
ARN = f"arn:aws:logs:eu-west-1:123456789012:log-group:{GROUP}"
HOUR = 3_600_000
DAY = 24 * HOUR


async def refused(yard: Yard, operation: str, **params: Any) -> tuple[str, str]:
    with pytest.raises(Fault) as fault:
        await yard.call(operation, **params)
    return fault.value.code, fault.value.message


@pytest.mark.parametrize(("name", "service"), [("logs", logs), ("sts", sts)])
def test_every_operation_of_the_model_is_served_or_listed(name: str, service: Any) -> None:
    model = set(botocore.session.get_session().get_service_model(name).operation_names)
    assert set(service.OPERATIONS) | set(service.NOT_YET) == model
    assert not set(service.OPERATIONS) & set(service.NOT_YET)
    assert all(service.NOT_YET.values())


async def test_the_caller_learns_who_it_is() -> None:
    assert await sts.OPERATIONS["GetCallerIdentity"](None, CALLER, {}) == {
        "UserId": "123456789012",
        "Account": "123456789012",
        "Arn": "arn:aws:iam::123456789012:root",
    }


# --- groups ---


async def test_the_group_of_batch_is_there_by_itself(yard: Yard) -> None:
    groups = (await yard.call("DescribeLogGroups"))["logGroups"]
    assert groups == [
        {
            "logGroupName": GROUP,
            "creationTime": NOW_MS,
            "arn": f"{ARN}:*",
            "logGroupArn": ARN,
            "metricFilterCount": 0,
            "storedBytes": 0,
            "logGroupClass": "STANDARD",
            "deletionProtectionEnabled": False,
        }
    ]
    assert (await yard.call("DescribeLogStreams", logGroupName=GROUP))["logStreams"] == []
    assert (await refused(yard, "CreateLogGroup", logGroupName=GROUP))[0] == "ResourceAlreadyExistsException"


async def test_a_group_comes_and_goes(yard: Yard) -> None:
    await yard.call("CreateLogGroup", logGroupName="mine", tags={"a": "b"}, logGroupClass="INFREQUENT_ACCESS")
    group = (await yard.call("DescribeLogGroups", logGroupNamePrefix="m"))["logGroups"][0]
    assert (group["logGroupName"], group["creationTime"], group["logGroupClass"]) == ("mine", NOW_MS, "INFREQUENT_ACCESS")
    assert await refused(yard, "CreateLogGroup", logGroupName="mine") == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    await yard.call("CreateLogStream", logGroupName="mine", logStreamName="s")
    await yard.call("DeleteLogGroup", logGroupName="mine")
    assert await refused(yard, "DeleteLogGroup", logGroupName="mine") == (
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )
    await yard.call("CreateLogGroup", logGroupName="mine")
    assert (await yard.call("DescribeLogStreams", logGroupName="mine"))["logStreams"] == []


async def test_the_group_of_batch_can_be_deleted_and_comes_back_with_the_next_job(yard: Yard) -> None:
    yard.write("old", [(NOW_MS, b"x")])
    await yard.call("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=7)
    await yard.call("DeleteLogGroup", logGroupName=GROUP)
    assert (await yard.call("DescribeLogGroups"))["logGroups"] == []
    assert (await refused(yard, "DescribeLogStreams", logGroupName=GROUP))[0] == "ResourceNotFoundException"
    yard.now_ms += 5
    yard.write("new", [(NOW_MS, b"x")])
    group = (await yard.call("DescribeLogGroups"))["logGroups"][0]
    assert group["creationTime"] == NOW_MS + 5 and "retentionInDays" not in group
    assert [s["logStreamName"] for s in (await yard.call("DescribeLogStreams", logGroupName=GROUP))["logStreams"]] == ["new"]
    await yard.call("DeleteLogGroup", logGroupName=GROUP)
    await yard.call("CreateLogGroup", logGroupName=GROUP)
    assert len((await yard.call("DescribeLogGroups"))["logGroups"]) == 1


async def test_a_node_makes_the_group_that_a_job_names(yard: Yard) -> None:
    for name in ("my/own", "L" * 512):
        yard.write("stream", [(NOW_MS, b"x")], group=name)
        group = (await yard.call("DescribeLogGroups", logGroupNamePrefix=name))["logGroups"][0]
        assert group["logGroupName"] == name and group["creationTime"] == NOW_MS and group["storedBytes"] > 0
        assert (await refused(yard, "CreateLogGroup", logGroupName=name))[0] == "ResourceAlreadyExistsException"
        await yard.call("PutRetentionPolicy", logGroupName=name, retentionInDays=30)
        await yard.call("DeleteLogGroup", logGroupName=name)
        assert (await yard.call("DescribeLogGroups", logGroupNamePrefix=name))["logGroups"] == []


async def test_a_group_without_its_note_is_still_a_group(yard: Yard) -> None:
    yard.write("stream", [(NOW_MS, b"x")], group="my")
    (yard.root / "123456789012" / "eu-west-1" / "my" / "about.json").write_text("")
    assert [g["logGroupName"] for g in (await yard.call("DescribeLogGroups"))["logGroups"]] == [GROUP, "my"]
    assert (await yard.call("GetLogEvents", logGroupName="my", logStreamName="stream"))["events"][0]["message"] == "x"


async def test_groups_of_other_accounts_and_regions_are_not_seen(yard: Yard) -> None:
    await yard.call("CreateLogGroup", logGroupName="mine")
    yard.write("stream", [(NOW_MS, b"x")], group="job")
    for account, region in (("123456789012", "us-east-1"), ("210987654321", "eu-west-1")):
        other = Caller(account, region, "AKIA", "arn", "id", "request")
        groups = (await yard.call("DescribeLogGroups", caller=other))["logGroups"]
        assert [group["logGroupName"] for group in groups] == [GROUP]


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"logGroupName": "aws/mine"}, "InvalidParameterException", "Log groups starting with AWS/ are reserved for AWS."),
        ({"logGroupName": "m", "kmsKeyId": "k"}, "InvalidParameterException", "kmsKeyId"),
        ({"logGroupName": "m", "logGroupClass": "DELIVERY"}, "InvalidParameterException", "logGroupClass"),
        ({"logGroupName": "m", "tags": {"aws:x": ""}}, "InvalidParameterException", "aws:x"),
    ],
)
async def test_groups_that_cannot_be(yard: Yard, params: dict[str, Any], code: str, words: str) -> None:
    found, message = await refused(yard, "CreateLogGroup", **params)
    assert found == code and words in message


async def test_groups_are_filtered(yard: Yard) -> None:
    for name in ("ab", "abc", "xab", "b"):
        await yard.call("CreateLogGroup", logGroupName=name, logGroupClass="STANDARD" if name != "b" else "INFREQUENT_ACCESS")

    async def names(**params: Any) -> list[str]:
        return [group["logGroupName"] for group in (await yard.call("DescribeLogGroups", **params))["logGroups"]]

    assert await names(logGroupNamePrefix="ab") == ["ab", "abc"]
    assert await names(logGroupNamePattern="ab") == ["ab", "abc", "xab"]
    assert await names(logGroupClass="INFREQUENT_ACCESS") == ["b"]
    assert await names(logGroupIdentifiers=["b", ARN, "nothing"]) == [GROUP, "b"]
    assert await names(includeLinkedAccounts=True, accountIdentifiers=["210987654321"]) == []
    brief = (await yard.call("DescribeLogGroups", logGroupNamePattern="x"))["logGroups"][0]
    assert sorted(brief) == ["arn", "creationTime", "logGroupName"]
    for params in ({"logGroupNamePrefix": "a", "logGroupNamePattern": "b"}, {"logGroupNamePrefix": "a", "logGroupIdentifiers": ["b"]}):
        assert (await refused(yard, "DescribeLogGroups", **params))[0] == "InvalidParameterException"


async def test_retention_takes_only_the_days_that_aws_takes(yard: Yard) -> None:
    for days in RETENTION_DAYS:
        await yard.call("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=days)
        assert (await yard.call("DescribeLogGroups"))["logGroups"][0]["retentionInDays"] == days
    for days in (0, 2, -1, 10_000):
        code, message = await refused(yard, "PutRetentionPolicy", logGroupName=GROUP, retentionInDays=days)
        assert code == "InvalidParameterException" and "3653" in message
    await yard.call("DeleteRetentionPolicy", logGroupName=GROUP)
    assert "retentionInDays" not in (await yard.call("DescribeLogGroups"))["logGroups"][0]
    for operation, params in (("PutRetentionPolicy", {"retentionInDays": 1}), ("DeleteRetentionPolicy", {})):
        assert (await refused(yard, operation, logGroupName="none", **params))[0] == "ResourceNotFoundException"


async def test_a_protected_group_stays(yard: Yard) -> None:
    await yard.call("CreateLogGroup", logGroupName="mine", deletionProtectionEnabled=True)
    assert (await refused(yard, "DeleteLogGroup", logGroupName="mine"))[0] == "ValidationException"
    await yard.call("PutLogGroupDeletionProtection", logGroupIdentifier=ARN.replace(GROUP, "mine"), deletionProtectionEnabled=False)
    await yard.call("DeleteLogGroup", logGroupName="mine")


async def test_tags(yard: Yard) -> None:
    await yard.call("TagResource", resourceArn=ARN, tags={"a": "1", "b": "2"})
    await yard.call("TagLogGroup", logGroupName=GROUP, tags={"b": "3", "c": ""})
    assert await yard.call("ListTagsForResource", resourceArn=f"{ARN}:*") == {"tags": {"a": "1", "b": "3", "c": ""}}
    await yard.call("UntagResource", resourceArn=ARN, tagKeys=["a", "nothing"])
    await yard.call("UntagLogGroup", logGroupName=GROUP, tags=["c"])
    assert await yard.call("ListTagsLogGroup", logGroupName=GROUP) == {"tags": {"b": "3"}}
    many = {str(number): "" for number in range(50)}
    assert (await refused(yard, "TagResource", resourceArn=ARN, tags=many))[0] == "TooManyTagsException"
    assert (await refused(yard, "TagResource", resourceArn=ARN, tags={"AWS:x": ""}))[0] == "InvalidParameterException"
    assert (await refused(yard, "TagResource", resourceArn="arn:aws:logs:eu-west-1:1:destination:x", tags={"a": "b"}))[0] == (
        "InvalidParameterException"
    )
    for arn in (f"{ARN}x", ARN.replace("eu-west-1", "us-east-1")):
        assert (await refused(yard, "ListTagsForResource", resourceArn=arn))[0] == "ResourceNotFoundException"
        assert (await refused(yard, "TagResource", resourceArn=arn, tags={"a": "b"}))[0] == "ResourceNotFoundException"
        assert (await refused(yard, "UntagResource", resourceArn=arn, tagKeys=["a"]))[0] == "ResourceNotFoundException"


# --- streams ---


async def test_a_stream_comes_and_goes(yard: Yard) -> None:
    asked = {"logGroupName": GROUP, "logStreamName": "s/1"}
    await yard.call("CreateLogStream", **asked)
    assert await refused(yard, "CreateLogStream", **asked) == ("ResourceAlreadyExistsException", "The specified log stream already exists")
    assert (await yard.call("DescribeLogStreams", logGroupName=GROUP))["logStreams"] == [
        {
            "logStreamName": "s/1",
            "creationTime": NOW_MS,
            "arn": f"{ARN}:log-stream:s/1",
            "storedBytes": 0,
            "uploadSequenceToken": "0" * 56,
        }
    ]
    await yard.call("PutLogEvents", **asked, logEvents=[{"timestamp": NOW_MS - 3, "message": "m"}])
    shown = (await yard.call("DescribeLogStreams", logGroupIdentifier=ARN))["logStreams"][0]
    assert (shown["firstEventTimestamp"], shown["lastEventTimestamp"], shown["lastIngestionTime"]) == (NOW_MS - 3, NOW_MS - 3, NOW_MS)
    await yard.call("DeleteLogStream", **asked)
    assert await refused(yard, "DeleteLogStream", **asked) == ("ResourceNotFoundException", "The specified log stream does not exist.")
    await yard.call("CreateLogStream", **asked)
    assert (await yard.call("GetLogEvents", **asked))["events"] == []


async def test_a_job_stream_is_a_stream_like_others(yard: Yard) -> None:
    asked = {"logGroupName": GROUP, "logStreamName": "def/default/0123"}
    yard.write("def/default/0123", [(NOW_MS, b"one"), (NOW_MS + 1, b"three")])
    assert (await refused(yard, "CreateLogStream", **asked))[0] == "ResourceAlreadyExistsException"
    await yard.call("PutLogEvents", **asked, logEvents=[{"timestamp": NOW_MS, "message": "two"}])
    events = (await yard.call("GetLogEvents", **asked, startFromHead=True))["events"]
    assert [event["message"] for event in events] == ["one", "two", "three"]
    await yard.call("DeleteLogStream", **asked)
    assert (await refused(yard, "GetLogEvents", **asked))[0] == "ResourceNotFoundException"


async def test_streams_are_not_ordered_by_time_within_a_prefix(yard: Yard) -> None:
    asked = {"logGroupName": GROUP, "orderBy": "LastEventTime", "logStreamNamePrefix": "a"}
    assert await refused(yard, "DescribeLogStreams", **asked) == (
        "InvalidParameterException",
        "Cannot order by LastEventTime with a logStreamNamePrefix.",
    )
    assert (await refused(yard, "DescribeLogStreams", logGroupName=GROUP, orderBy="Size"))[0] == "InvalidParameterException"


@pytest.mark.parametrize("operation", ["DescribeLogStreams", "GetLogEvents", "FilterLogEvents"])
async def test_the_group_is_named_in_one_way(yard: Yard, operation: str) -> None:
    stream = {"logStreamName": "s"} if operation == "GetLogEvents" else {}
    for params in ({}, {"logGroupName": GROUP, "logGroupIdentifier": ARN}):
        assert (await refused(yard, operation, **params, **stream))[0] == "InvalidParameterException"
    for params in ({"logGroupName": "no"}, {"logGroupIdentifier": "no"}, {"logGroupIdentifier": f"{ARN}no"}):
        assert await refused(yard, operation, **params, **stream) == (
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        )
    yard.write("s", [])
    for params in ({"logGroupName": GROUP}, {"logGroupIdentifier": GROUP}, {"logGroupIdentifier": ARN}, {"logGroupIdentifier": ARN + ":*"}):
        await yard.call(operation, **params, **stream)


# --- events ---


async def put(yard: Yard, *events: tuple[int, str]) -> Any:
    yard.logs.create_stream(("123456789012", "eu-west-1"), GROUP, "s")
    sent = [{"timestamp": timestamp_ms, "message": message} for timestamp_ms, message in events]
    return await yard.call("PutLogEvents", logGroupName=GROUP, logStreamName="s", logEvents=sent)


async def messages(yard: Yard, **params: Any) -> list[str]:
    asked = {"logGroupName": GROUP, "logStreamName": "s", "startFromHead": True, **params}
    return [event["message"] for event in (await yard.call("GetLogEvents", **asked))["events"]]


async def test_events_out_of_time_are_rejected_and_the_others_taken(yard: Yard) -> None:
    times = [NOW_MS - 15 * DAY, NOW_MS - 14 * DAY - 1, NOW_MS - HOUR, NOW_MS, NOW_MS + 2 * HOUR, NOW_MS + 2 * HOUR + 1]
    answer = await put(yard, *((time, str(number)) for number, time in enumerate(times)))
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 2, "tooNewLogEventStartIndex": 5}
    assert await messages(yard) == ["2", "3", "4"]
    await yard.call("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=3)
    answer = await put(yard, (NOW_MS - 15 * DAY, "a"), (NOW_MS - 3 * DAY - 1, "b"), (NOW_MS - 3 * DAY, "c"))
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2}
    assert await messages(yard) == ["c", "2", "3", "4"]
    for timestamp_ms in (0, NOW_MS + DAY):
        assert (await put(yard, (timestamp_ms, "x")))["rejectedLogEventsInfo"]
    assert await messages(yard) == ["c", "2", "3", "4"]


async def test_batches_that_are_refused_whole(yard: Yard) -> None:
    async def why(*events: tuple[int, str]) -> str:
        with pytest.raises(Fault) as fault:
            await put(yard, *events)
        assert fault.value.code == "InvalidParameterException"
        return fault.value.message

    assert await why((NOW_MS, "a"), (NOW_MS - 1, "b")) == ("Log events in a single PutLogEvents request must be in chronological order.")
    assert await why((NOW_MS - DAY - 1, "a"), (NOW_MS, "b")) == (
        "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
    )
    fits = "ä" * ((BATCH_BYTES_MAX - 52) // 4)
    assert await why((NOW_MS, fits), (NOW_MS, fits + "x")) == "Upload too large: 1048577 bytes exceeds limit of 1048576"
    assert "10000" in await why(*[(NOW_MS, "a")] * 10_001)
    assert await messages(yard) == []
    assert "rejectedLogEventsInfo" not in await put(yard, (NOW_MS, fits), (NOW_MS, fits))
    await put(yard, *[(NOW_MS, "a")] * 10_000)
    await put(yard, (NOW_MS - 30 * DAY, "old"), (NOW_MS - DAY, "a"), (NOW_MS, "b"), (NOW_MS + 3 * HOUR, "new"))


async def test_events_go_only_where_there_is_a_stream(yard: Yard) -> None:
    events = [{"timestamp": NOW_MS, "message": "m"}]
    assert (await refused(yard, "PutLogEvents", logGroupName="no", logStreamName="s", logEvents=events))[1] == (
        "The specified log group does not exist."
    )
    assert (await refused(yard, "PutLogEvents", logGroupName=GROUP, logStreamName="s", logEvents=events))[1] == (
        "The specified log stream does not exist."
    )


async def test_what_was_put_is_there_after_a_restart(yard: Yard) -> None:
    await yard.call("CreateLogGroup", logGroupName="mine", tags={"a": "b"})
    first = await put(yard, (NOW_MS, "one"), (NOW_MS, "two"))
    again = Yard(yard.root)
    again.now_ms += DAY
    assert await messages(again) == ["one", "two"]
    assert (await again.call("ListTagsLogGroup", logGroupName="mine")) == {"tags": {"a": "b"}}
    assert (await again.call("DescribeLogGroups"))["logGroups"][0]["creationTime"] == NOW_MS
    assert int(first["nextSequenceToken"]) == 2
    again.logs.close()


async def test_a_live_stream_is_followed(yard: Yard) -> None:
    descriptor = open_segment(yard.root, CALLER.account, CALLER.region, GROUP, "s", NOW_MS)
    asked = {"logGroupName": GROUP, "logStreamName": "s", "startFromHead": True}
    token, seen = None, []
    for number in range(6):
        page = await yard.call("GetLogEvents", **asked, **({"nextToken": token} if token else {}))
        seen += [event["message"] for event in page["events"]]
        assert seen == [str(known) for known in range(number)]
        idle = await yard.call("GetLogEvents", **asked, nextToken=page["nextForwardToken"])
        assert idle["events"] == [] and idle["nextForwardToken"] == page["nextForwardToken"]
        token = page["nextForwardToken"]
        line = frame(NOW_MS + number, str(number).encode())
        os.write(descriptor, line[:10])
        assert (await yard.call("GetLogEvents", **asked, nextToken=token))["nextForwardToken"] == token
        os.write(descriptor, line[10:])
    os.close(descriptor)


async def test_any_bytes_of_a_job_can_be_shown(yard: Yard) -> None:
    yard.write("s", [(NOW_MS, b"\xff\xfe ok \x00\x1b[31m"), (NOW_MS, "ü".encode())])
    assert await messages(yard) == ["\ufffd\ufffd ok \x00\x1b[31m", "ü"]


async def test_a_page_holds_a_mebibyte(yard: Yard) -> None:
    yard.write("s", [(NOW_MS, b"x" * 300_000)] * 7)
    yard.write("t", [(NOW_MS, b"x" * 1_048_550)] * 2)
    assert len(await messages(yard)) == 3
    assert len(await messages(yard, startFromHead=False)) == 3
    assert len(await messages(yard, logStreamName="t")) == 1
    page = await yard.call("FilterLogEvents", logGroupName=GROUP)
    assert len(page["events"]) == 3 and page["nextToken"]
    total = len(page["events"])
    while "nextToken" in page:
        page = await yard.call("FilterLogEvents", logGroupName=GROUP, nextToken=page["nextToken"])
        total += len(page["events"])
    assert total == 9


async def test_tokens_that_were_not_given_out_are_refused(yard: Yard) -> None:
    for stream in ("s", "t"):
        yard.write(stream, [(NOW_MS, b"one"), (NOW_MS, b"two")])
    asked = {"logGroupName": GROUP, "logStreamName": "s"}
    other = await yard.call("GetLogEvents", logGroupName=GROUP, logStreamName="t")
    search = await yard.call("FilterLogEvents", logGroupName=GROUP, limit=1)
    for token in (
        "x",
        "f/",
        "f/x",
        "f/é",
        "b/WzFd",
        "f/" + "A" * 4000,
        other["nextForwardToken"],
        search["nextToken"],
        "x/" + other["nextForwardToken"],
    ):
        assert await refused(yard, "GetLogEvents", **asked, nextToken=token) == (
            "InvalidParameterException",
            "The specified nextToken is invalid.",
        )
        for operation in ("FilterLogEvents", "DescribeLogStreams"):
            if token != search["nextToken"]:
                assert (await refused(yard, operation, logGroupName=GROUP, nextToken=token))[0] == "InvalidParameterException"
        assert (await refused(yard, "DescribeLogGroups", nextToken=token))[0] == "InvalidParameterException"


async def test_a_search_says_what_is_wrong(yard: Yard) -> None:
    yard.write("s", [(NOW_MS, b"one")])
    both = {"logStreamNames": ["s"], "logStreamNamePrefix": "s"}
    assert (await refused(yard, "FilterLogEvents", logGroupName=GROUP, **both))[0] == "InvalidParameterException"
    assert (await refused(yard, "FilterLogEvents", logGroupName=GROUP, logStreamNames=["s", "no"]))[1] == (
        "The specified log stream does not exist."
    )
    for start in ({}, {"startTime": 1}):
        assert (await refused(yard, "FilterLogEvents", logGroupName=GROUP, startFromHead=False, **start))[0] == (
            "InvalidParameterException"
        )
    assert (await refused(yard, "FilterLogEvents", logGroupName=GROUP, filterPattern="{ $.a = }"))[0] == "InvalidParameterException"
    found = await yard.call("FilterLogEvents", logGroupName=GROUP, logStreamNames=["s", "s"], interleaved=True)
    assert len(found["events"]) == 1 and found["searchedLogStreams"] == []


async def test_times_may_be_as_large_as_the_wire_lets_them(yard: Yard) -> None:
    yard.write("s", [(NOW_MS, b"one")])
    await put(yard, (NOW_MS, "two"))
    most = 2**63 - 1
    assert await messages(yard, endTime=most) == ["one", "two"]
    assert await messages(yard, endTime=most, startFromHead=False) == ["one", "two"]
    assert await messages(yard, startTime=most) == []
    for params in ({"endTime": most}, {"endTime": most, "startTime": NOW_MS, "startFromHead": False}):
        assert len((await yard.call("FilterLogEvents", logGroupName=GROUP, **params))["events"]) == 2
    assert (await yard.call("FilterLogEvents", logGroupName=GROUP, startTime=most))["events"] == []


async def test_a_new_stream_is_listed_at_once(yard: Yard) -> None:
    for number in range(40):
        yard.write(f"{number:02}", [])
        listed = (await yard.call("DescribeLogStreams", logGroupName=GROUP))["logStreams"]
        assert [stream["logStreamName"] for stream in listed] == [f"{known:02}" for known in range(number + 1)]
