"""What has expired is not shown from that moment on, and soon takes no room; what is still written is left alone."""

from __future__ import annotations

import os
from typing import Any

from logs_yard import CALLER, NOW_MS, Yard

from batchyard.store import logs_search
from batchyard.store.logs import frame, open_segment, segment_path
from batchyard.store.logs_retention import EVERY_S, run_once
from batchyard.store.logs_search import Query, search
from batchyard.store.logs_store import GONE

GROUP = "/aws/batch/job"
NAMESPACE = ("123456789012", "eu-west-1")
DAY = 86_400_000


async def shown(yard: Yard, stream: str) -> list[str]:
    page = await yard.call("GetLogEvents", logGroupName=GROUP, logStreamName=stream)
    found = await yard.call("FilterLogEvents", logGroupName=GROUP, logStreamNames=[stream])
    assert [event["message"] for event in found["events"]] == [event["message"] for event in page["events"]]
    return [event["message"] for event in page["events"]]


async def put(yard: Yard, stream: str, *messages: str) -> None:
    yard.logs.create_stream(NAMESPACE, GROUP, stream)
    events = [{"timestamp": yard.now_ms, "message": message} for message in messages]
    await yard.call("PutLogEvents", logGroupName=GROUP, logStreamName=stream, logEvents=events)


async def test_expired_events_are_not_shown_and_then_removed(yard: Yard) -> None:
    yard.write("job", [(NOW_MS, b"old")])
    await put(yard, "put", *["old"] * 10)
    yard.now_ms += DAY
    yard.write("job", [(yard.now_ms, b"new")])
    yard.write("quiet", [(NOW_MS, b"old")])
    await put(yard, "put", "new")
    assert run_once(yard.logs, yard.now_ms) == EVERY_S
    assert await shown(yard, "job") == ["old", "new"]

    await yard.call("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=1)
    assert await shown(yard, "job") == ["old", "new"]
    yard.now_ms += 1
    for stream, expected in (("job", ["new"]), ("put", ["new"]), ("quiet", [])):
        assert await shown(yard, stream) == expected
    streams = {stream["logStreamName"]: stream for stream in (await yard.call("DescribeLogStreams", logGroupName=GROUP))["logStreams"]}
    assert streams["job"]["firstEventTimestamp"] == streams["put"]["firstEventTimestamp"] == NOW_MS + DAY
    assert "lastEventTimestamp" not in streams["quiet"]

    before = (await yard.call("DescribeLogGroups"))["logGroups"][0]["storedBytes"]
    run_once(yard.logs, yard.now_ms)
    group = (await yard.call("DescribeLogGroups"))["logGroups"][0]
    assert group["storedBytes"] < before
    await yard.call("DeleteRetentionPolicy", logGroupName=GROUP)
    for stream, expected in (("job", ["old", "new"]), ("put", ["new"]), ("quiet", [])):
        assert await shown(yard, stream) == expected
    assert (await yard.call("DescribeLogStreams", logGroupName=GROUP))["logStreams"][2]["logStreamName"] == "quiet"


async def test_a_segment_with_a_writer_is_left_alone(yard: Yard) -> None:
    await yard.call("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=1)
    descriptor = open_segment(yard.root, *NAMESPACE, GROUP, "job", NOW_MS)
    os.write(descriptor, frame(NOW_MS, b"old"))
    path = segment_path(yard.root, *NAMESPACE, GROUP, "job")
    size = path.stat().st_size
    yard.now_ms += 2 * DAY
    run_once(yard.logs, yard.now_ms)
    assert path.stat().st_size == size
    os.write(descriptor, frame(yard.now_ms, b"new"))
    assert await shown(yard, "job") == ["new"]
    os.close(descriptor)
    yard.now_ms += 2 * DAY
    run_once(yard.logs, yard.now_ms)
    assert path.stat().st_size < size
    yard.write("job", [(yard.now_ms, b"again")])
    assert await shown(yard, "job") == ["again"]


async def test_many_events_expire_in_bounded_steps(yard: Yard) -> None:
    await put(yard, "put", *["x"] * 10_000)
    await put(yard, "put", *["x"] * 10_000)
    await yard.call("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=1)
    yard.now_ms += 2 * DAY
    run_once(yard.logs, yard.now_ms)
    assert yard.logs.bytes_stored(NAMESPACE, GROUP) == 0


def test_what_a_deletion_left_behind_is_swept(yard: Yard) -> None:
    gone = yard.root / CALLER.account / CALLER.region / f"{GONE}01"
    gone.mkdir(parents=True)
    (gone / "s.log").write_bytes(b"x")
    assert [group.name for group in yard.logs.groups(NAMESPACE)] == [GROUP]
    run_once(yard.logs, yard.now_ms)
    assert not gone.exists()


def test_one_search_looks_at_so_much_and_no_more(yard: Yard) -> None:
    yard.write("job", [(NOW_MS + number, b"%d" % number) for number in range(100)])

    def looked(after: Any = None) -> Any:
        stream = yard.logs.stream(NAMESPACE, GROUP, "job")
        assert stream is not None
        return search([stream], Query(0, 2**62, lambda message: message == b"99", after=after), 10, 10_000, looked_at_max=40)

    assert logs_search.LOOKED_AT_MAX > 10_000
    first = looked()
    second = looked(first.stopped_at)
    third = looked(second.stopped_at)
    assert first.events == second.events == [] and first.stopped_at[0] == NOW_MS + 39
    assert [event.message for event in third.events] == [b"99"] and third.stopped_at is None


def test_streams_that_vanish_during_a_search_are_left_out(yard: Yard) -> None:
    for name in ("a", "b"):
        yard.write(name, [(NOW_MS, name.encode())])
    streams = [stream for stream in (yard.logs.stream(NAMESPACE, GROUP, name) for name in ("a", "b")) if stream is not None]
    segment_path(yard.root, *NAMESPACE, GROUP, "a").unlink()
    assert [event.message for event in search(streams, Query(0, 2**62, lambda message: True), 10, 10_000).events] == [b"b"]
