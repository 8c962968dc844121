"""Why a job waits: every sentence, and never a wrong one while an instance starts."""

from __future__ import annotations

from typing import Any

import pytest
from plain_yard import HOST, NOW, PlainYard, exact

from batchyard.core import reasons
from batchyard.core.scheduling import Rules, plan
from batchyard.model.capacity import Health, InstanceState, Resources, State
from batchyard.model.view import Reason

ONE = Resources(1, 100)


def yard_with(**environment: Any) -> PlainYard:
    yard = PlainYard()
    yard.environment(**environment)
    yard.queue()
    return yard


def why(yard: PlainYard, needs: Resources = ONE, queue: str = "q") -> list[tuple[str, str]]:
    return [(r.shortfall, r.fix) for r in reasons.per_environment(yard, yard.queues[queue], needs)]


def aws(yard: PlainYard, needs: Resources = ONE) -> str:
    return reasons.aws_words(yard, yard.queues["q"], needs).partition(" - ")[0]


def test_room_now_is_no_reason() -> None:
    yard = yard_with()
    yard.instance("i-1", (1, 100))
    assert why(yard) == []
    assert aws(yard) == ""


@pytest.mark.parametrize(
    ("change", "shortfall", "fix"),
    [
        ({"health": Health.DELETING}, "is being deleted", "attach another compute environment to the queue"),
        (
            {"health": Health.INVALID, "health_reason": "no subnet"},
            "is INVALID: no subnet",
            "mend it with UpdateComputeEnvironment",
        ),
        ({"state": State.DISABLED}, "is DISABLED", "enable it: UpdateComputeEnvironment state=ENABLED"),
    ],
)
def test_closed_environments(change: dict[str, Any], shortfall: str, fix: str) -> None:
    yard = yard_with(**change)
    assert why(yard) == [(shortfall, fix)]
    assert aws(yard) == "ACTION_REQUIRED"


def test_an_environment_that_is_gone() -> None:
    yard = yard_with()
    yard.queue("q", ("arn:aws:batch:r:1:compute-environment/old",))
    assert reasons.per_environment(yard, yard.queues["q"], ONE) == (
        Reason("old", "the compute environment is gone", "update the queue's computeEnvironmentOrder"),
    )
    assert aws(yard) == "ACTION_REQUIRED"


# --- never ---


def test_larger_than_every_type() -> None:
    yard = yard_with(shapes=[exact("large", 2, 4096), exact("g5", 2, 1024, 1)])
    assert why(yard, Resources(2, 5000)) == [
        (
            "no instance type of large, g5 holds 2 vCPUs, 5000 MiB; the largest has 2 vCPUs, 4096 MiB",
            "ask for at most 2 vCPUs, 4096 MiB, or add a larger instance type",
        )
    ]
    assert why(yard, Resources(2, 1, 2))[0][0].startswith("no instance type of large, g5 holds 2 vCPUs, 1 MiB, 2 GPUs;")
    assert aws(yard, Resources(2, 5000)) == "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"


def test_an_environment_without_any_type() -> None:
    assert "the largest has 0 vCPUs, 0 MiB" in why(yard_with(shapes=[]))[0][0]


def test_more_vcpus_than_the_environment_may_have() -> None:
    yard = yard_with(max_vcpus=4)
    assert why(yard, Resources(5, 10)) == [("the job needs 5 vCPUs and maxvCpus is 4", "raise maxvCpus to 5 or more")]
    assert aws(yard, Resources(5, 10)) == "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
    yard = yard_with(max_vcpus=4, shapes=[exact("2xlarge", 8, 100)])
    assert why(yard, Resources(5, 10)) == [("the job needs 5 vCPUs and maxvCpus is 4", "raise maxvCpus to 8 or more")]


def test_a_type_with_more_vcpus_than_the_environment_may_have() -> None:
    yard = yard_with(max_vcpus=4, shapes=[exact("2xlarge", 8, 100)])
    assert why(yard) == [
        (
            "the smallest instance type that holds the job has 8 vCPUs and maxvCpus is 4",
            "raise maxvCpus to 8 or more, or add a smaller instance type",
        )
    ]
    assert aws(yard) == "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"


