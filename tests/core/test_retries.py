"""Whether a failed attempt is tried again (specification, section 2.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.core.lifecycle import host_lost
from batchyard.core.retries import matches_pattern, verdict, would_survive_loss
from batchyard.model.capacity import Resources
from batchyard.model.job import Attempt, RetryRule, Specification

EXITED = "Essential container in task exited"
LOST = host_lost("i-0123456789abcdef0")


def spec(*rules: RetryRule, attempts: int = 3) -> Specification:
    return Specification(
        id="j", account="1", region="r", name="n", queue="q", definition="d", needs=Resources(1, 1), attempts=attempts, retry_rules=rules
    )


def closed(status_reason: str = EXITED, reason: str = "", exit_code: int | None = 1, number: int = 1) -> Attempt:
    return Attempt(
        id="a",
        number=number,
        instance="i",
        environment="e",
        log_stream="",
        placed_at_ms=0,
        status_reason=status_reason,
        reason=reason,
        exit_code=exit_code,
    )


@pytest.mark.parametrize("attempts", range(1, 11))
def test_attempts_are_the_limit(attempts: int) -> None:
    again = [verdict(spec(attempts=attempts), closed(number=n)) for n in range(1, 12)]
    assert again == [n < attempts for n in range(1, 12)]


# What Nextflow submits, and what AWS documents: interruptions are tried again, everything else is not.
NEXTFLOW = (RetryRule("RETRY", on_status_reason="Host EC2*"), RetryRule("EXIT", on_reason="*"))


@pytest.mark.parametrize(
    ("attempt", "again"),
    [
        (closed(LOST, exit_code=None), True),
        (closed(exit_code=1), False),  # no reason at all: `*` must match that, too
        (closed(exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage"), False),
        (closed("Task failed to start", "CannotPullContainerError: x", None), False),
        (closed(LOST, exit_code=None, number=3), False),
    ],
)
def test_the_recipe_of_nextflow(attempt: Attempt, again: bool) -> None:
    assert verdict(spec(*NEXTFLOW), attempt) is again


def test_the_first_match_wins_and_all_conditions_of_a_rule_must_match() -> None:
    oom = RetryRule("RETRY", on_reason="OutOfMemory*", on_exit_code="137")
    any_137 = RetryRule("EXIT", on_exit_code="137")
    killed = closed(exit_code=137, reason="OutOfMemoryError: x")
    assert verdict(spec(oom, any_137), killed)
    assert not verdict(spec(any_137, oom), killed)
    assert not verdict(spec(oom, any_137), closed(exit_code=137))
    assert verdict(spec(RetryRule("EXIT", on_status_reason="Task*", on_exit_code="1")), closed(exit_code=1)), "one of two is no match"


def test_no_match_means_again() -> None:
    assert verdict(spec(RetryRule("RETRY", on_exit_code="75")), closed(exit_code=1))


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (None, "anything", True),
        ("*", "", True),
        ("*", "1", True),
        ("1*", "137", True),
        ("1*", "2", False),
        ("137", "137", True),
        ("137", "1370", False),
        ("13", "137", False),
        ("Host EC2*", "host EC2 x", False),
        ("a*b", "a*b", True),
        ("a*b", "axb", False),
        ("", "", True),
    ],
)
def test_patterns(pattern: str | None, text: str, matches: bool) -> None:
    assert matches_pattern(pattern, text) is matches


def test_an_absent_exit_code_matches_only_a_bare_star() -> None:
    lost = closed(LOST, exit_code=None)
    assert not verdict(spec(RetryRule("EXIT", on_exit_code="*")), lost)
    assert verdict(spec(RetryRule("EXIT", on_exit_code="1*")), lost)


@given(st.text("ab*", max_size=6), st.text("ab*", max_size=8))
def test_patterns_against_a_plain_oracle(pattern: str, text: str) -> None:
    """Characters are compared one by one; only the last may be a star."""
    stem = pattern.removesuffix("*")
    oracle = text[: len(stem)] == stem and (pattern != stem or len(text) == len(stem))
    assert matches_pattern(pattern, text) is oracle


def test_whether_a_loss_would_be_survived() -> None:
    assert would_survive_loss(spec(*NEXTFLOW), 1, LOST)
    assert not would_survive_loss(spec(*NEXTFLOW), 3, LOST)
    assert not would_survive_loss(spec(RetryRule("EXIT", on_status_reason="Host*")), 1, LOST)
