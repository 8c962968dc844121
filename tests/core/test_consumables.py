"""Consumable resources in the plan: all or nothing, in order, and nobody blocked who wants none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from plain_yard import NOW, PlainYard

from batchyard.core import consumables
from batchyard.core.scheduling import Rules, plan
from batchyard.model.consumable import NON_REPLENISHABLE, Consumption


def yard_of(room: int = 8) -> PlainYard:
    yard = PlainYard(host=None)
    yard.environment()
    yard.queue()
    yard.instance("i-1", (room, 4096))
    return yard


def placed(yard: PlainYard) -> list[str]:
    return [w.job_id for w, _ in plan(yard, NOW, Rules()).placements]


def test_two_licences_run_two_of_three_jobs() -> None:
    yard = yard_of()
    yard.consumable("licence", 2)
    for _ in range(3):
        yard.wait((1, 1), licence=1)
    assert placed(yard) == ["q-0", "q-1"]


def test_what_attempts_hold_is_not_there_and_a_lowered_total_is_never_negative() -> None:
    yard = yard_of()
    yard.consumable("licence", 2, held=1)
    yard.wait((1, 1), licence=2)
    yard.wait((1, 1), licence=1)
    assert placed(yard) == [], "the second would take the unit that the first waits for"
    yard.consumable("licence", 2, held=5)
    assert consumables.available(yard, "licence") == 0


def test_resources_are_locked_together_or_not_at_all() -> None:
    yard = yard_of()
    yard.consumable("a", 1)
    yard.consumable("b", 0)
    yard.wait((1, 1), a=1, b=1)
    yard.wait((1, 1), a=1)
    assert placed(yard) == ["q-1"], "the first took nothing of a"


def test_a_job_that_lacks_something_blocks_nobody_who_wants_nothing_of_it() -> None:
    yard = yard_of()
    yard.consumable("licence", 0)
    yard.wait((1, 1), licence=1)
    yard.wait((1, 1))
    made = plan(yard, NOW, Rules())
    assert [w.job_id for w, _ in made.placements] == ["q-1"]
    assert not made.blocked and not made.starts, "no instance is started for a job that could not use it"


def test_more_than_there_is_keeps_nothing_for_itself() -> None:
    yard = yard_of()
    yard.consumable("licence", 2)
    yard.wait((1, 1), licence=3)
    yard.wait((1, 1), licence=1)
    assert placed(yard) == ["q-1"]


def test_a_head_that_waits_for_room_keeps_its_licence_from_queues_behind() -> None:
    yard = yard_of(room=2)
    yard.queue("later", priority=0)
    yard.consumable("licence", 1)
    yard.wait((4, 1), licence=1)
    yard.wait((1, 1), queue="later", licence=1)
    assert placed(yard) == []


def test_an_impossible_head_does_not() -> None:
    yard = yard_of(room=2)
    yard.queue("later", priority=0)
    yard.consumable("licence", 1)
    yard.wait((400, 1), licence=1)
    yard.wait((1, 1), queue="later", licence=1)
    assert placed(yard) == ["later-0"]


def test_what_does_not_come_back_is_all_available_that_is_left_of_the_total() -> None:
    yard = yard_of()
    yard.consumable("token", 3, held=2, kind=NON_REPLENISHABLE)
    assert consumables.available(yard, "token") == 3


def test_each_shortage_has_its_sentence() -> None:
    yard = PlainYard()
    yard.consumable("few", 1)
    yard.consumable("busy", 2, held=2)
    yard.consumable("free", 2)
    wants = tuple(Consumption(name, 2) for name in ("none", "few", "busy", "free"))
    told = {r.environment: (r.shortfall, r.fix) for r in consumables.reasons(yard, wants)}
    assert told == {
        "none": ("it does not exist", "create it: CreateConsumableResource"),
        "few": ("the job needs 2 and there are 1 in all", "raise its total to 2 or more: UpdateConsumableResource"),
        "busy": ("the job needs 2 and 0 of 2 are free", "wait for a job that holds some to end"),
    }


QUANTITIES = st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), max_size=3)


@given(st.lists(QUANTITIES, max_size=20), st.fixed_dictionaries({name: st.integers(0, 6) for name in "abc"}))
def test_no_resource_is_promised_twice_and_equals_never_overtake(jobs: list[dict[str, int]], totals: dict[str, int]) -> None:
    yard = yard_of(room=100)
    for name, total in totals.items():
        yard.consumable(name, total)
    for wants in jobs:
        yard.wait((1, 1), **wants)
    started = set(placed(yard))
    for name, total in totals.items():
        assert sum(wants.get(name, 0) for n, wants in enumerate(jobs) if f"q-{n}" in started) <= total
    for n, wants in enumerate(jobs):
        assert wants or f"q-{n}" in started
        if f"q-{n}" not in started:
            assert all(other != wants or f"q-{m}" not in started for m, other in enumerate(jobs) if m > n)
