"""Who may take how much of the scratch space: never more than there is, promises kept, the rest by vCPUs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchyard.compute.local.scratch_shares import GRAIN_BYTES, Tenant, limits, promisable_bytes, usable_bytes

GIB = 1024**3
VCPUS = st.sampled_from([0.0, 0.25, 0.5, 1, 2, 3, 4, 8, 16])
ROOM = st.integers(0, 4000 * GIB)


@st.composite
def machines(draw: st.DrawFn) -> tuple[int, float, dict[str, Tenant]]:
    """A machine whose scheduler kept to its rule: promises and what the others hold are not more than there is."""
    room, vcpus = draw(ROOM), draw(st.sampled_from([1, 2, 4, 8, 16, 64]))
    left, tenants = room, {}
    for number in range(draw(st.integers(0, 12))):
        is_promised = draw(st.booleans())
        part = draw(st.integers(0, left))
        if is_promised and part:
            tenants[f"job-{number}"] = Tenant(draw(VCPUS), part, draw(st.integers(0, part)))
        else:
            tenants[f"job-{number}"] = Tenant(draw(VCPUS), 0, part)
        left -= part
    return room, vcpus, tenants


@given(machines())
def test_the_limits_are_never_more_than_there_is_and_nobody_is_cut_short(machine: tuple[int, float, dict[str, Tenant]]) -> None:
    room, vcpus, tenants = machine
    due = limits(room, vcpus, tenants)
    assert due.keys() == tenants.keys()
    assert sum(due.values()) <= room
    for name, tenant in tenants.items():
        if tenant.promise_bytes:
            assert due[name] == tenant.promise_bytes, "a promise is kept, and no more than that is given"
        else:
            assert due[name] >= tenant.held_bytes, "nobody has a limit below what it holds"


@given(machines())
def test_a_promise_is_kept_whatever_the_others_do(machine: tuple[int, float, dict[str, Tenant]]) -> None:
    room, vcpus, tenants = machine
    promised = {name: tenant for name, tenant in tenants.items() if tenant.promise_bytes}
    assert limits(room, vcpus, promised) == {name: limits(room, vcpus, tenants)[name] for name in promised}


@given(ROOM, st.sampled_from([2, 4, 16]), st.lists(st.sampled_from([0.25, 0.5, 1, 2]), max_size=12))
def test_a_share_does_not_depend_on_who_else_shares_while_there_are_vcpus(room: int, vcpus: float, wanted: list[float]) -> None:
    fitting: list[float] = []
    for each in wanted:
        if sum(fitting) + each <= vcpus:
            fitting.append(each)
    due = limits(room, vcpus, {str(number): Tenant(each) for number, each in enumerate(fitting)})
    for number, each in enumerate(fitting):
        assert due[str(number)] == limits(room, vcpus, {"alone": Tenant(each)})["alone"]
        assert abs(due[str(number)] - room * each / vcpus) <= GRAIN_BYTES


def test_a_promise_takes_its_vcpus_and_its_bytes_from_what_is_shared() -> None:
    due = limits(100 * GIB, 4, {"tagged": Tenant(2, 60 * GIB), "one": Tenant(1), "half": Tenant(0.5)})
    assert due == {"tagged": 60 * GIB, "one": 20 * GIB, "half": 10 * GIB}


def test_who_holds_more_than_a_share_keeps_it_and_the_others_have_less() -> None:
    """It had half of all, and then a job with a promise came."""
    due = limits(100 * GIB, 4, {"early": Tenant(2, 0, 45 * GIB), "tagged": Tenant(1, 40 * GIB), "late": Tenant(1, 0, 1 * GIB)})
    assert due == {"early": 45 * GIB, "tagged": 40 * GIB, "late": 15 * GIB}


def test_with_more_vcpus_than_the_machine_has_everybody_has_less() -> None:
    due = limits(80 * GIB, 2, {str(number): Tenant(1) for number in range(4)})
    assert set(due.values()) == {20 * GIB}


def test_more_than_there_is_was_promised_so_the_others_keep_what_they_hold() -> None:
    due = limits(10 * GIB, 4, {"tagged": Tenant(1, 10 * GIB), "other": Tenant(1, 0, 2 * GIB), "empty": Tenant(1)})
    assert due == {"tagged": 10 * GIB, "other": 2 * GIB, "empty": 0}


def test_volumes_hold_less_than_their_bytes() -> None:
    assert usable_bytes("directory", GIB) == GIB
    assert usable_bytes("loop-btrfs", GIB) < usable_bytes("loop-xfs", GIB) < GIB


@given(st.integers(1 * GIB, 4000 * GIB))
def test_whatever_is_promised_there_is_something_left_for_those_without_a_promise(room: int) -> None:
    due = limits(room, 4, {"tagged": Tenant(3, promisable_bytes(room)), "other": Tenant(1)})
    assert due["other"] >= room * 0.04
