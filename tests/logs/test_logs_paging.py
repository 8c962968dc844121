"""Whatever mixture of nodes and clients wrote, and however it is paged, readers get each event once and in order."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from logs_yard import NOW_MS, Yard

GROUP = "/aws/batch/job"
Oracle = dict[str, list[tuple[int, str]]]

TIMES = st.integers(0, 12)
WRITES = st.lists(
    st.tuples(st.sampled_from(["a", "b/default/1", "ß"]), st.booleans(), st.lists(TIMES, min_size=1, max_size=6)), min_size=1, max_size=8
)
LIMITS = st.lists(st.integers(1, 7), min_size=1, max_size=4)
BOUNDS = st.tuples(st.none() | TIMES, st.none() | TIMES)


@contextmanager
def written(writes: list[tuple[str, bool, list[int]]]) -> Iterator[tuple[Yard, Oracle]]:
    """A yard with these writes, and what a reader must see of each stream: by time, the node's before what clients put."""
    with tempfile.TemporaryDirectory() as folder:
        yard = Yard(Path(folder))
        yard.logs.book._connection.pragma("synchronous", "OFF")  # what is durable is tested elsewhere
        events: dict[str, list[tuple[int, int, int, str]]] = {}
        latest: dict[str, int] = {}
        for number, (stream, by_node, times) in enumerate(writes):
            times = sorted(times)
            if by_node:
                times = [time + latest.get(stream, 0) for time in times]
                latest[stream] = times[-1]
            batch = [(NOW_MS + time, f"{number}.{index}") for index, time in enumerate(times)]
            if by_node:
                yard.write(stream, [(time, text.encode()) for time, text in batch])
            else:
                yard.logs.create_stream(("123456789012", "eu-west-1"), GROUP, stream)
                put = [{"timestamp": time, "message": text} for time, text in batch]
                asyncio.run(yard.call("PutLogEvents", logGroupName=GROUP, logStreamName=stream, logEvents=put))
            known = events.setdefault(stream, [])
            known += [(time, int(not by_node), len(known) + index, text) for index, (time, text) in enumerate(batch)]
        yield yard, {stream: [(event[0], event[3]) for event in sorted(known)] for stream, known in events.items()}
        yard.logs.close()


def ranged(bounds: tuple[int | None, int | None]) -> dict[str, int]:
    start, end = bounds
    return {**({} if start is None else {"startTime": NOW_MS + start}), **({} if end is None else {"endTime": NOW_MS + end})}


def plain(events: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(event["timestamp"], event["message"]) for event in events]


async def pages(yard: Yard, stream: str, limits: list[int], token_name: str, first: dict[str, Any]) -> list[list[tuple[int, str]]]:
    """All pages in one direction, until the token stays the same."""
    found, token, number = [], None, 0
    while True:
        asked = {**first, **({} if token is None else {"nextToken": token}), "limit": limits[number % len(limits)]}
        page = await yard.call("GetLogEvents", logGroupName=GROUP, logStreamName=stream, **asked)
        if token is not None and page[token_name] == token:
            assert page["events"] == []
            return found
        if page["events"]:
            found.append(plain(page["events"]))
        token, number = page[token_name], number + 1


@given(WRITES, LIMITS, BOUNDS)
@settings(max_examples=40, deadline=None)
def test_one_stream_is_paged_both_ways(writes: list[tuple[str, bool, list[int]]], limits: list[int], bounds: tuple[Any, Any]) -> None:
    with written(writes) as (yard, oracle):
        for stream, events in oracle.items():
            inside = ranged(bounds)
            expected = [event for event in events if inside.get("startTime", 0) <= event[0] < inside.get("endTime", 2**60)]
            forward = asyncio.run(pages(yard, stream, limits, "nextForwardToken", {"startFromHead": True, **inside}))
            assert list(chain(*forward)) == expected
            assert all(len(page) <= max(limits) for page in forward)
            backward = asyncio.run(pages(yard, stream, limits, "nextBackwardToken", inside))
            assert list(chain(*backward[::-1])) == expected


