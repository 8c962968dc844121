"""Scratch space in the main cycle: who may start, who waits, what is kept for whom, and what is said of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from plain_yard import NOW, PlainYard

from batchyard.core import gang_reasons, reasons, scratch_space, time_limits
from batchyard.core.scheduling import Plan, Rules, plan
from batchyard.model.capacity import Platform, Resources, Scratch, Shape, State, TimeLimit
from batchyard.model.job import NodeGroup
from batchyard.model.tags import SCRATCH, check_own_tags, scratch_mib_of
from batchyard.model.view import Waiting

OPEN, AWS = Rules(pass_impossible=True), Rules(pass_impossible=False)
GIB = 1024


def a_yard(capacity_gib: int = 100, unpromised_gib: int = 0, **more: object) -> PlainYard:
    """Instances of 4 vCPUs and room enough; only scratch space is short."""
    yard = PlainYard(host=None)
    yard.environment()
    yard.queue()
    yard.instance("i-1", (4, 8192))
    yard.scratches["local"] = Scratch(True, "", capacity_gib * GIB, unpromised_gib * GIB, 0)
    return yard


def ask(yard: PlainYard, gib: float, queue: str = "q", vcpus: float = 1) -> Waiting:
    return yard.wait(Resources(vcpus, 100, 0, int(gib * GIB)), queue)


def placed(made: Plan) -> list[str]:
    return [waiting.job_id for waiting, _ in made.placements]


# --- the tag ---


@pytest.mark.parametrize(
    ("text", "mib"), [("1", 1024), ("0.5", 512), ("100", 102400), ("0.001", 2), ("1.5", 1536), ("999999.999", 1023999999)]
)
def test_gib_of_the_tag_are_mib_rounded_up(text: str, mib: int) -> None:
    check_own_tags("job", {SCRATCH.name: text})
    check_own_tags("job definition", {SCRATCH.name: text})
    assert scratch_mib_of({SCRATCH.name: text}, {}) == scratch_mib_of({}, {SCRATCH.name: text}) == mib


def test_the_tag_of_a_job_wins_over_that_of_its_definition() -> None:
    assert scratch_mib_of({SCRATCH.name: "7"}, {SCRATCH.name: "2"}) == 2048
    assert scratch_mib_of({"other": "7"}, {}) == 0


# --- who may start ---


def test_what_is_promised_and_taken_and_asked_for_never_exceeds_what_there_is() -> None:
    yard = a_yard(100, unpromised_gib=10)
    yard.instance("i-2", (4, 8192), runs=[Resources(1, 100, 0, 40 * GIB)])
    ask(yard, 50)
    assert placed(plan(yard, NOW, OPEN)) == ["q-0"], "equal is enough"
    yard.waiting.clear()
    ask(yard, 50 + 1 / GIB)
    made = plan(yard, NOW, OPEN)
    assert placed(made) == [] and made.blocked == {"q": "q-0"} and made.starts == []


def test_of_two_in_one_cycle_that_ask_for_too_much_together_one_starts() -> None:
    yard = a_yard(100)
    ask(yard, 60)
    ask(yard, 60)
    made = plan(yard, NOW, OPEN)
    assert placed(made) == ["q-0"] and made.blocked == {"q": "q-1"}


def test_a_head_that_waits_for_scratch_space_blocks_its_queue_but_no_other() -> None:
    yard = a_yard(100, unpromised_gib=95)
    yard.queue("other", priority=0)
    ask(yard, 10)
    ask(yard, 0)
    ask(yard, 0, "other")
    made = plan(yard, NOW, OPEN)
    assert placed(made) == ["other-0"], "who asks for nothing never waits for it by itself"
    assert made.blocked == {"q": "q-0"}


def test_what_a_head_waits_for_is_kept_from_queues_behind_it() -> None:
    yard = a_yard(100, unpromised_gib=50)
    yard.queue("low", priority=0)
    ask(yard, 60)
    ask(yard, 5, "low")
    made = plan(yard, NOW, OPEN)
    assert placed(made) == [] and made.scratch_kept["local"][0] == ("q", 60 * GIB)


def test_a_head_without_room_keeps_what_it_asks_for_and_no_more() -> None:
    yard = a_yard(100)
    yard.queue("low", priority=0)
    ask(yard, 60, vcpus=8)
    ask(yard, 30, "low")
    ask(yard, 30, "low")
    assert placed(plan(yard, NOW, OPEN)) == ["low-0"]


def test_nothing_is_kept_for_one_that_cannot_start_as_things_are() -> None:
    yard = a_yard(100)
    yard.environment("off", state=State.DISABLED)
    yard.queue("shut", ["off"], priority=5)
    yard.queue("huge", priority=4)
    ask(yard, 80, "shut")
    ask(yard, 80, "huge", vcpus=1000)
    ask(yard, 80)
    for rules in (OPEN, AWS):
        assert placed(plan(yard, NOW, rules)) == ["q-0"]


def test_nothing_is_kept_for_one_that_only_waits_to_be_lent_room() -> None:
    """It may wait for ever, and would keep others from starting for as long."""
    yard = a_yard(100)
    yard.environment("own", max_vcpus=0)
    yard.environment("lends")
    yard.queue("borrower", ["own", "lends"], priority=5, spill_idle=True)
    ask(yard, 80, "borrower")
    ask(yard, 80)
    assert placed(plan(yard, NOW, OPEN)) == ["q-0"]


def test_more_than_there_is_lets_others_pass_in_profile_open_and_blocks_in_profile_aws() -> None:
    yard = a_yard(100)
    ask(yard, 101)
    ask(yard, 1)
    assert placed(plan(yard, NOW, OPEN)) == ["q-1"]
    made = plan(yard, NOW, AWS)
    assert placed(made) == [] and made.blocked == {"q": "q-0"}


def test_no_job_at_all_while_it_is_not_healthy_and_no_instance_for_one() -> None:
    yard = a_yard(100)
    yard.scratches["local"] = Scratch(False, "a device is lost", 100 * GIB, 0, 0)
    ask(yard, 0)
    ask(yard, 0, vcpus=6)
    made = plan(yard, NOW, OPEN)
    assert placed(made) == [] and made.starts == [] and made.blocked == {"q": "q-0"}


def test_before_anything_is_known_only_those_wait_that_ask_for_some() -> None:
    yard = a_yard()
    del yard.scratches["local"]
    ask(yard, 0)
    ask(yard, 1)
    assert placed(plan(yard, NOW, OPEN)) == ["q-0"]
    assert plan(yard, NOW, OPEN).starts == []


def test_no_instance_is_started_or_taken_away_for_a_job_that_lacks_scratch_space() -> None:
    yard = a_yard(100, unpromised_gib=95)
    yard.environment("spot", spot=True)
    yard.instance("s-1", (8, 8192), "spot", runs=[(1, 10)])
    ask(yard, 10, vcpus=8)
    made = plan(yard, NOW, OPEN)
    assert (made.starts, made.reclaims, made.stops) == ([], [], [])


def test_jobs_behind_a_head_count_as_demand_as_far_as_scratch_space_goes() -> None:
    yard = a_yard(100)
    yard.instances.clear()
    for _ in range(5):
        ask(yard, 40)
    made = plan(yard, NOW, OPEN)
    assert sum(start.room.vcpus for start in made.starts) == 2


def test_a_slice_of_its_own_has_the_room_of_the_job_and_no_scratch_space() -> None:
    yard = a_yard(100)
    yard.instances.clear()
    yard.environment("fg", shapes=[Shape("fargate", Resources(16, 65536), exact=False, single=True)], platform=Platform.FARGATE)
    yard.queue("f", ["fg"])
    ask(yard, 40, "f", vcpus=0.5)
    (start,) = plan(yard, NOW, OPEN).starts
    assert start.room == Resources(0.5, 100)
    yard.instance("f-1", start.room, "fg")
    assert placed(plan(yard, NOW, OPEN)) == ["f-0"]


# --- nodes ---


def gang(yard: PlainYard, gib: float, nodes: int) -> Waiting:
    job = ask(yard, gib)
    group = NodeGroup(first=0, last=nodes - 1, needs=job.spec.needs)
    yard.waiting["q"][-1] = made = job._replace(spec=replace(job.spec, nodes=(group,)))
    return made


def test_each_node_of_a_job_is_promised_its_own_and_all_of_them_together() -> None:
    yard = a_yard(100)
    job = gang(yard, 40, 2)
    assert [w.job_id for w, _ in plan(yard, NOW, OPEN).gangs] == ["q-0"]
    yard.scratches["local"] = Scratch(True, "", 100 * GIB, 21 * GIB, 0)
    made = plan(yard, NOW, OPEN)
    assert made.gangs == [] and made.blocked == {"q": "q-0"} and made.starts == [] and made.kept == {}
    (reason,) = gang_reasons.per_environment(yard, yard.queues["q"], job.spec, {})
    assert "asks for 80 GiB" in reason.shortfall and "1 GiB short" in reason.shortfall


def test_nodes_that_together_ask_for_more_than_there_is() -> None:
    yard = a_yard(100)
    job = gang(yard, 51, 2)
    ask(yard, 0)
    assert placed(plan(yard, NOW, OPEN)) == ["q-1"]
    assert gang_reasons.aws_words(yard, yard.queues["q"], job.spec) == "", "AWS has no word for it"
    words = gang_reasons.own_words(yard, yard.queues["q"], job.spec)
    assert words.startswith("MISCONFIGURATION:BATCHYARD_SCRATCH_SPACE - The job asks for 102 GiB") and "can promise 100 GiB in all" in words
    (reason,) = gang_reasons.per_environment(yard, yard.queues["q"], job.spec, {})
    assert "asks for 102 GiB" in reason.shortfall


# --- what is said ---


def test_the_figures_of_a_job_that_waits() -> None:
    yard = a_yard(100, unpromised_gib=10)
    yard.instance("i-2", (4, 8192), runs=[Resources(1, 100, 0, 50 * GIB)])
    job = ask(yard, 60.5)
    (reason,) = reasons.per_environment(yard, yard.queues["q"], job.spec.needs)
    assert reason.shortfall == (
        "the job asks for 60.5 GiB of scratch space; of 100 GiB that can be promised, 50 GiB are promised to jobs that run, and 10 GiB are"
        " taken without a promise: 20.5 GiB short"
    )
    assert reason.fix == "wait for jobs to end, or ask for at most 40 GiB (batchyard:scratch-gib)"


def test_what_is_short_besides_is_said_too_but_no_instance_that_comes_by_itself() -> None:
    yard = a_yard(100, unpromised_gib=95)
    yard.environment("ce", max_vcpus=4)
    job = ask(yard, 10, vcpus=4)
    (reason,) = reasons.per_environment(yard, yard.queues["q"], job.spec.needs)
    assert reason.shortfall.endswith("5 GiB short") and "maxvCpus" not in reason.fix, "there is room"
    yard.instance("i-1", (4, 8192), runs=[(1, 10)])
    (reason,) = reasons.per_environment(yard, yard.queues["q"], job.spec.needs)
    assert "5 GiB short; besides, 4 of 4 vCPUs (maxvCpus) are taken" in reason.shortfall
    assert reason.fix.startswith("wait for jobs to end, or ask for at most 5 GiB (batchyard:scratch-gib); besides, wait for a job to end")
    yard.environment("ce", max_vcpus=40)
    (reason,) = reasons.per_environment(yard, yard.queues["q"], job.spec.needs)
    assert reason.shortfall.endswith("5 GiB short"), "an instance is started once there is scratch space"


def test_the_words_for_a_job_that_asks_for_more_than_there_is_are_ours_and_not_of_aws() -> None:
    yard = a_yard(100)
    job, queue = ask(yard, 250.5), yard.queues["q"]
    assert reasons.aws_words(yard, queue, job.spec.needs) == "" == reasons.head_words(yard, queue, job.spec.needs)
    assert reasons.own_words(yard, queue, job.spec.needs) == (
        "MISCONFIGURATION:BATCHYARD_SCRATCH_SPACE - The job asks for 250.5 GiB of scratch space (tag batchyard:scratch-gib), and this"
        " machine can promise 100 GiB in all. Ask for at most 100 GiB, or start the server with --scratch-gib 279 or more."
    )
    assert reasons.own_words(yard, queue, Resources(1000, 10, 0, 1 << 30)) == "", "it would not fit anyhow, and AWS has words for that"
    assert reasons.own_words(yard, queue, Resources(1, 10, 0, 10)) == ""


def test_a_machine_that_is_not_healthy_and_one_that_has_not_said_anything_yet() -> None:
    yard = a_yard(100)
    queue = yard.queues["q"]
    yard.scratches["local"] = Scratch(False, "a device is lost", 100 * GIB, 0, 0)
    (reason,) = reasons.per_environment(yard, queue, Resources(1, 100))
    assert "not ready: a device is lost" in reason.shortfall
    del yard.scratches["local"]
    assert reasons.per_environment(yard, queue, Resources(1, 100)) == ()
    (reason,) = reasons.per_environment(yard, queue, Resources(1, 100, 0, GIB))
    assert "has not said yet" in reason.shortfall


def test_what_can_be_asked_for_instead_is_never_more_than_there_is() -> None:
    yard = a_yard(1)
    for free_mib in range(1, 3000, 7):
        yard.scratches["local"] = Scratch(True, "", free_mib, 0, 0)
        reason = scratch_space.reason(yard, yard.environments["ce"], free_mib + 1)
        assert reason is not None
        value = reason.fix.partition("at most ")[2].partition(" GiB")[0]
        assert float(value) == 0 or free_mib - 2 <= scratch_mib_of({}, {SCRATCH.name: value}) <= free_mib


# --- time limits ---


def limited(yard: PlainYard, *reasons_named: str) -> None:
    yard.queue("q", time_limits=tuple(TimeLimit(reason, 600) for reason in reasons_named))


def test_more_than_there_is_counts_as_a_requirement_that_cannot_be_met() -> None:
    yard = a_yard(100)
    ask(yard, 101)
    limited(yard, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")
    stuck = time_limits.stuck_head(yard, yard.queues["q"], NOW)
    assert stuck is not None and (stuck.job_id, stuck.reason) == ("q-0", "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")
    limited(yard, "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE")
    assert time_limits.stuck_head(yard, yard.queues["q"], NOW) is None


@pytest.mark.parametrize("why_not", ["", "a device is lost"])
def test_scratch_space_that_others_hold_or_that_is_not_healthy_is_no_reason_to_end_a_job(why_not: str) -> None:
    yard = a_yard()
    yard.host = Resources(4, 8192)  # full: but it is not for want of an instance that the job waits
    yard.scratches["local"] = Scratch(not why_not, why_not, 100 * GIB, 95 * GIB, 0)
    ask(yard, 10)
    limited(yard, *reasons.TIME_LIMIT_REASONS)
    assert time_limits.stuck_head(yard, yard.queues["q"], NOW) is None