def test_larger_than_the_machine() -> None:
    yard = yard_with(shapes=[exact("24xlarge", 96, 400_000)])
    assert why(yard, Resources(9, 10)) == [
        (
            "the job needs 9 vCPUs, 10 MiB and this machine has 8 vCPUs, 16384 MiB in all",
            "ask for less, or start the server with larger --vcpus and --memory-mib if the machine has them",
        )
    ]
    assert aws(yard, Resources(9, 10)) == "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"


def test_where_types_are_cut_to_size_the_machine_is_the_bound_and_no_type_is_advised() -> None:
    reason, fix = why(yard_with(), Resources(9, 10))[0]
    assert reason == "the job needs 9 vCPUs, 10 MiB and this machine has 8 vCPUs, 16384 MiB in all"
    assert "instance type" not in fix


def test_a_full_machine_is_not_told_to_raise_the_maximum() -> None:
    yard = yard_with(max_vcpus=6)
    yard.instance("i-1", (6, 16000), runs=[(6, 16000)])
    reason, fix = why(yard, Resources(4, 1000))[0]
    assert reason.startswith("6 of 6 vCPUs (maxvCpus) are taken; 4 short")
    assert fix == "wait for a job to end: this machine has only 2 vCPUs, 384 MiB left"


def test_the_job_fits_the_machine_but_no_named_type_does() -> None:
    yard = yard_with(shapes=[exact("r", 4, 32768), exact("r2", 8, 65536)])
    assert why(yard) == [
        (
            "the job would fit this machine (8 vCPUs, 16384 MiB), but no named instance type does: the smallest that holds the job, r,"
            " has 4 vCPUs, 32768 MiB",
            "add instance type optimal, which may be cut to any size",
        )
    ]


def test_one_environment_that_could_is_enough_for_aws() -> None:
    yard = yard_with(max_vcpus=1)
    yard.environment("big")
    yard.environment("off", state=State.DISABLED)
    yard.queue("q", ("ce", "off", "big"))
    assert aws(yard, Resources(4, 10)) == ""
    yard.queue("q", ("ce", "off"))
    assert aws(yard, Resources(4, 10)) == "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE", "the one that is DISABLED does not count"
    yard.environment("tiny", shapes=[exact("t", 1, 10)])
    yard.queue("q", ("ce", "tiny"))
    assert aws(yard, Resources(4, 10)) == "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"


# --- not now ---


def test_maxvcpus_are_taken_and_how_far_the_roomiest_instance_is() -> None:
    yard = yard_with(max_vcpus=4)
    yard.instance("i-1", (3, 1000), runs=[(3, 10)])
    yard.instance("i-2", (1, 500), runs=[(0.5, 450)])
    assert why(yard, Resources(1, 100)) == [
        (
            "4 of 4 vCPUs (maxvCpus) are taken; 1 short; the roomiest instance lacks 0.5 vCPUs and 50 MiB",
            "wait for a job to end, or raise maxvCpus by 1",
        )
    ]
    yard.instance("i-2", (1, 500), state=InstanceState.PENDING, launched_for="other")
    yard.instance("i-1", (3, 1000), state=InstanceState.STOPPING, runs=[(3, 10)])
    assert "short; no instance runs" in why(yard)[0][0]


def test_gpus_that_lack() -> None:
    yard = yard_with(max_vcpus=2, shapes=[exact("g", 2, 100, 1)])
    yard.host = None
    yard.instance("i-1", Resources(2, 100, 1), runs=[(1, 10)])
    yard.running["i-1"]["i-1-0"] = (Resources(1, 10, 1), True)
    assert why(yard, Resources(1, 10, 1))[0][0] == "2 of 2 vCPUs (maxvCpus) are taken; 2 short; the roomiest instance lacks 1 GPUs"


