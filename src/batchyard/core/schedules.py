"""Schedule expressions of EventBridge, `rate(...)` and `cron(...)`: when the next firing after a moment is. Pure; times are UTC.

A cron expression has six fields: minutes, hours, day of the month, month, day of the week, year. One of both days is `?`.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator, Sequence

NextAfter = Callable[[int], int | None]
"""The first firing after a moment, both in ms since the epoch; None when there is no further one."""

_RATE = re.compile(r"rate\(\s*([1-9][0-9]{0,9})\s+(minute|hour|day)(s?)\s*\)")
_CRON = re.compile(r"cron\(([^()]*)\)")
_UNIT_MS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_MONTHS = {name: n for n, name in enumerate(["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], 1)}
_DAYS = {name: n for n, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], 1)}
_FIRST_YEAR, _LAST_YEAR = 1970, 2199

DaysOf = Callable[[int, int], Sequence[int]]  # year, month -> days of the month, rising


class BadSchedule(Exception):
    """The expression means nothing; the message says why."""


def compile_schedule(text: str) -> NextAfter:
    """When the schedule in `text` fires. Raises `BadSchedule`. A rate counts from the moment that it is asked about."""
    rate = _RATE.fullmatch(text)
    if rate:
        if (rate[3] == "s") is (rate[1] == "1"):
            raise BadSchedule(f"rate(1 {rate[2]}) has no s at its end, every other number has one")
        every_ms = int(rate[1]) * _UNIT_MS[rate[2]]
        return lambda after_ms: after_ms + every_ms
    cron = _CRON.fullmatch(text)
    if not cron:
        raise BadSchedule("it must be rate(5 minutes) or cron(0 10 * * ? *)")
    fields = cron[1].upper().split()
    if len(fields) != 6:
        raise BadSchedule(f"cron has six fields (minutes, hours, day of month, month, day of week, year), not {len(fields)}")
    minutes, hours = _values("minutes", fields[0], 0, 59), _values("hours", fields[1], 0, 23)
    months = _values("month", fields[3], 1, 12, _MONTHS)
    years = _values("year", fields[5], _FIRST_YEAR, _LAST_YEAR)
    days_of = _days_of(fields[2], fields[4])
    return lambda after_ms: _next(after_ms, minutes, hours, days_of, months, years)


def _next(
    after_ms: int, minutes: Sequence[int], hours: Sequence[int], days_of: DaysOf, months: Sequence[int], years: Sequence[int]
) -> int | None:
    after_min = after_ms // 60_000
    first_day = after_min // 1440
    for year in years:
        if calendar.timegm((year + 1, 1, 1, 0, 0, 0)) // 86_400 <= first_day:
            continue
        for month in months:
            start = calendar.timegm((year, month, 1, 0, 0, 0)) // 86_400
            if start + 31 < first_day:
                continue
            for day in days_of(year, month):
                at_day = start + day - 1
                if at_day < first_day:
                    continue
                for at_min in (at_day * 1440 + hour * 60 + minute for hour in hours for minute in minutes):
                    if at_min > after_min:
                        return at_min * 60_000
    return None


def _values(field: str, text: str, low: int, high: int, names: dict[str, int] | None = None) -> list[int]:
    """The values that a field of lists, ranges and steps allows, rising."""
    found: set[int] = set()
    for item in text.split(","):
        span, slash, step = item.partition("/")
        if slash and not (step.isdecimal() and 0 < int(step) <= high):
            raise BadSchedule(f"{field}: {item}: the step after / must be a number above 0")
        if span == "*":
            first, last = low, high
        else:
            begin, dash, end = span.partition("-")
            first = _number(field, begin, low, high, names)
            last = _number(field, end, low, high, names) if dash else high if slash else first
        if first > last:
            raise BadSchedule(f"{field}: {item}: a range must rise")
        found.update(range(first, last + 1, int(step) if slash else 1))
    return sorted(found)


def _number(field: str, text: str, low: int, high: int, names: dict[str, int] | None) -> int:
    value = (names or {}).get(text, int(text) if text.isascii() and text.isdecimal() and len(text) < 5 else -1)
    if not low <= value <= high:
        raise BadSchedule(f"{field}: {text or 'nothing'} is not within {low} to {high}")
    return value


def _days_of(of_month: str, of_week: str) -> DaysOf:
    """Which days of a month are meant. Exactly one of both fields is `?`."""
    if (of_month == "?") is (of_week == "?"):
        raise BadSchedule("one of day of month and day of week must be ?, the other one must not")
    if of_week == "?":
        items = [_of_month(item) for item in of_month.split(",")]
    elif "#" in of_week and "," in of_week:
        raise BadSchedule("day of week: # stands alone")
    else:
        items = [_of_week(item) for item in of_week.split(",")]
    return lambda year, month: sorted({day for item in items for day in item(year, month)})


def _of_month(item: str) -> Callable[[int, int], Iterator[int]]:
    if item == "L":
        return lambda year, month: iter((_length(year, month),))
    if item == "LW":
        return lambda year, month: iter((_nearest_weekday(year, month, _length(year, month)),))
    if item.endswith("W"):
        wanted = _number("day of month", item[:-1], 1, 31, None)
        return lambda year, month: iter((_nearest_weekday(year, month, wanted),) if wanted <= _length(year, month) else ())
    days = _values("day of month", item, 1, 31)
    return lambda year, month: (day for day in days if day <= _length(year, month))


def _of_week(item: str) -> Callable[[int, int], Iterator[int]]:
    if item == "L":
        item = "7"
    if item.endswith("L"):
        last = _number("day of week", item[:-1], 1, 7, _DAYS)
        return lambda year, month: iter(list(_on(year, month, last))[-1:])
    if "#" in item:
        name, _, number = item.partition("#")
        wanted, which = _number("day of week", name, 1, 7, _DAYS), _number("day of week", number, 1, 5, None)
        return lambda year, month: iter(list(_on(year, month, wanted))[which - 1 : which])
    days = _values("day of week", item, 1, 7, _DAYS)
    return lambda year, month: (day for wanted in days for day in _on(year, month, wanted))


def _on(year: int, month: int, day_of_week: int) -> Iterator[int]:
    """The days of a month that are a day of the week (1 is Sunday)."""
    first, length = calendar.monthrange(year, month)
    return iter(range(1 + (day_of_week - 2 - first) % 7, length + 1, 7))


def _length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _nearest_weekday(year: int, month: int, day: int) -> int:
    """The day from Monday to Friday that is nearest to a day, within its month."""
    match calendar.weekday(year, month, day):
        case calendar.SATURDAY:
            return day - 1 if day > 1 else day + 2
        case calendar.SUNDAY:
            return day + 1 if day < _length(year, month) else day - 2
    return day
