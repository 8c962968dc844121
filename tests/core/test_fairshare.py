"""Fair share: what counts as used, whose turn it is, and what is kept for shares that are not active (specification, section 3.4)."""

from __future__ import annotations

import math

import pytest
from plain_yard import NOW, PlainYard

from batchyard.core import fairshare, reasons
from batchyard.core.fairshare import UNBOUND, Allowance
from batchyard.core.scheduling import Rules, plan
from batchyard.model.capacity import State
from batchyard.model.fairshare import SchedulingPolicy, ShareUsage, ShareWeight


def policy(*weights: ShareWeight, **more: int) -> SchedulingPolicy:
    return SchedulingPolicy(arn="p", name="p", account="1", region="r", distribution=weights, **more)


def fair(reservation: int = 0, max_vcpus: int = 8) -> PlainYard:
    """One environment with one running instance of 8 vCPUs, and a fair-share queue."""
    yard = PlainYard()
    yard.environment(max_vcpus=max_vcpus)
    yard.queue(scheduling_policy="p")
    yard.fair(reservation=reservation)
    yard.instance("i-1", (8, 16384))
    return yard


def order(yard: PlainYard) -> list[str]:
    return [w.job_id for w in yard.ready("q")]


def placed(yard: PlainYard, rules: Rules | None = None) -> list[str]:
    return [w.job_id for w, _ in plan(yard, NOW, rules or Rules()).placements]


# --- weights and windows ---


def test_the_weight_of_a_share() -> None:
    known = policy(ShareWeight("a", 0.5), ShareWeight("User*", 2.0), ShareWeight("b"))
    weights = [fairshare.weight_of(known, share) for share in ("a", "aa", "User", "UserA", "b", "c", "User*")]
    assert weights == [0.5, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0]
    assert fairshare.weight_of(None, "a") == 1.0


def test_the_window_is_awss_own_unless_it_is_given() -> None:
    assert [fairshare.window_s(p) for p in (None, policy(), policy(decay_s=60))] == [600, 600, 60]


# --- what was used ---


def test_what_is_held_is_used_and_what_was_used_decays() -> None:
    window = 200.0
    nothing = ShareUsage(queue="q", share="a")
    running = fairshare.changed(nothing, 0.0, 2.0, 10_000, window)
    assert running.vcpu_s == 0 and running.at_ms == 10_000
    assert fairshare.used_by(running, 2.0, 11_000, window) == pytest.approx(2.0, rel=0.01), "for a second two vCPUs"
    ended = fairshare.changed(running, 2.0, -2.0, 110_000, window)
    assert ended.vcpu_s == pytest.approx(2 * window * (1 - math.exp(-0.5)))
    assert fairshare.used_by(ended, 0.0, 110_000 + 200_000, window) == pytest.approx(ended.vcpu_s / math.e)
    assert fairshare.used_by(ended, 0.0, 0, window) == ended.vcpu_s, "a time before the record is taken for its own"


def test_what_is_held_for_ever_comes_to_its_vcpus_times_the_window() -> None:
    assert fairshare.used_by(ShareUsage(queue="q", share="a"), 3.0, 10**9, 200.0) == pytest.approx(600.0)


def test_it_makes_no_difference_how_often_somebody_looked() -> None:
    once = fairshare.settled(ShareUsage(queue="q", share="a", vcpu_s=50.0), 3.0, 600_000, 200.0)
    often = ShareUsage(queue="q", share="a", vcpu_s=50.0)
    for at_ms in range(1000, 600_001, 1000):
        often = fairshare.settled(often, 3.0, at_ms, 200.0)
    assert often.vcpu_s == pytest.approx(once.vcpu_s)


def test_an_end_that_is_reported_late_is_made_up_for() -> None:
    window = 200.0
    running = fairshare.changed(ShareUsage(queue="q", share="a"), 0.0, 2.0, 0, window)
    in_time = fairshare.settled(fairshare.changed(running, 2.0, -2.0, 30_000, window), 0.0, 90_000, window)
    late = fairshare.changed(fairshare.settled(running, 2.0, 90_000, window), 2.0, -2.0, 30_000, window)
    assert late.vcpu_s == pytest.approx(in_time.vcpu_s) and late.at_ms == in_time.at_ms


