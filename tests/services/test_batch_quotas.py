"""The quotas of profile aws, and that profile open has none of them."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import Bench, ready_bench

from batchyard.model.fault import Fault


def order(*names: str) -> list[dict[str, Any]]:
    return [{"order": n, "computeEnvironment": name} for n, name in enumerate(names, 1)]


def test_fifty_submissions_a_second_and_account() -> None:
    bench = ready_bench("aws")
    for _ in range(50):
        bench.submit()
    with pytest.raises(Fault) as refused:
        bench.submit()
    assert (refused.value.code, refused.value.message) == ("TooManyRequestsException", "Too Many Requests")
    bench.tick(0.1)
    assert [bool(bench.submit()) for _ in range(5)] == [True] * 5


def test_the_open_profile_takes_them_as_they_come(ready: Bench) -> None:
    assert len({ready.submit() for _ in range(120)}) == 120


def test_environments_of_a_queue() -> None:
    for profile, most in (("aws", 3), ("open", 10)):
        bench = Bench(profile)
        names = [f"ce{n}" for n in range(most + 1)]
        for name in names:
            bench.environment(name)
        bench.queue("full", names[:most])
        said = bench.refused("CreateJobQueue", jobQueueName="over", priority=1, computeEnvironmentOrder=order(*names))
        assert f"at most {most} compute environments" in said
        assert f"at most {most}" in bench.refused("UpdateJobQueue", jobQueue="full", computeEnvironmentOrder=order(*names))


def test_the_size_of_a_definition() -> None:
    large = {"parameters": {"x": "y" * 25_000}}
    assert ready_bench("open").definition("large", **large)
    bench = ready_bench("aws")
    with pytest.raises(Fault, match="larger than 24 KiB"):
        bench.definition("large", **large)
