"""What holds of scratch space for the plan of any yard whatever."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from plain_yard import NOW, PlainYard
from test_plan_properties import RULES, yards

from batchyard.core import scaling, scratch_space
from batchyard.core.scheduling import Plan, Rules, plan
from batchyard.model.capacity import Scratch
from batchyard.model.view import Waiting

MIB = st.sampled_from([0, 0, 1, 20, 50, 100, 101, 5000])


@st.composite
def asking(draw: st.DrawFn) -> PlainYard:
    """A yard in which some jobs, those that run and those that wait, ask for scratch space, and some machine to have it."""
    yard: PlainYard = draw(yards())
    for there in yard.waiting.values():
        for place, waiting in enumerate(there):
            there[place] = _asks(waiting, draw(MIB))
    for running in yard.running.values():
        for attempt, (needs, survives) in running.items():
            running[attempt] = (needs._replace(scratch_mib=draw(MIB)), survives)
    capacity_mib = draw(st.integers(0, 400))
    seen = Scratch(draw(st.sampled_from([True, True, True, False])), "it is ill", capacity_mib, draw(st.integers(0, 200)), 0)
    yard.scratches = draw(st.sampled_from([{"local": seen}, {"local": seen}, {}]))
    return yard


def _asks(waiting: Waiting, mib: int) -> Waiting:
    return waiting._replace(spec=replace(waiting.spec, needs=waiting.spec.needs._replace(scratch_mib=mib)))


def placed(made: Plan) -> list[tuple[str, str]]:
    return [(waiting.job_id, instance) for waiting, instance in made.placements]


@settings(max_examples=150)
@given(asking(), RULES)
def test_a_plan_promises_no_more_than_there_is_and_nothing_on_a_machine_that_is_ill(yard: PlainYard, rules: Rules) -> None:
    made = plan(yard, NOW, rules)
    seen = yard.scratch("local")
    asked_mib = [waiting.spec.scratch_mib for waiting, _ in made.placements]
    if seen is None:
        assert not any(asked_mib), "nobody knows how much there is"
        return
    assert seen.is_healthy or not made.placements
    if any(asked_mib):
        assert sum(asked_mib) <= seen.free_mib


@settings(max_examples=100)
@given(asking(), RULES)
def test_order_holds_and_whoever_blocks_could_start_one_day(yard: PlainYard, rules: Rules) -> None:
    made = plan(yard, NOW, rules)
    names = {job_id for job_id, _ in placed(made)}
    for queue in yard.queues.values():
        ready = list(yard.ready(queue.arn))
        could = [w for w in ready if not rules.pass_impossible or scaling.is_possible(yard, queue, w.spec.needs)]
        yes = [w.job_id in names for w in could]
        assert yes == sorted(yes, reverse=True), "a later job of the queue started before one that could start one day"
        left = [w.job_id for w in could if w.job_id not in names]
        assert made.blocked.get(queue.arn) == (left[0] if left else None)


@settings(max_examples=100)
@given(asking(), RULES)
def test_what_is_kept_for_a_head_is_not_given_to_those_behind_it(yard: PlainYard, rules: Rules) -> None:
    made, seen = plan(yard, NOW, rules), yard.scratch("local")
    if seen is None:
        assert not made.scratch_kept
        return
    order = [queue.arn for queue in yard.open_queues]
    for place, kept in enumerate(made.scratch_kept.get("local", [])):
        behind = set(order[order.index(kept.queue) + 1 :])
        kept_mib = sum(each.mib for each in made.scratch_kept["local"][: place + 1])
        asked = [(w.spec.queue in behind, w.spec.scratch_mib) for w, _ in made.placements]
        given_mib = sum(mib for is_behind, mib in asked if is_behind)
        before_mib = sum(mib for is_behind, mib in asked if not is_behind)
        assert not given_mib or kept_mib + before_mib + given_mib <= seen.free_mib


@settings(max_examples=100)
@given(yards(), RULES, st.integers(0, 100))
def test_for_who_asks_for_nothing_it_does_not_matter_how_much_there_is(yard: PlainYard, rules: Rules, mib: int) -> None:
    yard.scratches = {"local": Scratch(True, "", mib, 2 * mib, 0)}
    some = plan(yard, NOW, rules)
    yard.scratches = {}
    assert plan(yard, NOW, rules) == some


@settings(max_examples=100)
@given(asking(), RULES)
def test_where_there_is_plenty_a_job_that_asks_for_some_is_as_any_other(yard: PlainYard, rules: Rules) -> None:
    yard.scratches = {"local": Scratch(True, "", 1 << 40, 0, 0)}
    asked = plan(yard, NOW, rules)
    yard.waiting = {queue: [_asks(waiting, 0) for waiting in there] for queue, there in yard.waiting.items()}
    plain = plan(yard, NOW, rules)
    assert (placed(asked), asked.starts, asked.stops, asked.reclaims) == (placed(plain), plain.starts, plain.stops, plain.reclaims)
    assert asked.blocked == plain.blocked


@settings(max_examples=100)
@given(asking())
def test_a_reason_is_given_exactly_where_it_is_short(yard: PlainYard) -> None:
    for queue in yard.queues.values():
        promises = scratch_space.Promises(yard)
        for waiting in yard.ready(queue.arn):
            mib = waiting.spec.scratch_mib
            assert promises.is_short(queue, mib) == scratch_space.is_short_now(yard, queue, mib)
            for arn in queue.environments:
                environment = yard.environments[arn]
                assert promises.offers(environment, mib) == (scratch_space.reason(yard, environment, mib) is None)
