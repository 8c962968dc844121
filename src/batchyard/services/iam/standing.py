"""What a principal's policies say, gathered once and used by the door, by AssumeRole and by the policy simulator."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from batchyard.core.policies import Statement
from batchyard.core.policy_documents import Malformed, read_policy, read_trust_policy
from batchyard.services.iam.records import GROUP, ROLE, USER, find, policy_document
from batchyard.store.shelf import Document, Drawer


class Standing(NamedTuple):
    """The statements of somebody's identity policies, and of the permissions boundary (None: there is none)."""

    identity: tuple[Statement, ...]
    boundary: tuple[Statement, ...] | None = None


NOBODY = Standing(())


@lru_cache(maxsize=1024)
def statements_of(text: str) -> tuple[Statement, ...]:
    """The statements of a policy document; none of one that cannot be read (it was checked when it was stored)."""
    try:
        return read_policy(text)
    except Malformed:
        return ()


@lru_cache(maxsize=256)
def trust_of(text: str) -> tuple[Statement, ...]:
    """The statements of a trust policy."""
    try:
        return read_trust_policy(text)
    except Malformed:
        return ()


def documents_of(drawer: Drawer, entity: Document) -> list[str]:
    """The policy documents of a role, user or group: inline and attached ones, and those of a user's groups."""
    found = list(entity["inline"].values())
    found += [text for arn in entity["attached"] if (text := policy_document(drawer, arn)) is not None]
    for name in entity.get("groups", ()):
        group = find(drawer, GROUP, name)
        if group is not None:
            found += documents_of(drawer, group)
    return found


def standing_of(drawer: Drawer, arn: str) -> Standing | None:
    """The standing of a user, a role, or a session of a role. None when there is no such identity."""
    entity = entity_of(drawer, arn)
    if entity is None:
        return None
    identity = tuple(statement for text in documents_of(drawer, entity) for statement in statements_of(text))
    boundary = entity.get("boundary")
    if not boundary:
        return Standing(identity)
    return Standing(identity, statements_of(policy_document(drawer, boundary) or ""))


def entity_of(drawer: Drawer, arn: str) -> Document | None:
    """The user, role or group that an ARN names; of a session, its role."""
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind == "assumed-role":
        return find(drawer, ROLE, rest.partition("/")[0])
    known = {"user": USER, "role": ROLE, "group": GROUP}.get(kind)
    return find(drawer, known, rest.rpartition("/")[2]) if known else None
