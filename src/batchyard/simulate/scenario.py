"""What a false world is like: how much work, of which kind, and what goes wrong how often. Read from TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

FOLDER = Path(__file__).parent / "scenarios"


class Machine(Struct, frozen=True, forbid_unknown_fields=True):
    """The host, and how long an instance takes to start on it when all is well."""

    vcpus: float = 8
    memory_mib: int = 16384
    scratch_gib: int = 64
    start_s: float = 2.0
    notice_s: float = 30.0
    idle_s: float = 20.0


class Workload(Struct, frozen=True, forbid_unknown_fields=True):
    """What callers do. `actions` is a number of them; the others but times are parts between 0 and 1."""

    actions: int = 40
    most_pause_s: float = 6.0
    most_run_s: float = 40.0
    arrays: float = 0.25  # of submissions
    most_children: int = 6
    dependencies: float = 0.4  # of submissions
    retries: float = 0.6  # of submissions: more than one attempt
    timeouts: float = 0.15  # of submissions
    impossible: float = 0.04  # of submissions: larger than anything
    failures: float = 0.25  # of attempts: end with an exit code
    not_started: float = 0.03  # of attempts
    fair_share: float = 0.3  # of queues: with a scheduling policy
    consumables: float = 0.15  # of submissions: want licences or tokens
    scratch: float = 0.15  # of submissions: ask for scratch space
    several: float = 0.2  # of submissions: tasks of two containers
    gangs: float = 0.1  # of submissions: multi-node parallel jobs
    most_nodes: int = 4
    stops: float = 0.15  # of actions: cancel and terminate
    edits: float = 0.15  # of actions: queues, environments, instances


class Faults(Struct, frozen=True, forbid_unknown_fields=True):
    """How likely each fault is whenever it could happen: per report, per effect, or per turn."""

    # per report
    duplicate_report: float = 0.0
    late_report: float = 0.0
    reordered_report: float = 0.0
    # per effect
    slow_start: float = 0.0
    unanswered_start: float = 0.0
    # per turn
    crash_before_write: float = 0.0
    crash_after_write: float = 0.0
    failed_stage: float = 0.0
    failed_commit: float = 0.0
    unsure_commit: float = 0.0  # durable, but the engine is told that it failed
    disconnect: float = 0.0
    lost_instance: float = 0.0
    node_restart: float = 0.0
    missing_attempt: float = 0.0
    reclaim_storm: float = 0.0
    scratch_changed: float = 0.0
    scratch_unwell: float = 0.0  # or well again


KINDS: tuple[str, ...] = Faults.__struct_fields__


class ToldEnvironment(Struct, frozen=True, forbid_unknown_fields=True):
    """A compute environment of a story."""

    name: str
    max_vcpus: int
    min_vcpus: int = 0
    spot: bool = False


class ToldQueue(Struct, frozen=True, forbid_unknown_fields=True):
    """A queue of a story, over environments in this order."""

    name: str
    environments: tuple[str, ...]
    priority: int = 1
    spill: Literal["scale", "idle"] = "scale"


class ToldJob(Struct, frozen=True, forbid_unknown_fields=True):
    """A submission of a story, `at_s` after its beginning; it runs for `run_s`."""

    name: str
    queue: str
    at_s: float = 0.0
    run_s: float = 60.0
    vcpus: float = 1
    memory_mib: int = 512


class Story(Struct, frozen=True, forbid_unknown_fields=True):
    """What happens, step by step, instead of random work; told as a trace. Nothing goes wrong in it, and nothing is left to chance."""

    environments: tuple[ToldEnvironment, ...]
    queues: tuple[ToldQueue, ...]
    jobs: tuple[ToldJob, ...]


class Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    """A false world. `profile` is the server's: in `aws` a job that can never run blocks its queue."""

    name: str
    about: str
    profile: str = "open"
    machine: Machine = Machine()
    workload: Workload = Workload()
    faults: Faults = Faults()
    story: Story | None = None


class UnknownScenario(Exception):
    """There is no such scenario, or its file is wrong; the message says which."""


def load(name_or_path: str) -> Scenario:
    """A scenario that comes with Batchyard, by name, or that of a TOML file. Raises UnknownScenario."""
    path = FOLDER / f"{name_or_path}.toml"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        raise UnknownScenario(f"There is no scenario {name_or_path!r}: give a TOML file, or one of {', '.join(names())}.")
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Scenario)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UnknownScenario(f"{path}: {error}") from error


def names() -> list[str]:
    """The scenarios that come with Batchyard."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def for_seed(seed: int) -> Scenario:
    """Seeds take turns through all scenarios but the stories, so that any run of them sees every fault."""
    known = [one for one in map(load, names()) if one.story is None]
    return known[seed % len(known)]
