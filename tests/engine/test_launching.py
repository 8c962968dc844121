"""The environment contract of a job, and the real world's clock and ids."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
from engine_bench import CE, Q
from msgspec import Raw

from batchyard.compute.catalogue import Catalogue
from batchyard.engine.dispatch import LaunchOrder
from batchyard.engine.launching import AttemptKeys, Launcher
from batchyard.engine.world import JobIds, RealWorld
from batchyard.model.capacity import Environment, Queue, Resources
from batchyard.model.job import Attempt, Job, Specification, Status
from batchyard.model.messages import Launch

ENVIRONMENT = Environment(arn=CE, name="ce", account="1", region="r", uuid="u", kind="MANAGED", instance_types=("m5.large", "optimal"))
QUEUE = Queue(arn=Q, name="q", account="1", region="r", priority=1, environments=(CE,))
ATTEMPT = Attempt(id="a" * 32, number=2, instance="i-1", environment=CE, log_stream="d/default/a", placed_at_ms=1)


def launch(effective: bytes, *, index: int | None = None, **more: object) -> Launch:
    fields = {"needs": Resources(0.5, 100), "array_size": 0 if index is None else 7, **more}
    spec = Specification(id="j", account="1", region="eu-1", name="n", queue=Q, definition="d", effective=Raw(effective), **fields)  # type: ignore[arg-type]
    id = "j" if index is None else f"j:{index}"
    job = Job(id=id, spec_id="j", status=Status.STARTING, created_at_ms=0, index=index, current=ATTEMPT)
    made = Launcher({"PATH": "/bin", "LANG": "C"}, "http://here:1", lambda order: AttemptKeys("AK", "SK", f"T-{order.attempt.number}"))
    return made.launch(LaunchOrder(job, spec, ATTEMPT), ENVIRONMENT, QUEUE)


def test_all_that_a_job_gets() -> None:
    told = launch(
        b'{"command":["a","b c"],"environment":[{"name":"X","value":"1"},{"name":"E"}],"user":"nobody"}', timeout_s=60, log_group="/g"
    )
    assert (told.attempt, told.job_id, told.number, told.instance) == ("a" * 32, "j", 2, "i-1")
    assert (told.command, told.user, told.timeout_s, told.log_group, told.log_stream) == (("a", "b c"), "nobody", 60, "/g", "d/default/a")
    assert told.environment == {
        "PATH": "/bin",
        "LANG": "C",
        "AWS_ENDPOINT_URL": "http://here:1",
        "AWS_REGION": "eu-1",
        "AWS_DEFAULT_REGION": "eu-1",
        "AWS_ACCESS_KEY_ID": "AK",
        "AWS_SECRET_ACCESS_KEY": "SK",
        "AWS_SESSION_TOKEN": "T-2",
        "X": "1",
        "E": "",
        "AWS_BATCH_CE_NAME": "ce",
        "AWS_BATCH_JQ_NAME": "q",
        "AWS_BATCH_JOB_ID": "j",
        "AWS_BATCH_JOB_ATTEMPT": "2",
        "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
        "BATCHYARD_VCPUS": "0.5",
        "BATCHYARD_MEMORY_MIB": "100",
    }


def test_defaults() -> None:
    told = launch(b"{}")
    assert (told.command, told.user, told.timeout_s, told.log_group) == ((), "", None, "/aws/batch/job")


def test_a_child_knows_its_index_and_its_array() -> None:
    told = launch(b"{}", index=3).environment
    assert (told["AWS_BATCH_JOB_ID"], told["AWS_BATCH_JOB_ARRAY_INDEX"], told["AWS_BATCH_JOB_ARRAY_SIZE"]) == ("j:3", "3", "7")
    assert "AWS_BATCH_JOB_ARRAY_INDEX" not in launch(b"{}").environment


def test_own_keys_are_not_mixed_with_ours_and_nobody_sets_ours() -> None:
    told = launch(
        b'{"environment":[{"name":"AWS_ACCESS_KEY_ID","value":"MINE"},{"name":"AWS_BATCH_JOB_ID","value":"lie"},'
        b'{"name":"AWS_ENDPOINT_URL","value":"https://elsewhere"},{"value":"nameless"}]}'
    ).environment
    assert told["AWS_ACCESS_KEY_ID"] == "MINE" and "AWS_SESSION_TOKEN" not in told and "AWS_SECRET_ACCESS_KEY" not in told
    assert told["AWS_BATCH_JOB_ID"] == "j" and told["AWS_ENDPOINT_URL"] == "https://elsewhere"


# --- the real world ---


def test_the_clock_and_ids_of_the_real_world_only_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([5_000_000_000_000, 3_000_000_000_000, 6_000_000_000_000])
    monkeypatch.setattr("batchyard.engine.world.time", SimpleNamespace(time_ns=lambda: next(clock)))  # nobody else's clock
    world = RealWorld(Resources(8, 8192), Catalogue())
    assert [world.now_ms() for _ in range(3)] == [5_000_000, 5_000_000, 6_000_000]
    ids = [world.job_id(6_000_000) for _ in range(3)]
    assert all(a < b for a, b in pairwise(ids))
    assert len(world.hex_id(17)) == 17 and len(world.hex_id(32)) == 32


def test_the_clock_is_never_behind_the_last_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    last = JobIds().next(7_000_000, 0)
    monkeypatch.setattr("batchyard.engine.world.time", SimpleNamespace(time_ns=lambda: 1_000_000_000_000))
    world = RealWorld(Resources(8, 8192), Catalogue(), last)
    assert world.now_ms() == 7_000_000 and world.job_id(world.now_ms()) > last


def test_the_host_and_its_types() -> None:
    host = Resources(8, 8192)
    world = RealWorld(host, Catalogue())
    assert (world.host_room("local"), world.host_room("slurm")) == (host, None)
    carved, exact = world.shapes(ENVIRONMENT)
    assert (carved.name, carved.room, carved.exact) == ("optimal", host, False)
    assert (exact.name, exact.exact) == ("m5.large", True)
    assert 0 < world.price(exact, exact.room, spot=True) < world.price(exact, exact.room, spot=False)
