"""May this caller do this? The step `authorize` of the door, with IAM's policies and AWS's words for a refusal.

Without `is_enforced` whoever has credentials may call everything (but Batchyard's own routes, which are the root identity's). With it
root may still do everything, users and roles what their policies allow, and a job without a role of its own what jobs always could:
all of Batch, S3, Logs, and STS about itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from batchyard.core.policies import Question, Statement, Verdict, context_of, decide_within
from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.desk import Shelf
from batchyard.services.iam.records import policy_document
from batchyard.services.iam.standing import NOBODY, Standing, entity_of, standing_of, statements_of
from batchyard.services.resources import questions_of
from batchyard.store.shelf import NO_REGION, Drawer, Place

JOB_ROLE = "batchyard-job"  # in the ARN of a job whose definition names no role
_OF_EVERY_JOB = frozenset(("batch", "s3", "logs", "sts"))
# What STS answers to everybody, and what its handler judges by itself (the role's trust policy counts as well).
_FREE = frozenset((("sts", "GetCallerIdentity"), ("sts", "GetSessionToken"), ("sts", "AssumeRole")))


class Rights(NamedTuple):
    """What is known of a caller: its policies, and the condition keys that they may ask for."""

    standing: Standing
    context: Mapping[str, Any]


class Authorizer:
    """Called with every request; raises a Fault when it is not allowed."""

    def __init__(self, shelf: Shelf, *, is_enforced: bool) -> None:
        self._shelf = shelf
        self._is_enforced = is_enforced
        self._rights: dict[str, Rights] = {}
        self._rights_at = -1

    def __call__(self, caller: Caller, service: str, operation: str, asked: Any) -> None:
        """`asked` are the operation's parameters; of S3, the HTTP request."""
        if not self._is_enforced or caller.is_root or (service, operation) in _FREE or service == "batchyard":
            return
        if caller.is_job and f":assumed-role/{JOB_ROLE}/" in caller.arn:
            if service not in _OF_EVERY_JOB:
                raise _denied(service, caller, f"{service}:{operation}", "*", Verdict.IMPLICIT_DENY)
            return
        rights = self._rights_of(caller)
        place = Place("iam", caller.account, NO_REGION)
        session = self._shelf.look(place, lambda drawer: _session_statements(drawer, caller)) if caller.session_policy else None
        now_s = time.time()
        context = {
            **rights.context,
            **context_of(
                {
                    "aws:CurrentTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s)),
                    "aws:EpochTime": str(int(now_s)),
                    "aws:RequestedRegion": caller.region,
                    "aws:SecureTransport": "false",
                }
            ),
        }

        def judge(action: str, resource: str, extra: Mapping[str, Any]) -> Verdict:
            of_resource = {"aws:ResourceAccount": account_in(resource) or caller.account, **extra}
            question = Question(action, resource, {**context, **context_of(of_resource)})
            return decide_within(rights.standing.identity, question, rights.standing.boundary, session)

        if service == "s3":
            asked.may = lambda action, resource: judge(action, resource, {}) is Verdict.ALLOWED
        for action, resource, extra in self._shelf.look(
            place, lambda drawer: list(questions_of(drawer, caller, service, operation, asked))
        ):
            verdict = judge(action, resource, extra)
            if verdict is not Verdict.ALLOWED:
                raise _denied(service, caller, action, resource, verdict)

    def _rights_of(self, caller: Caller) -> Rights:
        version = self._shelf.version
        if self._rights_at != version:
            self._rights, self._rights_at = {}, version
        rights = self._rights.get(caller.arn)
        if rights is None:
            rights = self._shelf.look(Place("iam", caller.account, NO_REGION), lambda drawer: _rights(drawer, caller))
            self._rights[caller.arn] = rights
        return rights


def account_in(arn: str) -> str:
    """The account that an ARN names; "" for one without (a bucket, say) and for "*"."""
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def _rights(drawer: Drawer, caller: Caller) -> Rights:
    entity = entity_of(drawer, caller.arn)
    is_session = ":assumed-role/" in caller.arn
    entries = {
        "aws:PrincipalArn": entity["arn"] if entity else caller.arn,
        "aws:PrincipalAccount": caller.account,
        "aws:PrincipalType": "AssumedRole" if is_session else "User",
        "aws:userid": caller.user_id,
    }
    if entity and not is_session:
        entries["aws:username"] = entity["name"]
    entries |= {f"aws:PrincipalTag/{key}": value for key, value in (entity or {}).get("tags", {}).items()}
    return Rights(standing_of(drawer, caller.arn) or NOBODY, context_of(entries))


def _session_statements(drawer: Drawer, caller: Caller) -> tuple[Statement, ...]:
    """What narrows a session: the policy given to AssumeRole and the managed ones named there."""
    policy = json.loads(caller.session_policy)
    texts: Iterator[str] = iter([*policy["documents"], *(policy_document(drawer, arn) or "" for arn in policy["arns"])])
    return tuple(statement for text in texts for statement in statements_of(text))


def _denied(service: str, caller: Caller, action: str, resource: str, verdict: Verdict) -> Fault:
    """AWS's words; which code carries them differs by service."""
    if verdict is Verdict.EXPLICIT_DENY:
        why = "with an explicit deny in an identity-based policy"
    else:
        why = f"because no identity-based policy allows the {action} action"
    words = f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource} {why}"
    if service == "ec2":
        return Fault("UnauthorizedOperation", f"You are not authorized to perform this operation. {words}")
    return Fault("AccessDeniedException", words)
