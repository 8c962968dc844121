"""The stories of the simulation: what each shows, read off its trace; `tests/docs` holds the pages that show them to it."""

from __future__ import annotations

import re

import pytest

from batchyard.simulate import many, scenario, telling

STORIES = [name for name in scenario.names() if scenario.load(name).story is not None]


def trace(name: str) -> str:
    return telling.told(scenario.load(name))


def on_demand(text: str) -> list[str]:
    """What on-demand used of what ran there, after each step."""
    return re.findall(r"on-demand (\d+/\d+)$", text, re.MULTILINE)


@pytest.mark.parametrize("name", STORIES)
def test_a_story_is_the_same_each_time_and_comes_to_rest(name: str) -> None:
    text = trace(name)
    assert text == trace(name)
    jobs = re.findall(r"submitted +(\S+) to", text)
    assert sorted(re.findall(r"ended +(\S+)$", text, re.MULTILINE)) == sorted(jobs)
    assert max(map(len, text.splitlines())) <= telling.WIDTH


def test_spill_idle_uses_an_instance_that_is_there() -> None:
    text = trace("spill-idle-room")
    assert "30 s  submitted    align-2 to default: 2 vCPUs\n         placed       align-2 on i-1 in on-demand" in text
    assert text.count("starting     ") == 2 and "i-1 in on-demand: 2 vCPUs, for a job of urgent" in text


def test_spill_idle_without_one_waits_and_starts_nothing() -> None:
    text = trace("spill-idle-none")
    assert set(on_demand(text)) == {"0/0"}
    assert "2 of 2 vCPUs (maxvCpus) are taken" in text and "(batchyard:spill=idle); no instance runs" in text
    assert "65 s  ended        align-1\n         placed       align-2 on i-1 in spot" in text


def test_spill_idle_lends_what_is_kept_and_not_what_another_job_called_for() -> None:
    text = trace("spill-idle-others")
    assert "placed       align-1 on i-1 in on-demand" in text  # minvCpus
    assert "35 s  running      i-3 in on-demand\n         placed       call on i-3 in on-demand" in text
    assert "55 s  ended        call\n         placed       align-3 on i-3 in on-demand" in text


def test_spill_scale_grows() -> None:
    text = trace("spill-scale")
    assert "starting     i-2 in on-demand: 2 vCPUs, for a job of default" in text
    assert on_demand(text)[0] == "0/0" and "2/2" in on_demand(text) and on_demand(text)[-1] == "0/0"


def test_stories_take_no_seeds_from_the_others() -> None:
    assert {scenario.for_seed(seed).name for seed in range(100)} == set(scenario.names()) - set(STORIES)
    assert not many.run_seeds([7]).failures
