"""jobStateTimeLimitActions with the clock in hand: who is cancelled, when, and with which words."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import Bench, ready_bench

TOO_LARGE = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
OVER_MAX = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
SAID = "Canceled by JobStateTimeLimit action due to reason: "


def limit(reason: str, seconds: int = 600, **more: Any) -> dict[str, Any]:
    return {"reason": reason, "state": "RUNNABLE", "maxTimeSeconds": seconds, "action": "CANCEL", **more}


def needing(vcpus: int, memory_mib: int) -> dict[str, Any]:
    return {
        "containerOverrides": {
            "resourceRequirements": [{"type": "VCPU", "value": str(vcpus)}, {"type": "MEMORY", "value": str(memory_mib)}]
        }
    }


def limited(profile: str, *reasons: str) -> Bench:
    bench = ready_bench(profile)
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", computeResources={"maxvCpus": 2})
    bench.call("UpdateJobQueue", jobQueue="queue", jobStateTimeLimitActions=[limit(reason) for reason in reasons])
    return bench


@pytest.mark.parametrize("profile", ["open", "aws"])
def test_a_head_that_no_machine_holds_is_cancelled_after_its_time(profile: str) -> None:
    bench = limited(profile, TOO_LARGE)
    job = bench.submit(**needing(1, 99_999_999))
    bench.tick(599)
    bench.report()
    waiting = bench.job(job)
    assert waiting["status"] == "RUNNABLE"
    assert waiting["statusReason"] == (
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher than that can be met by"
        " the CE(s) attached to the job queue."
    )
    bench.tick(1)
    bench.report()
    ended = bench.job(job)
    assert (ended["status"], ended["statusReason"], ended["isCancelled"]) == ("FAILED", SAID + TOO_LARGE, True)
    assert ended["attempts"] == [] and "startedAt" not in ended


def test_the_next_one_has_all_of_its_time_before_it() -> None:
    bench = limited("aws", TOO_LARGE)
    jobs = [bench.submit(**needing(1, 99_999_999)) for _ in range(2)]
    bench.tick(600)
    bench.report()
    assert [bench.job(job)["status"] for job in jobs] == ["FAILED", "RUNNABLE"]
    bench.tick(599)
    bench.report()
    assert bench.job(jobs[1])["status"] == "RUNNABLE"
    bench.tick(1)
    bench.report()
    assert bench.job(jobs[1])["status"] == "FAILED"


def test_only_the_reasons_that_are_named() -> None:
    bench = limited("aws", TOO_LARGE)
    job = bench.submit(**needing(3, 64))
    bench.tick(86_400)
    bench.report()
    assert bench.job(job)["status"] == "RUNNABLE"
    assert bench.job(job)["statusReason"].startswith(OVER_MAX)


def test_time_counts_on_through_a_restart_and_anew_after_a_change() -> None:
    bench = limited("open", OVER_MAX)
    job = bench.submit(**needing(3, 64))
    bench.tick(400)
    bench.engine.rebuild()
    bench.report()
    bench.tick(200)
    bench.report()
    assert bench.job(job)["statusReason"] == SAID + OVER_MAX

    job = bench.submit(**needing(3, 64))
    bench.tick(400)
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", state="DISABLED")
    bench.tick(10)
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", state="ENABLED")
    bench.tick(300)
    bench.report()
    assert bench.job(job)["status"] == "RUNNABLE"


def test_an_array_ends_as_a_whole() -> None:
    bench = limited("open", OVER_MAX)
    array = bench.submit(**needing(3, 64), arrayProperties={"size": 3})
    bench.tick(600)
    bench.report()
    ended = bench.job(array)
    assert (ended["status"], ended["arrayProperties"]["statusSummary"]["FAILED"]) == ("FAILED", 3)
    assert bench.job(f"{array}:2")["statusReason"] == SAID + OVER_MAX


def test_a_machine_that_is_full_is_a_lack_of_capacity() -> None:
    bench = ready_bench("aws")
    whole = bench.world.host_room("local")
    assert whole is not None
    bench.environment("big", maxvCpus=int(whole.vcpus) * 4)
    bench.queue("full", ("big",), jobStateTimeLimitActions=[limit(CAPACITY)])
    running = bench.submit(jobQueue="full", **needing(int(whole.vcpus), 64))
    bench.start(running)
    waiting = bench.submit(jobQueue="full", **needing(1, 64))
    assert bench.job(waiting)["statusReason"].startswith(f"{CAPACITY} - Service cannot fulfill the capacity requested for instance type [")
    bench.tick(600)
    bench.report()
    assert bench.job(waiting)["statusReason"] == SAID + CAPACITY


def test_a_queue_that_is_full_by_its_own_bound_is_not() -> None:
    bench = ready_bench("aws")
    bench.environment("small", maxvCpus=1)
    bench.queue("narrow", ("small",), jobStateTimeLimitActions=[limit(CAPACITY)])
    running = bench.submit(jobQueue="narrow", **needing(1, 64))
    bench.start(running)
    waiting = bench.submit(jobQueue="narrow", **needing(1, 64))
    bench.tick(86_400)
    bench.report()
    assert bench.job(waiting)["status"] == "RUNNABLE"
    assert "statusReason" not in bench.job(waiting)


def test_one_that_waits_for_a_licence_does_not_shield_those_behind() -> None:
    bench = limited("open", OVER_MAX)
    bench.call("CreateConsumableResource", consumableResourceName="licence", totalQuantity=0)
    wants = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 1}]}
    first = bench.submit(consumableResourcePropertiesOverride=wants)
    second = bench.submit(**needing(3, 64))
    bench.tick(600)
    bench.report()
    assert [bench.job(job)["status"] for job in (first, second)] == ["RUNNABLE", "FAILED"]


def test_shown_as_given_and_taken_away_by_an_empty_list(ready: Bench) -> None:
    actions = [limit(TOO_LARGE, 600), limit(CAPACITY, 86_400)]
    ready.queue("limited", jobStateTimeLimitActions=actions)

    def shown() -> Any:
        return ready.call("DescribeJobQueues", jobQueues=["limited"])["jobQueues"][0]["jobStateTimeLimitActions"]

    assert shown() == actions
    ready.call("UpdateJobQueue", jobQueue="limited", priority=5)
    assert shown() == actions
    ready.call("UpdateJobQueue", jobQueue="limited", jobStateTimeLimitActions=[])
    assert shown() == []


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (limit(TOO_LARGE, 599), "between 600 and 86400, not 599"),
        (limit(TOO_LARGE, 86_401), "between 600 and 86400"),
        (limit(TOO_LARGE, state="STARTING"), "state STARTING is not valid"),
        (limit(TOO_LARGE, action="TERMINATE"), "only for queues of service jobs"),
        (limit(TOO_LARGE, action="PAUSE"), "action PAUSE is not valid"),
        (limit("ACTION_REQUIRED"), "reason ACTION_REQUIRED is not valid"),
    ],
)
def test_what_is_refused(ready: Bench, action: dict[str, Any], said: str) -> None:
    assert said in ready.refused("UpdateJobQueue", jobQueue="queue", jobStateTimeLimitActions=[action])


def test_a_reason_that_stands_there_twice_is_refused(ready: Bench) -> None:
    twice = [limit(TOO_LARGE), limit(TOO_LARGE, 700)]
    assert "more than once" in ready.refused("UpdateJobQueue", jobQueue="queue", jobStateTimeLimitActions=twice)


def test_explain_says_when() -> None:
    bench = limited("open", OVER_MAX)
    job = bench.submit(**needing(3, 64))
    bench.tick(100)
    told = bench.desk.read.explain(job)
    assert told is not None
    assert told.summary.endswith("its queue cancels it in 500 s if that does not change (jobStateTimeLimitActions)")
