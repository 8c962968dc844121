"""simulate: the real engine in a false world, over and over, with everything going wrong that may go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from batchyard.main.client import EXIT_FAILED
from batchyard.main.commands.draw import emit, say

if TYPE_CHECKING:
    from batchyard.simulate.many import Seen
    from batchyard.simulate.scenario import Scenario
    from batchyard.simulate.simulator import Result


@click.command()
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed; the same seed is the same run.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How many seeds to run, one after the other.")
@click.option("--scenario", "name", metavar="NAME|FILE", help="One of those that are built in, or a TOML file  [each seed takes the next]")
@click.option("--list", "lists", is_flag=True, help="Show the scenarios that are built in.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def simulate(seed: int, seeds: int, name: str | None, lists: bool, as_json: bool) -> None:
    """Prove the engine in a false world.

    Random work runs on a false node while servers crash, disks fail, reports come twice or late, and hosts die. After every turn all
    invariants are checked; at the end every job has ended as the rules say. A failure prints its seed. Exit code 1 if there is one.

    Scenarios whose names begin with spill- are stories instead: nothing is left to chance, and what happens is printed step by step.
    """
    from batchyard.simulate import many, scenario

    if lists:
        _show_scenarios(as_json)
        return
    try:
        chosen = scenario.load(name) if name else None
    except scenario.UnknownScenario as unknown:
        raise click.BadParameter(str(unknown), param_hint="--scenario") from None
    if chosen is not None and chosen.story is not None:
        _tell(chosen, as_json)
        return
    single = seeds == 1 and not as_json
    seen = many.run_seeds(range(seed, seed + seeds), chosen, _show_one if single else lambda result: None)
    if as_json:
        emit({**seen._asdict(), "fired": dict(seen.fired), "failures": {str(k): v for k, v in seen.failures.items()}})
    else:
        _show_together(seen)
    if seen.failures:
        raise SystemExit(EXIT_FAILED)


def _show_scenarios(as_json: bool) -> None:
    from batchyard.simulate import scenario

    known = [scenario.load(name) for name in scenario.names()]
    if as_json:
        emit([{"name": one.name, "about": one.about} for one in known])
        return
    width = max(len(one.name) for one in known)
    for one in known:
        click.echo(f"{one.name.ljust(width)}  {one.about}")


def _tell(chosen: Scenario, as_json: bool) -> None:
    from batchyard.simulate import telling

    trace = telling.told(chosen)
    if as_json:
        emit({"scenario": chosen.name, "trace": trace.splitlines()})
    else:
        click.echo(trace, nl=False)


def _show_one(result: Result) -> None:
    click.echo(f"seed {result.seed}, scenario {result.scenario}: {result.jobs} submissions in {result.turns} turns; digest {result.digest}")


def _show_together(seen: Seen) -> None:
    for seed, message in seen.failures.items():
        click.echo(f"seed {seed} FAILED: {message}\n")
    faults = ", ".join(f"{kind} {count}" for kind, count in sorted(seen.fired.items())) or "none"
    click.echo(f"faults: {faults}")
    say(f"{seen.runs} runs, {seen.jobs} submissions, {seen.turns} turns; {len(seen.failures)} failed.")
