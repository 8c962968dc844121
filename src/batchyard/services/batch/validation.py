"""Checks that several Batch operations share: the old error envelope, retry strategies, timeouts, environments, page sizes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from batchyard.model.capacity import Environment, Queue
from batchyard.model.consumable import Consumable
from batchyard.model.fault import Fault, client_fault
from batchyard.services import Caller

MAX_ATTEMPTS = 10
MAX_RULES = 5
MIN_TIMEOUT_S = 60
MAX_REASON = 1024

_ACTIONS = {"RETRY", "EXIT"}
_REASON_PATTERN = re.compile(r"[A-Za-z0-9.:\s]{0,512}\*?")
_EXIT_CODE_PATTERN = re.compile(r"[0-9]{0,512}\*?")


def executing(text: str, request_id: str | None = None) -> Fault:
    """A refusal in the envelope of AWS's older request validation."""
    tail = f", RequestId: {request_id}" if request_id else ""
    return client_fault(f"Error executing request, Exception : {text}{tail}")


def one_of(member: str, value: str | None, legal: Sequence[str]) -> str | None:
    """`value` in AWS's spelling, whatever its case; None if it was not given. Refuses what is not legal."""
    if not value:
        return None
    upper = value.upper()
    if upper not in legal:
        raise client_fault(f"{member} {value} is not valid. Valid values are: {', '.join(legal)}.")
    return upper


def check_retry_strategy(strategy: Mapping[str, Any] | None) -> None:
    """Refuse a retryStrategy that AWS refuses. An empty one, which the AWS CDK writes and clients send, is none at all."""
    if not strategy:
        return
    attempts, rules = strategy.get("attempts"), strategy.get("evaluateOnExit") or ()
    if attempts is None:
        if rules:
            raise executing("RetryAttempts must be provided with retry strategy")
        return
    if not 1 <= attempts <= MAX_ATTEMPTS:
        raise client_fault(f"retryStrategy.attempts must be between 1 and {MAX_ATTEMPTS}, not {attempts}.")
    if len(rules) > MAX_RULES:
        raise client_fault(f"retryStrategy.evaluateOnExit may hold at most {MAX_RULES} entries, not {len(rules)}.")
    for number, rule in enumerate(rules):
        _check_rule(f"retryStrategy.evaluateOnExit[{number}]", rule)


def _check_rule(where: str, rule: Mapping[str, Any]) -> None:
    one_of(f"{where}.action", rule.get("action") or "(none)", ("RETRY", "EXIT"))
    for member in ("onStatusReason", "onReason"):
        if not _REASON_PATTERN.fullmatch(rule.get(member) or ""):
            raise client_fault(
                f"{where}.{member} is not valid: up to 512 letters, digits, periods, colons and spaces, "
                "and optionally an asterisk at the end."
            )
    if not _EXIT_CODE_PATTERN.fullmatch(rule.get("onExitCode") or ""):
        raise client_fault(f"{where}.onExitCode is not valid: digits, and optionally an asterisk at the end.")


def check_timeout(timeout: Mapping[str, Any] | None) -> None:
    """Refuse a timeout of less than a minute; an empty one is none at all."""
    seconds = timeout.get("attemptDurationSeconds") if timeout else None
    if seconds is not None and seconds < MIN_TIMEOUT_S:
        raise client_fault(f"timeout.attemptDurationSeconds must be at least {MIN_TIMEOUT_S} seconds, not {seconds}.")


def check_command(where: str, command: Sequence[str] | None) -> None:
    """Refuse an empty string among a command's elements, as AWS does."""
    if command and "" in command:
        raise client_fault(f"{where}.command may not hold empty strings.")


def check_environment_variables(where: str, variables: Sequence[Mapping[str, Any]] | None) -> None:
    """Refuse variables without a name, and those that Batch reserves for itself."""
    for entry in variables or ():
        name = entry.get("name")
        if not name:
            raise client_fault(f"{where}.environment: every variable needs a name.")
        if name.startswith("AWS_BATCH"):
            raise client_fault(f"{where}.environment: {name} is reserved. Names of environment variables may not start with AWS_BATCH.")


def check_scheduling_priority(priority: int | None) -> None:
    """Refuse a schedulingPriority outside of 0..9999."""
    if priority is not None and not 0 <= priority <= 9999:
        raise client_fault(f"schedulingPriority must be between 0 and 9999, not {priority}.")


def check_reason(reason: str) -> None:
    """Refuse a reason of CancelJob or TerminateJob that is empty or longer than AWS allows."""
    if not reason.strip():
        raise client_fault("reason must not be empty: it is what DescribeJobs shows as the job's statusReason.")
    if len(reason) > MAX_REASON:
        raise client_fault(f"reason may have at most {MAX_REASON} characters, not {len(reason)}.")


def check_quota(most: int | None, caller: Caller, what: str, things: Iterable[Environment | Queue | Consumable]) -> None:
    """Refuse one more of what there may be at most so many of per account and region; None is no bound."""
    if most is not None and sum((t.account, t.region) == (caller.account, caller.region) for t in things) >= most:
        raise client_fault(f"There may be at most {most} {what} in an account and region (profile aws): delete one first.")


def page_size(max_results: int | None, most: int) -> int:
    """How many results a page holds. More than AWS gives is answered with what it gives at most, as AWS's "up to" says."""
    if max_results is None:
        return most
    if max_results < 1:
        raise client_fault(f"maxResults must be between 1 and {most}, not {max_results}.")
    return min(max_results, most)
