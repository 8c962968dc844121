"""When schedules fire, against dates that were looked up in a calendar."""

from __future__ import annotations

import calendar
import time

import pytest

from batchyard.core.schedules import BadSchedule, compile_schedule

NOW = "2026-11-22 22:10:30"  # a Sunday


def at(text: str) -> int:
    return calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S")) * 1000


def after(expression: str, moment: str = NOW) -> str | None:
    found = compile_schedule(expression)(at(moment))
    return None if found is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(found / 1000))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("rate(1 minute)", "2026-11-22 22:11:30"),
        ("rate(5 minutes)", "2026-11-22 22:15:30"),
        ("rate(2 hours)", "2026-11-23 00:10:30"),
        ("rate(7 days)", "2026-11-29 22:10:30"),
        ("cron(0 10 * * ? *)", "2026-11-23 10:00:00"),
        ("cron(11 22 * * ? *)", "2026-11-22 22:11:00"),
        ("cron(10 22 * * ? *)", "2026-11-23 22:10:00"),
        ("cron(0/15 * * * ? *)", "2026-11-22 22:15:00"),
        ("cron(0/5 8-17 ? * MON-FRI *)", "2026-11-23 08:00:00"),
        ("cron(0 18 ? * mon-fri *)", "2026-11-23 18:00:00"),
        ("cron(0 8 1 * ? *)", "2026-12-01 08:00:00"),
        ("cron(0 0 L * ? *)", "2026-11-30 00:00:00"),
        ("cron(0 0 31 * ? *)", "2026-12-31 00:00:00"),
        ("cron(0 0 29 2 ? *)", "2028-02-29 00:00:00"),
        ("cron(0 0 29W * ? *)", "2026-11-30 00:00:00"),  # the 29th is a Sunday
        ("cron(0 0 LW 1 ? 2027)", "2027-01-29 00:00:00"),
        ("cron(0 9 ? * 2#1 *)", "2026-12-07 09:00:00"),
        ("cron(0 9 ? * 6L *)", "2026-11-27 09:00:00"),
        ("cron(0 9 ? * L *)", "2026-11-28 09:00:00"),
        ("cron(30 6 1 JAN,JUL ? 2027-2030)", "2027-01-01 06:30:00"),
        ("cron(0 0 1 1 ? 2020)", None),
    ],
)
def test_the_next_firing(expression: str, expected: str | None) -> None:
    assert after(expression) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "rate(5 minute)", "rate(1 minutes)", "rate(0 minutes)", "rate(5 weeks)", "every minute", "", "cron()",
        "cron(0 10 * * ?)", "cron(0 10 * * * *)", "cron(0 10 ? * ? *)", "cron(60 10 * * ? *)", "cron(0 24 * * ? *)",
        "cron(0 10 0 * ? *)", "cron(0 10 ? * 8 *)", "cron(0 10 ? * 3#6 *)", "cron(0 10 ? * 3#1,6#3 *)", "cron(0/0 10 * * ? *)",
        "cron(5-1 10 * * ? *)", "cron(0 10 * FOO ? *)", "cron(0 10 * * ? 2300)", "cron(, 10 * * ? *)",
    ],
)  # fmt: skip
def test_what_means_nothing(expression: str) -> None:
    with pytest.raises(BadSchedule):
        compile_schedule(expression)


def test_firings_follow_one_another() -> None:
    following = compile_schedule("cron(0 0 ? * SAT,SUN *)")
    moment, days = at(NOW), []
    for _ in range(4):
        found = following(moment)
        assert found is not None
        moment = found
        days.append(time.strftime("%a", time.gmtime(moment / 1000)))
    assert days == ["Sat", "Sun", "Sat", "Sun"]
