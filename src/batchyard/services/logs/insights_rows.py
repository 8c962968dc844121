"""Runs the plan of an Insights query over events: rows out of events, groups, order and limit; pure but for the events it is given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from heapq import nlargest, nsmallest
from typing import Any

from batchyard.services.logs.insights_filter import Row, number_of
from batchyard.services.logs.insights_language import Plan
from batchyard.store.logs_stream import Event

FIELDS_MAX = 200  # as many as Insights finds in an event
_DEPTH_MAX = 20
Result = list[dict[str, str]]


def row_of(event: Event, log: str, pointer: str) -> Row:
    """An event as a row: the fields that every event has, and those of its JSON, the inner ones with dots between."""
    message = event.message.decode("utf-8", "replace")
    row = {
        "@timestamp": shown_time(event.timestamp_ms),
        "@message": message,
        "@logStream": event.stream,
        "@log": log,
        "@ingestionTime": shown_time(event.ingested_at_ms),
        "@ptr": pointer,
    }
    if message.lstrip().startswith("{"):
        try:
            found = json.loads(message)
        except (ValueError, RecursionError):
            return row
        _flatten(found, "", row, 0)
    return row


def _flatten(value: Any, name: str, row: Row, depth: int) -> None:
    if len(row) >= FIELDS_MAX or depth > _DEPTH_MAX:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(inner, f"{name}.{key}" if name else key, row, depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _flatten(inner, f"{name}.{number}", row, depth + 1)
    elif value is not None and name and name not in row:
        row[name] = value if isinstance(value, str) else "1" if value is True else "0" if value is False else json.dumps(value)


def run(plan: Plan, rows: Iterable[Row]) -> list[Result]:
    """The results of a plan over rows that come newest first."""
    wanted: Iterator[Row] = (row for row in rows if all(test(row) for test in plan.filters))
    if plan.aggregates:
        return _grouped(plan, wanted)
    if plan.dedup:
        wanted = iter(_deduplicated(plan, wanted))
    if plan.order:
        found = _ordered(plan, list(wanted))
    else:
        found = []
        for row in wanted:
            found.append(row)
            if len(found) == plan.limit:
                break
    return [_shown(plan, row) for row in found[: plan.limit]]


def _shown(plan: Plan, row: Row) -> Result:
    columns = [{"field": name, "value": row[source]} for source, name in plan.columns if source in row]
    return [*columns, {"field": "@ptr", "value": row["@ptr"]}]


def _grouped(plan: Plan, rows: Iterable[Row]) -> list[Result]:
    groups: dict[tuple[str | None, ...], list[Row]] = {}
    for row in rows:
        # of a row, only what is counted has to stay
        kept = {aggregate.field: row[aggregate.field] for aggregate in plan.aggregates if aggregate.field in row}
        groups.setdefault(tuple(_group_value(row, column.field, column.bin_ms) for column in plan.groups), []).append(kept)
    if not groups and not plan.groups:
        groups[()] = []
    made: list[Row] = []
    for values, members in groups.items():
        row = {column.name: value for column, value in zip(plan.groups, values, strict=True) if value is not None}
        row |= {aggregate.name: text for aggregate in plan.aggregates if (text := aggregate.of(members)) is not None}
        made.append(row)
    made = [row for row in made if all(test(row) for test in plan.late_filters)]
    names = [name for _, name in plan.display] or [column.name for column in plan.groups] + [each.name for each in plan.aggregates]
    ordered = _ordered(plan, made) if plan.order else made
    return [[{"field": name, "value": row[name]} for name in names if name in row] for row in ordered[: plan.limit]]


def _group_value(row: Row, name: str, bin_ms: int) -> str | None:
    value = row.get(name)
    if value is None or not bin_ms:
        return value
    at_ms = int(datetime.strptime(value, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC).timestamp() * 1000)
    return shown_time(at_ms - at_ms % bin_ms)


def _ordered(plan: Plan, rows: list[Row]) -> list[Row]:
    """The first rows in order, as many as the limit: numbers before text, what is missing last either way."""
    if len(plan.order) == 1:
        name, descending = plan.order[0]
        there, missing = [row for row in rows if name in row], [row for row in rows if name not in row]
        pick = nlargest if descending else nsmallest
        return [*pick(plan.limit, there, key=lambda row: _sort_key(row[name])), *missing]
    for name, descending in reversed(plan.order):
        there, missing = [row for row in rows if name in row], [row for row in rows if name not in row]
        rows = [*sorted(there, key=lambda row, name=name: _sort_key(row[name]), reverse=descending), *missing]  # type: ignore[misc]
    return rows


def _sort_key(value: str) -> tuple[int, float, str]:
    number = number_of(value)
    return (0, number, "") if number is not None else (1, 0.0, value)


def _deduplicated(plan: Plan, rows: Iterable[Row]) -> list[Row]:
    seen: dict[tuple[str | None, ...], Row] = {}
    for row in rows:
        key = tuple(row.get(name) for name in plan.dedup)
        if None not in key:
            seen.setdefault(key, row)
    return list(seen.values())


def shown_time(at_ms: int) -> str:
    """A time as Insights writes it: `2026-11-22 19:00:00.123`, UTC."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{ms:03d}"