def test_what_jobs_take_is_an_average_of_the_latest() -> None:
    usage = ShareUsage(queue="q", share="a")
    assert fairshare.expected_run_s(usage, 600) == 600, "as long as nobody knows"
    usage = fairshare.ran(usage, 80)
    assert fairshare.expected_run_s(usage, 600) == 80
    usage = fairshare.ran(usage, 0)
    assert fairshare.expected_run_s(usage, 600) == 70
    assert fairshare.expected_run_s(fairshare.ran(usage, 100_000), 600) == 600


# --- whose turn it is ---


def test_the_share_with_the_least_weighted_use_goes_first() -> None:
    yard = fair()
    yard.share("a", used=100)
    yard.share("b", used=150, weight=0.5)
    yard.share("c", used=90)
    for share in "abc":
        yard.wait((1, 100), share=share, name=share)
    assert order(yard) == ["b", "c", "a"]


def test_what_is_held_counts_as_much_as_it_is_expected_to_use() -> None:
    yard = fair()
    yard.share("a", held=1)
    yard.share("b", used=199)  # and jobs of a take 200 s
    yard.wait((1, 100), share="a", name="a")
    yard.wait((1, 100), share="b", name="b")
    assert order(yard) == ["b", "a"]


def test_each_job_that_is_placed_counts_for_who_is_next() -> None:
    yard = fair()
    yard.share("a")
    yard.share("b", weight=0.5)
    for number in range(6):
        yard.wait((1, 100), share="a", name=f"a{number}")
        yard.wait((1, 100), share="b", name=f"b{number}")
    first = placed(yard)
    assert len(first) == 8 and [sum(name.startswith(s) for name in first[:6]) for s in "ab"] == [2, 4]
    assert first[:3] == ["a0", "b0", "b1"], "of equals the one whose first job came first"


def test_within_a_share_the_higher_priority_goes_first_and_does_not_count_against_others() -> None:
    yard = fair()
    yard.share("a", used=10)
    yard.wait((1, 100), share="a", name="low", priority=1)
    yard.wait((1, 100), share="a", name="high", priority=9999)
    yard.wait((1, 100), share="b", name="other", priority=0)
    assert order(yard) == ["other", "high", "low"]


def test_a_head_without_room_blocks_the_queue_and_not_only_its_share() -> None:
    yard = fair()
    yard.share("a", used=10)
    yard.instance("i-1", (8, 16384), runs=[(7, 100)])
    yard.wait((1, 100), share="a", name="small")
    yard.wait((2, 100), share="b", name="large")
    made = plan(yard, NOW, Rules())
    assert made.placements == [] and made.blocked == {"q": "large"}


def test_impossible_jobs_let_other_shares_pass_without_being_counted() -> None:
    yard = fair()
    yard.share("b", used=1)
    yard.wait((99, 100), share="a", name="never")
    yard.wait((1, 100), share="a", name="a")
    yard.wait((1, 100), share="b", name="b")
    assert placed(yard) == ["a", "b"]
    assert placed(yard, Rules(pass_impossible=False)) == []


# --- the reservation ---


@pytest.mark.parametrize(
    ("reservation", "active", "part"),
    [(50, 1, 0.5), (50, 2, 0.25), (50, 3, 0.125), (25, 1, 0.25), (25, 2, 0.0625), (25, 3, 0.015625), (0, 1, 0)],
)
def test_the_reserved_part(reservation: int, active: int, part: float) -> None:
    assert fairshare.reserved(reservation, active) == pytest.approx(part)


def test_with_half_reserved_one_active_share_has_half_and_two_have_three_quarters() -> None:
    yard = fair(reservation=50)
    for number in range(8):
        yard.wait((1, 100), share="a", name=f"a{number}")
    made = plan(yard, NOW, Rules())
    assert len(made.placements) == 4 and made.blocked == {"q": "a4"} and made.starts == [], "and no instance is started for the rest"
    yard.wait((1, 100), share="b", name="b")
    assert len(placed(yard)) == 6


def test_a_share_that_is_active_without_jobs_counts_too() -> None:
    yard = fair(reservation=50)
    yard.share("gone", active=True)
    yard.share("long gone", active=False)
    for _ in range(8):
        yard.wait((1, 100), share="a")
    assert len(placed(yard)) == 6


def test_what_is_held_already_counts() -> None:
    yard = fair(reservation=50)
    yard.share("a", held=3)
    for _ in range(8):
        yard.wait((1, 100), share="a")
    assert fairshare.allowance(yard, yard.queues["q"]) == Allowance(4, 1, 8, 1)
    assert len(placed(yard)) == 1


