"""The simulation itself: the same run for the same seed, eyes that see, and what it says when a rule is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from batchyard.core import fairshare, lifecycle
from batchyard.core.scratch_space import Promises
from batchyard.engine.engine import Engine
from batchyard.engine.reports import Observer
from batchyard.engine.shares import Shares
from batchyard.engine.yard import Yard
from batchyard.main.cli import batchyard
from batchyard.model.job import Job, Status
from batchyard.model.task import ContainerEnd
from batchyard.simulate import scenario, simulator
from batchyard.simulate.many import run_seeds
from batchyard.simulate.scenario import KINDS, UnknownScenario
from batchyard.store.sql import Store

SOURCE = """
from batchyard.simulate import scenario, simulator
print([simulator.run(seed, scenario.for_seed(seed)).digest for seed in (3, 12, 26)])
"""


def test_the_same_seed_is_the_same_run_in_every_process() -> None:
    """Sets of strings are walked in another order by every process; nothing may depend on it."""
    told = {
        subprocess.run(
            [sys.executable, "-c", SOURCE], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "4711")
    }
    assert len(told) == 1
    assert len(set(json.loads(told.pop().replace("'", '"')))) == 3


def test_every_scenario_runs_and_all_faults_have_one() -> None:
    known = [scenario.load(name) for name in scenario.names()]
    assert [one.name for one in known] == scenario.names()
    assert {kind for one in known for kind in KINDS if getattr(one.faults, kind)} == set(KINDS)
    assert {one.profile for one in known} == {"open", "aws"}


def test_a_scenario_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nabout = "x"\n[workload]\nactions = 5\n[faults]\ndisconnect = 0.5\n')
    mine = scenario.load(str(path))
    assert mine.workload.actions == 5 and mine.faults.disconnect == 0.5
    assert simulator.run(1, mine).fired.keys() <= {"disconnect"}
    path.write_text('name = "mine"\nabout = "x"\n[faults]\nearthquake = 1.0\n')
    with pytest.raises(UnknownScenario, match="earthquake"):
        scenario.load(str(path))
    path.write_text("name = ")
    with pytest.raises(UnknownScenario, match=r"mine\.toml"):
        scenario.load(str(path))
    with pytest.raises(UnknownScenario, match="one of as-aws, bad-disk"):
        scenario.load("nowhere")


# --- does it see? Each of these is a mistake that the engine could hold, and some of them once did. ---


def leaky(yard: Yard, old: Job | None, job: Job, spec: Any) -> None:
    """Room is not given back."""
    if old is None or old.current is None or job.current is not None:
        INDEX_ATTEMPT(yard, old, job, spec)
    else:
        yard.attempts.pop(old.current.id, None)
        yard._on_instance.get(old.current.instance, {}).pop(old.current.id, None)


def forgetful(store: Store, changes: Any) -> None:
    """Half of the jobs are not written."""
    for id in list(changes.jobs)[::2]:
        del changes.jobs[id]
    STAGE(store, changes)


def unfair(yard: Yard, queue: str, passing: Any = ()) -> Any:
    """The last come is first served."""
    return reversed(list(READY(yard, queue, passing)))


def eager(engine: Engine, requests: Any, reports: Any, now_ms: int) -> Any:
    """What was launched is launched again, under another name."""
    turn = DECIDE(engine, requests, reports, now_ms)
    for order in list(turn.effects):
        if hasattr(order.effect, "attempt") and hasattr(order.effect, "job"):
            twin = replace(order.effect, attempt=replace(order.effect.attempt, id="f" * 32))
            turn.effects.append(order._replace(effect=twin))
    return turn


def deaf(observer: Observer, report: Any, now_ms: int) -> None:
    """Nothing is done when a provider comes back."""


def asleep(engine: Engine, queue: str) -> None:
    """Nobody looks when a job becomes ready."""


def oblivious(shares: Shares, usage: Any) -> None:
    """What shares had used is forgotten by a restart."""


def generous(view: Any, queue: Any) -> Any:
    """Nothing is kept for shares that are not active."""
    return fairshare.UNBOUND


def one_sided(shares: Shares, one: Any, more_vcpus: float, at_ms: int) -> None:
    """What a share holds is never given back."""
    if more_vcpus > 0:
        HOLD(shares, one, more_vcpus, at_ms)


def endless(job: Job, spec: Any, event: Any, now_ms: int) -> Job:
    """Every failed attempt is tried again, for ever."""
    moved = ADVANCE(job, spec, event, now_ms)
    return replace(moved, status=Status.RUNNABLE) if moved.attempts and moved.status is Status.FAILED else moved


def mute(end: ContainerEnd) -> ContainerEnd:
    """Why a container of a task ended is not kept."""
    return replace(end, reason="", oom=False)


def lavish(promises: Promises, environment: Any, mib: int) -> None:
    """What one job is promised is promised to the next one too."""


def reckless(promises: Promises, environment: Any, mib: int) -> bool:
    """Nobody asks whether the scratch space is healthy."""
    seen = promises._look(environment.provider)
    return seen is None or mib <= promises._left_mib[environment.provider]


INDEX_ATTEMPT, STAGE, READY, DECIDE = Yard._index_attempt, Store.stage, Yard.ready, Engine.decide
ADVANCE, HOLD = lifecycle.advance, Shares._hold


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("batchyard.engine.yard.Yard._index_attempt", leaky),
        ("batchyard.store.sql.Store.stage", forgetful),
        ("batchyard.engine.yard.Yard.ready", unfair),
        ("batchyard.engine.engine.Engine.decide", eager),
        ("batchyard.engine.reports.Observer._back", deaf),
        ("batchyard.engine.engine.Engine.note_ready", asleep),
        ("batchyard.engine.shares.Shares.restore", oblivious),
        ("batchyard.engine.shares.Shares._hold", one_sided),
        ("batchyard.core.scheduling.fairshare.allowance", generous),
        ("batchyard.core.scratch_space.Promises.take", lavish),
        ("batchyard.core.scratch_space.Promises.offers", reckless),
        ("batchyard.core.lifecycle.advance", endless),
        ("batchyard.core.lifecycle._container_end", mute),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_mistakes_are_seen(where: str, what: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, what)
    for seed in range(40):
        try:
            simulator.run(seed, scenario.for_seed(seed))
        except simulator.Failed as failed:
            assert str(failed).startswith(("Violation: ", "KeyError: ", "AssertionError: ")), failed
            return
    raise AssertionError(f"{what.__name__} was not seen")


def test_a_failure_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Yard, "ready", unfair)
    seen = run_seeds([2])
    (message,) = seen.failures.values()
    assert "batchyard simulate --seed 2 --scenario calm" in message
    assert "Submit(" in message and "The last turns:" in message


# --- the command ---


def test_the_command_runs_one_seed_and_many() -> None:
    one = CliRunner().invoke(batchyard, ["simulate", "--seed", "3", "--scenario", "calm"])
    assert one.exit_code == 0 and one.stdout.startswith("seed 3, scenario calm: ") and "0 failed" in one.stderr
    many = CliRunner().invoke(batchyard, ["simulate", "--seed", "1", "--seeds", "3", "--json"])
    seen = json.loads(many.stdout)
    assert (many.exit_code, seen["runs"], seen["failures"]) == (0, 3, {})


def test_the_command_fails_with_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Yard, "ready", unfair)
    result = CliRunner().invoke(batchyard, ["simulate", "--seed", "2"])
    assert result.exit_code == 1 and "seed 2 FAILED: Violation: " in result.stdout and "1 failed" in result.stderr


def test_the_command_lists_scenarios_and_knows_no_others() -> None:
    listed = CliRunner().invoke(batchyard, ["simulate", "--list"])
    assert "spot-storm  " in listed.stdout
    assert [one["name"] for one in json.loads(CliRunner().invoke(batchyard, ["simulate", "--list", "--json"]).stdout)] == scenario.names()
    unknown = CliRunner().invoke(batchyard, ["simulate", "--scenario", "nowhere"])
    assert unknown.exit_code == 2 and "There is no scenario 'nowhere'" in unknown.stderr
