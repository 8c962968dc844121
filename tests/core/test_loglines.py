"""Which lines of a log are one event (specification, section 5.8)."""

from __future__ import annotations

import re

import pytest

from batchyard.core import loglines


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("[%b %d, %Y %H:%M:%S]", "[Nov 22, 2026 19:40:01] it begins"),
        (r"\[%b %d, %Y %H:%M:%S\]", "[Nov 22, 2026 19:40:01] as in Docker's own example"),
        (r"%H:%M:%S\.\d\d (x)*", "19:40:01.25 (x)* it begins"),
        ("%Y-%m-%dT%H:%M:%S%z", "2026-11-22T19:40:01+0000 it begins"),
        ("%A %d %B %Y, %I %p", "Sunday 22 November 2026, 07 PM"),
        ("%y%j %L 100%%", "26326 .123 100%"),
    ],
)
def test_a_format_finds_its_dates_and_nothing_else(form: str, line: str) -> None:
    assert loglines.wrong_format(form) == ""
    pattern = loglines.begins({"awslogs-datetime-format": form, "awslogs-multiline-pattern": "never looked at"})
    assert re.search(pattern, line) and not re.search(pattern, "  at module.function (line 12)")


def test_without_options_every_line_is_an_event() -> None:
    assert loglines.begins({}) == "" and loglines.begins({"awslogs-multiline-pattern": "^x"}) == "^x"


@pytest.mark.parametrize("form", ["%Q", "%", "x" * 513])
def test_formats_that_are_refused(form: str) -> None:
    assert loglines.wrong_format(form)


@pytest.mark.parametrize(
    "pattern", ["^INFO", r"^\d{4}-\d{2}-\d{2}", "^(INFO|WARN)", "^[^ +*(]+ [0-9]*", "^(?:a+)?b", r"\(\)+x\*", "[]*]{1,3}"]
)
def test_patterns_that_are_taken(pattern: str) -> None:
    assert loglines.wrong_pattern(pattern) == ""


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(a+)+$", "a group is repeated"),
        ("(a|b){2,9}", "a group is repeated"),
        ("a*b*c*", "more than 2 unbounded repeats"),
        ("(a)\\1", "refers to a group"),
        ("(?=a)b", "(?=a) is not taken"),
        ("(?i)a", "is not taken"),
        ("a{1,65}", "repeats too often"),
        ("(", "no regular expression"),
        ("a" * 513, "more than 512"),
    ],
)
def test_patterns_that_could_keep_the_node_busy_are_refused(pattern: str, why: str) -> None:
    assert why in loglines.wrong_pattern(pattern)
