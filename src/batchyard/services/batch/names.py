"""Names and ARNs of Batch's things: making them, and finding a thing by either, within the caller's account and region."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from batchyard.model.capacity import Environment, Queue
from batchyard.model.consumable import Consumable
from batchyard.model.definition import Definition
from batchyard.model.fairshare import SchedulingPolicy
from batchyard.model.fault import client_fault
from batchyard.model.view import Reader
from batchyard.services import Caller

NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_NAME_AND_REVISION = re.compile(r"([A-Za-z0-9_-]{1,128}):([0-9]{1,9})")

Thing = TypeVar("Thing", Environment, Queue, Consumable, SchedulingPolicy)


def arn_of(caller: Caller, kind: str, name: str) -> str:
    """`arn:aws:batch:<region>:<account>:<kind>/<name>`; kinds: compute-environment, job-queue, job-definition, job."""
    return f"arn:aws:batch:{caller.region}:{caller.account}:{kind}/{name}"


def find_environment(things: Mapping[str, Environment], caller: Caller, name_or_arn: str) -> Environment | None:
    """A compute environment of the caller's account and region by name or ARN; None if there is none."""
    return _find(things, caller, "compute-environment", name_or_arn)


def find_queue(things: Mapping[str, Queue], caller: Caller, name_or_arn: str) -> Queue | None:
    """A job queue of the caller's account and region by name or ARN; None if there is none."""
    return _find(things, caller, "job-queue", name_or_arn)


def find_consumable(things: Mapping[str, Consumable], caller: Caller, name_or_arn: str) -> Consumable | None:
    """A consumable resource of the caller's account and region by name or ARN; None if there is none."""
    return _find(things, caller, "consumable-resource", name_or_arn)


def by_name(things: Mapping[str, Thing], caller: Caller) -> list[tuple[str, Thing]]:
    """(name, thing) of all that are of the caller's account and region, in order of name."""
    return sorted((thing.name, thing) for thing in things.values() if (thing.account, thing.region) == (caller.account, caller.region))


def _find(things: Mapping[str, Thing], caller: Caller, kind: str, name_or_arn: str) -> Thing | None:
    if not name_or_arn.startswith("arn:"):
        return things.get(arn_of(caller, kind, name_or_arn))
    return things.get(name_or_arn) if name_or_arn.startswith(arn_of(caller, kind, "")) else None


class DefinitionName(NamedTuple):
    """A job definition as a caller writes it. No revision means the latest active one."""

    name: str
    revision: int | None
    is_arn: bool


def parse_definition(caller: Caller, text: str) -> DefinitionName | None:
    """`name`, `name:revision`, or an ARN of the caller's account and region with or without a revision; None for anything else."""
    prefix = arn_of(caller, "job-definition", "")
    is_arn = text.startswith(prefix)
    rest = text[len(prefix) :] if is_arn else text
    if NAME.fullmatch(rest):
        return DefinitionName(rest, None, is_arn)
    parts = _NAME_AND_REVISION.fullmatch(rest)
    return DefinitionName(parts[1], int(parts[2]), is_arn) if parts else None


def revision_of(read: Reader, caller: Caller, name: str, revision: int) -> Definition | None:
    """One revision of a job definition, active or not; None if there is none."""
    return read.definitions.get(arn_of(caller, "job-definition", f"{name}:{revision}"))


def latest_active(read: Reader, caller: Caller, name: str) -> Definition | None:
    """The newest revision that is ACTIVE; None if there is none."""
    for revision in range(read.latest_revision(caller.account, caller.region, name), 0, -1):
        definition = revision_of(read, caller, name, revision)
        if definition is not None and definition.active:
            return definition
    return None


def job_id_of(caller: Caller, id_or_arn: str) -> str:
    """A job's id from an id or an ARN of the caller's account and region. Any other ARN is no job's id and is given back as it is."""
    prefix = arn_of(caller, "job", "")
    return id_or_arn[len(prefix) :] if id_or_arn.startswith(prefix) else id_or_arn


def check_name(member: str, name: str) -> None:
    """Refuse a name that AWS's pattern does not allow."""
    if not NAME.fullmatch(name):
        raise client_fault(f"{member} should match valid pattern: 1 to 128 letters, digits, hyphens and underscores.")