def test_only_as_many_instances_are_started_as_may_be_held() -> None:
    yard = PlainYard()
    yard.environment(max_vcpus=8)
    yard.queue()
    yard.fair(reservation=50)
    for _ in range(8):
        yard.wait((1, 100), share="a")
    assert sum(wish.room.vcpus for wish in plan(yard, NOW, Rules()).starts) == 4


def test_a_job_larger_than_what_is_left_to_all_active_shares_lets_others_pass_or_blocks() -> None:
    yard = fair(reservation=50)
    yard.wait((6, 100), share="a", name="wide")
    yard.wait((1, 100), share="a", name="small")
    assert placed(yard) == ["small"]
    assert placed(yard, Rules(pass_impossible=False)) == []


def test_the_maximum_is_that_of_environments_that_take_jobs() -> None:
    yard = PlainYard()
    for name, more in {"a": {}, "off": {"state": State.DISABLED}, "b": {"max_vcpus": 4}}.items():
        yard.environment(name, **{"max_vcpus": 8, **more})
    yard.environment("mine", kind="UNMANAGED", max_vcpus=0, unmanaged_vcpus=20, shapes=())
    yard.queue(environments=["a", "off", "mine"])
    yard.fair(reservation=50)
    yard.share("s")
    assert fairshare.allowance(yard, yard.queues["q"]).all_vcpus == 28
    yard.queue(environments=["b"])
    assert fairshare.allowance(yard, yard.queues["q"]).all_vcpus == 4


def test_nothing_is_reserved_where_nobody_says_how_much_there_is() -> None:
    yard = PlainYard()
    yard.environment("mine", kind="UNMANAGED", max_vcpus=0, shapes=())
    yard.queue(environments=["mine"])
    assert fairshare.allowance(yard, yard.queues["q"]) == UNBOUND
    yard.fair(reservation=50)
    yard.share("s")
    assert fairshare.allowance(yard, yard.queues["q"]) == UNBOUND


# --- UNMANAGED ---


def test_nothing_is_started_for_an_unmanaged_environment_and_its_jobs_wait_in_order() -> None:
    yard = PlainYard()
    yard.environment("mine", kind="UNMANAGED", max_vcpus=0, shapes=())
    yard.environment("managed")
    yard.queue(environments=["mine"])
    yard.wait((1, 100), name="first")
    yard.wait((99, 100), name="second")
    made = plan(yard, NOW, Rules())
    assert (made.placements, made.starts, made.blocked) == ([], [], {"q": "first"})
    yard.queue(environments=["mine", "managed"])
    assert [wish.environment for wish in plan(yard, NOW, Rules()).starts] == ["managed"]


# --- reasons ---


def test_who_is_held_back_is_told_by_how_much() -> None:
    yard = fair(reservation=50)
    yard.share("a", held=4)
    told = reasons.kept_for_others(yard, yard.queues["q"], 1)
    assert told is not None and told.environment == ""
    assert told.fix == "wait for jobs of the queue to end, or lower the scheduling policy's computeReservation"
    assert told.shortfall == (
        "computeReservation keeps 4 of the queue's 8 vCPUs for share identifiers that are not active: the one active share may hold 4,"
        " and 4 are held"
    )
    yard.share("b", held=1)
    told = reasons.kept_for_others(yard, yard.queues["q"], 7)
    assert told is not None and "the 2 active shares may hold 6, and 5 are held" in told.shortfall
    assert told.fix.startswith("ask for at most 6 vCPUs")
    assert reasons.kept_for_others(yard, yard.queues["q"], 1) is None


def test_who_waits_behind_another_share_is_told_why_that_comes_first() -> None:
    yard = fair()
    yard.share("a", used=120.4, held=2)
    yard.share("b", used=20, weight=0.5)
    assert reasons.behind_share(yard, yard.queues["q"], "a", "b") == (
        "share a has used 120 vCPU-seconds of late and holds 2 vCPUs (weight 1);"
        " share b has used 20 vCPU-seconds of late and holds 0 vCPUs (weight 0.5), and comes first"
    )
    assert reasons.behind_share(yard, yard.queues["q"], "a", "a") == ""
    yard.policies.clear()
    assert reasons.behind_share(yard, yard.queues["q"], "a", "b") == ""
