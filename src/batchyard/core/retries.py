"""Whether a failed attempt is tried again: retryStrategy with evaluateOnExit (specification, section 2.5)."""

from __future__ import annotations

from batchyard.model.job import Attempt, RetryRule, Specification


def verdict(spec: Specification, closed: Attempt) -> bool:
    """True if the job is to run again after its attempt `closed` failed.

    The first rule of which every given condition matches decides; no match means: again, while attempts remain.
    """
    if closed.number >= spec.attempts:
        return False
    for rule in spec.retry_rules:
        if _matches(rule, closed):
            return rule.action == "RETRY"
    return True


def would_survive_loss(spec: Specification, number: int, host_lost: str) -> bool:
    """True if attempt `number`, lost with its host for the reason `host_lost`, would be tried again."""
    lost = Attempt(id="", number=number, instance="", environment="", log_stream="", placed_at_ms=0, status_reason=host_lost)
    return verdict(spec, lost)


def _matches(rule: RetryRule, closed: Attempt) -> bool:
    exit_code = "" if closed.exit_code is None else str(closed.exit_code)
    return (
        matches_pattern(rule.on_status_reason, closed.status_reason)
        and matches_pattern(rule.on_reason, closed.reason)
        and matches_pattern(rule.on_exit_code, exit_code)
    )


def matches_pattern(pattern: str | None, text: str) -> bool:
    """A literal, or a prefix if the pattern ends in `*`; with regard to case; None asks nothing.

    `*` alone matches an absent text as well: the documented recipe ends its list with `onReason: "*"` to stop ordinary exits,
    which have no reason.
    """
    if pattern is None:
        return True
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    return text == pattern