def test_exact_types_count_as_a_whole() -> None:
    yard = yard_with(max_vcpus=5, shapes=[exact("xlarge", 4, 1000)])
    yard.instance("i-1", (4, 1000), runs=[(4, 10)])
    assert why(yard)[0][0].startswith("4 of 5 vCPUs (maxvCpus) are taken; 3 short;")
    yard = yard_with(shapes=[exact("xlarge", 4, 10_000)])
    yard.environment("other")
    yard.instance("i-1", (4, 10_000), "other", runs=[(4, 10)])
    assert why(yard) == [
        (
            "this machine has 4 vCPUs, 6384 MiB left of 8 vCPUs, 16384 MiB; the smallest instance that holds the job has"
            " 4 vCPUs, 10000 MiB",
            "wait for other jobs to end, or ask for less",
        )
    ]


def test_the_machine_is_taken() -> None:
    yard = yard_with()
    yard.environment("other")
    yard.environment("elsewhere", provider="slurm")
    yard.instance("i-1", (7, 1000), "other", runs=[(7, 10)])
    yard.instance("i-2", (99, 1000), "elsewhere", runs=[(7, 10)])
    assert why(yard, Resources(2, 10)) == [
        (
            "this machine has 1 vCPU, 15384 MiB left of 8 vCPUs, 16384 MiB; the job needs 2 vCPUs, 10 MiB",
            "wait for other jobs to end, or ask for less",
        )
    ]


@pytest.mark.parametrize("host", [HOST, None])
def test_nothing_runs_yet(host: Resources | None) -> None:
    yard = yard_with()
    yard.host = host
    assert why(yard) == [("no instance with room for the job runs yet", "wait: an instance is started for the head of the queue")]


def test_spill_idle() -> None:
    yard = yard_with()
    yard.environment("lent")
    yard.queue("q", ("ce", "lent"), spill_idle=True)
    yard.queue("other", ("lent",))
    yard.instance("i-1", (2, 200), "lent", runs=[(2, 10)], launched_for="other")
    assert why(yard)[1] == (
        "takes this queue's jobs only into room that already runs (batchyard:spill=idle); the roomiest instance lacks 1 vCPUs",
        "wait for such room, raise the environment's minvCpus, or tag the queue batchyard:spill=scale",
    )
    yard.running.clear()
    assert len(why(yard)) == 1, "there is room, so this job is behind another"
    yard.wait((3, 10), "other")
    assert why(yard)[1][0].endswith("what is free is kept for the queue that called for it")


# --- while an instance starts ---


def test_an_instance_that_starts_is_the_reason() -> None:
    yard = yard_with(max_vcpus=2)
    yard.instance("i-1", (2, 100), state=InstanceState.PENDING, launched_for="q")
    assert why(yard) == [("instance i-1 (2 vCPUs, 100 MiB) is starting", "wait: the job starts with it")]
    starting = reasons.starting_instance(yard, yard.queues["q"], ONE)
    assert starting is not None and starting.id == "i-1"
    assert aws(yard) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"launched_for": "other"},
        {"drained": True},
        {"reclaim_at_ms": NOW},
        {"generation": 7},
        {"room": (0.5, 10)},
        {"state": InstanceState.RUNNING},
        {"state": InstanceState.STOPPING},
    ],
)
def test_an_instance_that_the_job_will_not_get_is_not_the_reason(change: dict[str, Any]) -> None:
    yard = yard_with(max_vcpus=2)
    fields = {"room": (2, 100), "state": InstanceState.PENDING, "launched_for": "q", **change}
    room = fields.pop("room")
    yard.instance("i-1", room, runs=[(1.5, 50)], **fields)
    assert reasons.starting_instance(yard, yard.queues["q"], ONE) is None
    assert not any("is starting" in shortfall for shortfall, _ in why(yard))


def test_after_every_plan_the_head_has_a_reason_that_is_true() -> None:
    """A head for which the plan starts an instance waits for that instance, and for nothing else."""
    yard = yard_with(max_vcpus=4)
    yard.wait((2, 100))
    (wish,) = plan(yard, NOW, Rules()).starts
    yard.instance("i-1", wish.room, state=InstanceState.PENDING, launched_for=wish.launched_for)
    assert plan(yard, NOW, Rules()).starts == []
    assert [s for s, _ in why(yard, Resources(2, 100))] == ["instance i-1 (2 vCPUs, 100 MiB) is starting"]
    assert reasons.is_possible(yard, yard.queues["q"], Resources(2, 100))
