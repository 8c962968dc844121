"""The tags by which Batchyard is told what AWS's API has no field for: every `batchyard:*` tag there is, in one table.

On real AWS such a tag is just a tag, so templates that carry them stay legal there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from batchyard.model.fault import client_fault

PREFIX = "batchyard:"


class TagRule(NamedTuple):
    """A tag's name, the kinds of things that may carry it, its values, and what holds without it."""

    name: str
    kinds: tuple[str, ...]
    values: tuple[str, ...]
    default: str
    meaning: str
    pattern: str = ""  # of a tag whose values cannot be listed; `values` then shows their form


QUEUE = "job queue"
ENVIRONMENT = "compute environment"
CONSUMABLE = "consumable resource"
DEFINITION = "job definition"
JOB = "job"
LOG_GROUP = "log group"
STACK = "stack"

SPILL = TagRule(
    "batchyard:spill",
    (QUEUE,),
    ("scale", "idle"),
    "scale",
    "whether environments after the first may start instances, or only lend idle room",
)
PROVIDER = TagRule("batchyard:provider", (ENVIRONMENT,), ("local",), "local", "where instances of the environment run")
RUNTIME = TagRule(
    "batchyard:runtime",
    (DEFINITION, QUEUE),
    ("container", "process"),
    "--runtime",
    "whether jobs run in their images or as processes of the machine; a definition's tag wins over its queue's",
)

LOG_ARCHIVE = TagRule(
    "batchyard:log-archive",
    (LOG_GROUP,),
    ("s3://BUCKET/PREFIX",),
    "",
    "where the logs of jobs are put as files when an attempt has ended",
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>[^\x00-\x1f]*))?",
)

SCRATCH = TagRule(
    "batchyard:scratch-gib",
    (DEFINITION, JOB),
    ("GIB, a number from 0.001 to 999999.999",),
    "",
    "scratch space that a job is sure of while it runs, each node of a multi-node job: it starts only where so much is not promised to"
    " others; a job's tag, said by SubmitJob, wins over its definition's",
    r"(?=.*[1-9])[0-9]{1,6}(\.[0-9]{1,3})?",
)

INERT = TagRule(
    "batchyard:inert",
    (STACK, QUEUE, ENVIRONMENT, CONSUMABLE, DEFINITION, LOG_GROUP, "scheduling policy"),
    ("allow",),
    "",
    "resource types that are not there are recorded without effect; said of a stack, whose resources get its tags",
)

KNOWN: tuple[TagRule, ...] = (SPILL, PROVIDER, RUNTIME, SCRATCH, LOG_ARCHIVE, INERT)
_BY_NAME = {rule.name: rule for rule in KNOWN}


def check_own_tags(kind: str, tags: Mapping[str, str]) -> None:
    """Refuse a `batchyard:*` tag that is unknown, stands on the wrong kind of thing, or has no legal value."""
    for name, value in tags.items():
        if not name.startswith(PREFIX):
            continue
        rule = _BY_NAME.get(name)
        if rule is None:
            raise client_fault(f"Tag {name} is not known. Known {PREFIX}* tags are: {', '.join(sorted(_BY_NAME))}.")
        if kind not in rule.kinds:
            raise client_fault(f"Tag {name} is not for a {kind}. It is for: {', '.join(rule.kinds)}.")
        if value not in rule.values and not (rule.pattern and re.fullmatch(rule.pattern, value)):
            raise client_fault(f"Tag {name} may not be {value!r}. Its values are: {', '.join(rule.values)}.")


def value_of(rule: TagRule, tags: Mapping[str, str]) -> str:
    """What a thing's tags say, or the default."""
    return tags.get(rule.name, rule.default)


def runtime_of(definition: Mapping[str, str], queue: Mapping[str, str], default: str) -> str:
    """How jobs of a definition and a queue with these tags run ("container" or "process"), on a server whose own choice is `default`."""
    return definition.get(RUNTIME.name) or queue.get(RUNTIME.name) or default


def scratch_mib_of(definition: Mapping[str, str], job: Mapping[str, str]) -> int:
    """The scratch space, in MiB, that a job with these tags of its own and of its definition is to be sure of; 0 if they name none.

    What is no whole number of MiB is rounded up.
    """
    text = job.get(SCRATCH.name) or definition.get(SCRATCH.name)
    if not text:
        return 0
    whole, _, decimals = text.partition(".")
    return -(-int(whole + decimals.ljust(3, "0")) * 1024 // 1000)


def fitting(kind: str, tags: Mapping[str, str]) -> dict[str, str]:
    """The tags without those of ours that are known and not for a thing of `kind`: what a stack passes on to such a thing."""
    return {name: value for name, value in tags.items() if name not in _BY_NAME or kind in _BY_NAME[name].kinds}
