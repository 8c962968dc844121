"""The query language of CloudWatch Logs Insights, as far as it is served: a query read into a plan; pure.

Served: fields, display, filter, stats ... by ... (with bin), sort, limit, dedup; comments. Everything else is refused by name.
Source: Amazon CloudWatch Logs User Guide, "CloudWatch Logs Insights query syntax".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from batchyard.model.fault import Fault
from batchyard.services.logs.insights_filter import Row, Test, Tokens, number_of, read_condition, tokens_of

AGGREGATES = ("count", "count_distinct", "sum", "avg", "min", "max")
LIMIT_DEFAULT, LIMIT_MAX = 10_000, 10_000
_REFUSED = ("parse", "pattern", "diff", "unmask", "unnest", "lookup", "anomaly", "filterindex", "source", "join", "subquery")
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One column of `stats`: `count` of all rows has no field."""

    function: str
    field: str
    name: str

    def of(self, rows: list[Row]) -> str | None:
        """Its value over the rows of a group."""
        if self.function == "count" and self.field in ("", "*"):
            return str(len(rows))
        values = [row[self.field] for row in rows if self.field in row]
        if self.function == "count":
            return str(len(values))
        if self.function == "count_distinct":
            return str(len(set(values)))
        numbers = [number for value in values if (number := number_of(value)) is not None]
        if not numbers:
            return min(values, default=None) if self.function == "min" else max(values, default=None) if self.function == "max" else None
        if self.function == "avg":
            return shown_number(sum(numbers) / len(numbers))
        made = sum(numbers) if self.function == "sum" else min(numbers) if self.function == "min" else max(numbers)
        return shown_number(made)


@dataclass(frozen=True, slots=True)
class Column:
    """A column that rows are grouped by: a field, or `bin(5m)` of a time."""

    field: str
    name: str
    bin_ms: int = 0


@dataclass(slots=True)
class Plan:
    """What a query does to the events, which come to it newest first: filters, then either groups or rows, then order and limit."""

    filters: list[Test] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)
    display: list[tuple[str, str]] = field(default_factory=list)
    aggregates: list[Aggregate] = field(default_factory=list)
    groups: list[Column] = field(default_factory=list)
    order: list[tuple[str, bool]] = field(default_factory=list)
    dedup: list[str] = field(default_factory=list)
    late_filters: list[Test] = field(default_factory=list)
    limit: int = LIMIT_DEFAULT

    @property
    def columns(self) -> list[tuple[str, str]]:
        """(field, name) of what is shown of each row."""
        return self.display or self.fields or [("@timestamp", "@timestamp"), ("@message", "@message")]


def read_query(text: str) -> Plan:
    """The plan of a query. MalformedQueryException for what is no query, or not served."""
    plan = Plan()
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    if not text.strip():
        raise malformed("the query is empty")
    for tokens in tokens_of(text):
        command = tokens.next("a command").lower()
        read = _COMMANDS.get(command)
        if read is None:
            known = ", ".join(sorted(_COMMANDS))
            why = "is not served" if command in _REFUSED else "is no command"
            raise malformed(f"'{command}' {why} here; there are {known}")
        read(plan, tokens)
        tokens.expect_end()
    return plan


def malformed(message: str) -> Fault:
    """The refusal of a query."""
    return Fault("MalformedQueryException", f"Query's syntax is not correct: {message}")


def shown_number(number: float) -> str:
    """A number as Insights shows it: whole ones without a point."""
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else f"{number:.10g}"


def _fields(plan: Plan, tokens: Tokens) -> None:
    plan.fields += _named_fields(tokens)


def _display(plan: Plan, tokens: Tokens) -> None:
    plan.display = _named_fields(tokens)


def _named_fields(tokens: Tokens) -> list[tuple[str, str]]:
    found = []
    while True:
        name = tokens.name("a field")
        found.append((name, tokens.name("a name") if tokens.take("as") else name))
        if not tokens.take(","):
            return found


def _filter(plan: Plan, tokens: Tokens) -> None:
    (plan.late_filters if plan.aggregates else plan.filters).append(read_condition(tokens))


def _stats(plan: Plan, tokens: Tokens) -> None:
    if plan.aggregates:
        raise malformed("a second stats is not served here")
    while True:
        function = tokens.next("an aggregation").lower()
        if function not in AGGREGATES:
            raise malformed(f"the aggregation '{function}' is not served here; there are {', '.join(AGGREGATES)}")
        tokens.expect("(")
        inner = "" if tokens.peek() == ")" else tokens.next("a field")
        tokens.expect(")")
        if not inner and function != "count":
            raise malformed(f"{function}() needs a field")
        written = f"{function}({inner})"
        plan.aggregates.append(Aggregate(function, inner.strip("`"), tokens.name("a name") if tokens.take("as") else written))
        if not tokens.take(","):
            break
    while tokens.take("by") or (plan.groups and tokens.take(",")):
        plan.groups.append(_column(tokens))


def _column(tokens: Tokens) -> Column:
    name = tokens.name("a field")
    if name.lower() != "bin" or tokens.peek() != "(":
        return Column(name, tokens.name("a name") if tokens.take("as") else name)
    tokens.expect("(")
    width = tokens.next("a period, such as 5m")
    tokens.expect(")")
    period = re.fullmatch(r"(\d+)(ms|s|m|h|d|w)", width)
    if period is None or not int(period[1]):
        raise malformed(f"'{width}' is no period, such as 5m or 1h")
    written = f"bin({width})"
    return Column("@timestamp", tokens.name("a name") if tokens.take("as") else written, int(period[1]) * _UNITS_MS[period[2]])


def _sort(plan: Plan, tokens: Tokens) -> None:
    plan.order = []
    while True:
        name = tokens.name("a field")
        if tokens.peek() == "(":  # count(*), bin(5m): a column of stats that has no other name
            tokens.expect("(")
            inner = "" if tokens.peek() == ")" else tokens.next("a field")
            tokens.expect(")")
            name = f"{name.lower()}({inner})"
        descending = tokens.take("desc")
        if not descending:
            tokens.take("asc")
        plan.order.append((name, descending))
        if not tokens.take(","):
            return


def _limit(plan: Plan, tokens: Tokens) -> None:
    text = tokens.next("a number")
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= LIMIT_MAX:
        raise malformed(f"limit must be a number from 1 to {LIMIT_MAX}, not '{text}'")
    plan.limit = int(text)


def _dedup(plan: Plan, tokens: Tokens) -> None:
    plan.dedup.append(tokens.name("a field"))
    while tokens.take(","):
        plan.dedup.append(tokens.name("a field"))


_COMMANDS: dict[str, Callable[[Plan, Tokens], None]] = {
    "dedup": _dedup,
    "display": _display,
    "fields": _fields,
    "filter": _filter,
    "limit": _limit,
    "sort": _sort,
    "stats": _stats,
}