@given(WRITES, st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_the_two_tokens_of_a_page_lead_to_what_is_on_either_side(writes: list[tuple[str, bool, list[int]]], limit: int) -> None:
    async def look() -> None:
        for stream, events in oracle.items():
            asked = {"logGroupName": GROUP, "logStreamName": stream}
            newest = await yard.call("GetLogEvents", limit=limit, **asked)
            assert plain(newest["events"]) == events[-limit:]
            older = await yard.call("GetLogEvents", nextToken=newest["nextBackwardToken"], limit=1000, **asked)
            assert plain(older["events"]) == events[:-limit]
            again = await yard.call("GetLogEvents", nextToken=older["nextForwardToken"], limit=1000, startFromHead=True, **asked)
            assert plain(again["events"]) == events[-limit:]
            assert (await yard.call("GetLogEvents", nextToken=newest["nextForwardToken"], **asked))["events"] == []

    with written(writes) as (yard, oracle):
        asyncio.run(look())


async def search_pages(yard: Yard, limits: list[int], first: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    for number in range(10_000):
        page = await yard.call("FilterLogEvents", logGroupName=GROUP, limit=limits[number % len(limits)], **{**first, **token})
        assert len(page["events"]) <= limits[number % len(limits)]
        found += page["events"]
        if "nextToken" not in page:
            return found
        token = {"nextToken": page["nextToken"]}
    raise AssertionError("the pages do not end")


@given(WRITES, LIMITS, BOUNDS, st.sampled_from(["all", "names", "prefix", "pattern", "newest"]))
@settings(max_examples=60, deadline=None)
def test_a_group_is_searched_in_one_order(
    writes: list[tuple[str, bool, list[int]]], limits: list[int], bounds: tuple[Any, Any], kind: str
) -> None:
    with written(writes) as (yard, oracle):
        inside = ranged(bounds)
        asked: dict[str, Any] = {
            "all": {},
            "names": {"logStreamNames": [next(iter(oracle))]},
            "prefix": {"logStreamNamePrefix": "b"},
            "pattern": {"filterPattern": '"1."'},
            "newest": {"startFromHead": False, "startTime": NOW_MS},
        }[kind]
        asked = {**inside, **asked}
        expected = [
            (time, stream, text)
            for stream, events in oracle.items()
            for time, text in events
            if asked.get("startTime", 0) <= time <= asked.get("endTime", 2**60)
            and stream in asked.get("logStreamNames", [stream])
            and stream.startswith(asked.get("logStreamNamePrefix", ""))
            and asked.get("filterPattern", "").strip('"') in text
        ]
        expected.sort(key=lambda event: event[:2])
        if kind == "newest":
            expected = expected[::-1]
        found = asyncio.run(search_pages(yard, limits, asked))
        shown = [(event["timestamp"], event["logStreamName"], event["message"]) for event in found]
        if kind == "newest":
            assert sorted(shown) == sorted(expected) and [event[:2] for event in shown] == [event[:2] for event in expected]
        else:
            assert shown == expected
        assert len({event["eventId"] for event in found}) == len(found)
        assert all(len(event["eventId"]) == 56 for event in found)


NAMES = st.lists(st.text("abAB/._", min_size=1, max_size=4), unique=True, max_size=12)


@given(NAMES, NAMES, st.text("ab", max_size=1), st.booleans(), st.integers(1, 4), st.booleans())
@settings(max_examples=40, deadline=None)
def test_streams_are_listed_once_each(put: list[str], by_node: list[str], prefix: str, descending: bool, limit: int, by_time: bool) -> None:
    async def listed() -> list[str]:
        asked: dict[str, Any] = {"logGroupName": GROUP, "descending": descending, "limit": limit}
        if by_time:
            asked["orderBy"] = "LastEventTime"
        elif prefix:
            asked["logStreamNamePrefix"] = prefix
        names: list[str] = []
        while True:
            page = await yard.call("DescribeLogStreams", **asked)
            names += [stream["logStreamName"] for stream in page["logStreams"]]
            if "nextToken" not in page:
                return names
            asked["nextToken"] = page["nextToken"]

    with tempfile.TemporaryDirectory() as folder:
        yard = Yard(Path(folder))
        for number, name in enumerate(by_node):
            yard.write(name, [(NOW_MS + number % 3, b"hello")] if number % 4 else [])
        for name in put:
            yard.logs.create_stream(("123456789012", "eu-west-1"), GROUP, name)
        last = {name: NOW_MS + number % 3 if number % 4 else 0 for number, name in enumerate(by_node)}
        everything = set(put) | set(by_node)
        if by_time:
            expected = sorted(everything, key=lambda name: (last.get(name, 0), name), reverse=descending)
        else:
            expected = sorted((name for name in everything if name.startswith(prefix)), reverse=descending)
        assert asyncio.run(listed()) == expected
        yard.logs.close()


@given(st.sets(st.text("ab/", min_size=1, max_size=4), max_size=10), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_groups_are_listed_once_each(names: set[str], limit: int) -> None:
    async def listed() -> list[str]:
        asked: dict[str, Any] = {"limit": limit}
        found: list[str] = []
        while True:
            page = await yard.call("DescribeLogGroups", **asked)
            found += [group["logGroupName"] for group in page["logGroups"]]
            if "nextToken" not in page:
                return found
            asked["nextToken"] = page["nextToken"]

    with tempfile.TemporaryDirectory() as folder:
        yard = Yard(Path(folder))
        for number, name in enumerate(sorted(names)):
            if number % 2:
                yard.write("s", [], group=name)
            else:
                asyncio.run(yard.call("CreateLogGroup", logGroupName=name))
        assert asyncio.run(listed()) == sorted({*names, GROUP})
        yard.logs.close()
