"""What IAM policies allow: statements read once, and a verdict per request. Pure; IAM User Guide, "Policy evaluation logic".

    explicit deny  >  allow  >  implicit deny

A statement applies when its principals, actions, resources and conditions all match. What a policy variable stands for is taken
literally: a `*` in a user's name is no wildcard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from batchyard.core.policy_conditions import Condition, holds, lowered
from batchyard.core.policy_patterns import Pattern, UnknownVariable, filled, matches


class Verdict(StrEnum):
    """As SimulatePrincipalPolicy calls them."""

    ALLOWED = "allowed"
    EXPLICIT_DENY = "explicitDeny"
    IMPLICIT_DENY = "implicitDeny"


class Question(Struct, frozen=True):
    """May somebody do `action` ("batch:SubmitJob") to `resource` (an ARN or "*")?

    `context` holds condition keys (in small letters) with their values. `principals` are the names that the caller answers to, as
    (kind, name): ("AWS", ARN), ("AWS", account), ("Service", "ecs-tasks.amazonaws.com").
    """

    action: str
    resource: str = "*"
    context: Mapping[str, Sequence[str]] = {}
    principals: frozenset[tuple[str, str]] = frozenset()


class Statement(Struct, frozen=True):
    """One statement. An empty tuple means that the element is not there; `principals` None means that it names none."""

    sid: str
    is_allow: bool
    actions: tuple[Pattern, ...] = ()
    not_actions: tuple[Pattern, ...] = ()
    resources: tuple[Pattern, ...] = ()
    not_resources: tuple[Pattern, ...] = ()
    principals: tuple[tuple[str, str], ...] | None = None
    not_principals: tuple[tuple[str, str], ...] | None = None
    conditions: tuple[Condition, ...] = ()

    def applies(self, question: Question) -> bool:
        """Whether this statement has something to say about `question`."""
        if not self._names_action(question.action):
            return False
        try:
            return (
                self._names_principal(question.principals)
                and self._names_resource(question)
                and all(holds(condition, question.context) for condition in self.conditions)
            )
        except UnknownVariable:
            return False

    def _names_action(self, action: str) -> bool:
        small = action.lower()
        if self.not_actions:
            return not any(matches(pattern, small) for pattern in self.not_actions)
        return any(matches(pattern, small) for pattern in self.actions)

    def _names_resource(self, question: Question) -> bool:
        if self.not_resources:
            return not any(matches(filled(pattern, question.context), question.resource) for pattern in self.not_resources)
        if not self.resources:
            return True  # trust policies name none
        return any(matches(filled(pattern, question.context), question.resource) for pattern in self.resources)

    def _names_principal(self, asking: frozenset[tuple[str, str]]) -> bool:
        if self.not_principals is not None:
            return not _is_named(self.not_principals, asking)
        return self.principals is None or _is_named(self.principals, asking)


def _is_named(named: Iterable[tuple[str, str]], asking: frozenset[tuple[str, str]]) -> bool:
    return any(name == "*" or (kind, name) in asking for kind, name in named)


def decide(statements: Iterable[Statement], question: Question) -> Verdict:
    """The verdict of one kind of policies (all identity policies of somebody, or a boundary) on `question`."""
    verdict = Verdict.IMPLICIT_DENY
    for statement in statements:
        if statement.is_allow and verdict is Verdict.ALLOWED:
            continue
        if statement.applies(question):
            if not statement.is_allow:
                return Verdict.EXPLICIT_DENY
            verdict = Verdict.ALLOWED
    return verdict


def decide_within(identity: Iterable[Statement], question: Question, *limits: Iterable[Statement] | None) -> Verdict:
    """The verdict of identity policies within limits (permissions boundary, session policy; None where there is none): all must allow."""
    verdicts = [decide(identity, question), *(decide(limit, question) for limit in limits if limit is not None)]
    if Verdict.EXPLICIT_DENY in verdicts:
        return Verdict.EXPLICIT_DENY
    return Verdict.ALLOWED if all(verdict is Verdict.ALLOWED for verdict in verdicts) else Verdict.IMPLICIT_DENY


def context_of(entries: Mapping[str, str | Sequence[str]]) -> dict[str, Sequence[str]]:
    """Condition keys and values as a `Question` takes them."""
    return lowered(entries)
