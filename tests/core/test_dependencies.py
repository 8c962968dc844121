"""Who waits for whom: the masks of an array's children against an oracle that asks child by child."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchyard.core.dependencies import Children, all_bits, bits, is_sequential, standing
from batchyard.model.job import Dependency, DependencyKind, Status

READY, FAILED, PENDING = Status.RUNNABLE, Status.FAILED, Status.PENDING


def test_standing() -> None:
    assert standing(None) is False, "an unknown job is never met"
    assert standing(Status.FAILED) is False
    assert standing(Status.SUCCEEDED) is True
    assert {standing(s) for s in Status if not s.is_final} == {None}


def test_sequential() -> None:
    assert is_sequential([Dependency("x"), Dependency("", DependencyKind.SEQUENTIAL)])
    assert not is_sequential([Dependency("x", DependencyKind.N_TO_N)])


@given(st.sets(st.integers(0, 200)))
def test_bits(numbers: set[int]) -> None:
    assert list(bits(sum(1 << n for n in numbers))) == sorted(numbers)


@st.composite
def arrays(draw: st.DrawFn) -> Children:
    """Any state that an array can be in. A child that has no record neither succeeded nor FAILED with one."""
    size = draw(st.integers(2, 9))
    mask = st.integers(0, all_bits(size))
    moved = draw(mask)
    succeeded = moved & draw(mask)
    failed = moved & ~succeeded & draw(mask)
    led_well = draw(mask)
    return Children(
        size,
        moved=moved,
        succeeded=succeeded,
        failed=failed,
        sequential=draw(st.booleans()),
        held=draw(st.booleans()),
        stopped=draw(st.booleans()),
        leaders_succeeded=draw(st.sampled_from([-1, led_well])),
        leaders_failed=draw(mask) & ~led_well,
    )


def oracle(children: Children, index: int) -> Status:
    """The state of a child without a record, worked out for it alone as AWS documents it."""

    def has(mask: int, i: int) -> bool:
        return bool(mask >> i & 1)

    def is_lost(i: int) -> bool:
        if has(children.moved, i):
            return has(children.failed, i)
        return oracle(children, i) is FAILED

    if children.stopped or has(children.leaders_failed, index):
        return FAILED
    if children.sequential and any(is_lost(i) for i in range(index)):
        return FAILED
    if children.held or not has(children.leaders_succeeded, index):
        return PENDING
    if children.sequential and index and not has(children.succeeded, index - 1):
        return PENDING
    return READY


@given(arrays())
def test_masks_against_the_oracle(children: Children) -> None:
    unmoved = [i for i in range(children.size) if not children.moved >> i & 1]
    states = {i: oracle(children, i) for i in unmoved}
    assert {i: children.status_without_record(i) for i in unmoved} == states
    assert set(bits(children.ready())) == {i for i, s in states.items() if s is READY}
    assert set(bits(children.doomed())) == {i for i, s in states.items() if s is FAILED}
    lost = {i for i, s in states.items() if s is FAILED} | set(bits(children.failed))
    assert set(bits(children.lost())) == lost
    over = lost | set(bits(children.succeeded))
    assert children.is_settled() == (over == set(range(children.size)))


@given(arrays())
def test_a_child_is_in_one_place(children: Children) -> None:
    places = [children.moved, children.ready(), children.doomed()]
    assert sum(p.bit_count() for p in places) == (places[0] | places[1] | places[2]).bit_count()
    assert all(p <= all_bits(children.size) for p in places)


def test_ten_thousand_children_one_after_the_other() -> None:
    """SEQUENTIAL: exactly the next one is ready; a failure dooms all that come after."""
    children = Children(10_000, sequential=True)
    for index in (0, 1, 2):
        assert list(bits(children.ready())) == [index]
        children.moved |= 1 << index
        assert not children.ready()
        children.succeeded |= 1 << index
    children.moved |= 1 << 3
    children.failed |= 1 << 3
    assert children.ready() == 0
    assert children.lost().bit_count() == 10_000 - 3
    assert children.is_settled()


def test_n_to_n_follows_in_any_order() -> None:
    children = Children(4, leaders_succeeded=0b0100, leaders_failed=0b0001)
    assert (children.ready(), children.doomed()) == (0b0100, 0b0001)
    children.leaders_succeeded = 0b1110
    assert children.ready() == 0b1110
