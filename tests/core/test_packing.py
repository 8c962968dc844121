"""Which instance a job fits best, and which type to start. Fits are exact."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchyard.core.packing import MAX_CARVED_VCPUS, Limits, choose, tightest
from batchyard.model.capacity import NOTHING, Resources, Shape

RESOURCES = st.builds(Resources, st.integers(0, 32).map(lambda n: n / 4), st.integers(1, 64), st.integers(0, 2))
HOST = Resources(16, 65536)


def carved(room: Resources = HOST) -> Shape:
    return Shape("optimal", room, exact=False)


def test_equal_is_enough_and_one_mib_short_is_not() -> None:
    needs = Resources(2, 1024)
    assert tightest(needs, [("a", Resources(2, 1024))]) == "a"
    assert tightest(needs, [("a", Resources(2, 1023)), ("b", Resources(1.75, 4096))]) is None


def test_the_tightest_wins_and_the_first_of_equals() -> None:
    rooms = [("wide", Resources(8, 8192)), ("snug", Resources(8, 1024)), ("snug too", Resources(8, 1024))]
    assert tightest(Resources(1, 1000), rooms) == "snug"


def test_gpus_are_not_wasted_on_jobs_without() -> None:
    assert tightest(Resources(1, 10), [("gpu", Resources(1, 10, 1)), ("plain", Resources(8, 999))]) == "plain"


@given(RESOURCES, st.lists(RESOURCES, max_size=6))
def test_tightest_against_every_room(needs: Resources, rooms: list[Resources]) -> None:
    found = tightest(needs, enumerate_ids(rooms))
    fitting = [r for r in rooms if needs.fits(r)]
    assert (found is None) == (not fitting)
    if found is not None:
        left = rooms[int(found)].minus(needs)
        assert left.vcpus >= 0 and left.memory_mib >= 0 and left.gpus >= 0
        assert left.gpus == min(r.gpus for r in fitting) - needs.gpus


def enumerate_ids(rooms: list[Resources]) -> list[tuple[str, Resources]]:
    return [(str(n), room) for n, room in enumerate(rooms)]


def test_an_exact_type_is_taken_whole_and_within_limits() -> None:
    small, large = Shape("large", Resources(2, 8192)), Shape("xlarge", Resources(4, 16384))
    limits = Limits(8, HOST)
    assert choose([small, large], [Resources(1, 100)], limits) == (small, small.room)
    assert choose([small, large], [Resources(3, 100)], limits) == (large, large.room)
    assert choose([small, large], [Resources(5, 100)], limits) is None
    assert choose([small, large], [Resources(3, 100)], Limits(3.5, HOST)) is None
    assert choose([small, large], [Resources(3, 100)], Limits(8, Resources(16, 16383))) is None
    assert choose([small, large], [Resources(3, 100)], Limits(8, None)) == (large, large.room)


def test_a_slice_is_cut_to_what_waits() -> None:
    jobs = [Resources(1, 1000)] * 3
    assert choose([carved()], jobs, Limits(16, HOST)) == (carved(), Resources(3, 3000))


def test_a_slice_for_several_jobs_has_a_ceiling_and_one_large_job_is_above_it() -> None:
    assert choose([carved()], [Resources(1, 10)] * 9, Limits(16, HOST)) == (carved(), Resources(MAX_CARVED_VCPUS, 40))
    assert choose([carved()], [Resources(6, 10), Resources(1, 10)], Limits(16, HOST)) == (carved(), Resources(6, 10))


def test_a_slice_has_whole_vcpus() -> None:
    assert choose([carved()], [Resources(0.25, 10)], Limits(16, HOST)) == (carved(), Resources(1, 10))
    assert choose([carved()], [Resources(0.25, 10)] * 3, Limits(1, HOST)) == (carved(), Resources(1, 30))
    assert choose([carved()], [Resources(0.25, 10)], Limits(0.5, HOST)) is None


@given(st.lists(RESOURCES, min_size=1, max_size=8), RESOURCES, RESOURCES, st.integers(0, 16))
def test_what_is_chosen_fits_the_first_and_the_limits(demand: list[Resources], largest: Resources, host: Resources, vcpus: int) -> None:
    limits = Limits(vcpus, host)
    choice = choose([carved(largest)], demand, limits)
    alone = choose([carved(largest)], demand[:1], limits)
    assert (choice is None) == (alone is None), "more jobs behind the first never keep it from its instance"
    if choice is not None:
        _, room = choice
        assert demand[0].fits(room) and limits.allow(room)
        total = NOTHING
        for needs in demand:
            total = total.plus(needs)
        assert room.memory_mib <= total.memory_mib
