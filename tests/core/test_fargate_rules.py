"""Slices for one task each: of exactly its size, never shared, never larger."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_yard import HOST, NOW, PlainYard

from batchyard.core import fargate, lifecycle, packing
from batchyard.core.scheduling import Rules, plan
from batchyard.core.submission import needs_of
from batchyard.model.capacity import Platform, Resources, Shape
from batchyard.model.fault import Fault
from batchyard.model.job import Attempt

SLICES = (Shape("fargate", HOST, exact=False, single=True),)


def yard_of(**more: object) -> PlainYard:
    yard = PlainYard()
    yard.environment(shapes=SLICES, platform=Platform.FARGATE, **more)
    yard.queue()
    return yard


def test_every_task_gets_a_slice_of_its_own_size() -> None:
    yard = yard_of()
    for size in ((0.25, 512), (0.25, 512), (1, 2048)):
        yard.wait(size)
    made = plan(yard, NOW, Rules())
    assert [tuple(wish.room)[:2] for wish in made.starts] == [(0.25, 512), (0.25, 512), (1, 2048)]


def test_a_larger_slice_is_not_lent() -> None:
    yard = yard_of()
    yard.instance("i-1", (1, 2048))
    yard.wait((0.25, 512))
    made = plan(yard, NOW, Rules())
    assert not made.placements
    assert [tuple(wish.room)[:2] for wish in made.starts] == [(0.25, 512)]


def test_an_idle_slice_of_the_size_is() -> None:
    yard = yard_of()
    yard.instance("i-1", (1, 2048))
    yard.wait((1, 2048))
    assert [instance for _, instance in plan(yard, NOW, Rules()).placements] == ["i-1"]


def test_max_vcpus_counts_fractions() -> None:
    yard = yard_of(max_vcpus=1)
    for _ in range(6):
        yard.wait((0.25, 512))
    assert len(plan(yard, NOW, Rules()).starts) == 4


@given(st.lists(st.sampled_from([(v, m) for v, sizes in fargate.SIZES.items() for m in sizes]), min_size=1, max_size=8))
def test_a_slice_never_holds_more_than_its_task(sizes: list[tuple[float, int]]) -> None:
    yard = yard_of()
    for size in sizes:
        yard.wait(size)
    for wish in plan(yard, NOW, Rules()).starts:
        assert tuple(wish.room)[:2] in sizes
    assert packing.choose(SLICES, [Resources(*sizes[0])] * 2, packing.Limits(1000, None)) in (None, (SLICES[0], Resources(*sizes[0])))


@pytest.mark.parametrize(
    ("vcpus", "memory", "good"),
    [
        *[("0.25", "512", True), ("0.25", "2048", True), ("0.25", "3072", False), (".25", "512", False)],
        *[("1", "1024", False), ("1", "2048", True), ("1.0", "8192", True), ("1", "9216", False), ("1", "2500", False)],
        *[("8", "16384", True), ("8", "17408", False), ("16", "122880", True), ("3", "8192", False)],
    ],
)
def test_the_table_of_sizes(vcpus: str, memory: str, good: bool) -> None:
    container = {"resourceRequirements": [{"type": "VCPU", "value": vcpus}, {"type": "MEMORY", "value": memory}]}
    if good:
        assert needs_of(container, Platform.FARGATE) == Resources(float(vcpus), int(memory))
        return
    with pytest.raises(Fault, match="not valid"):
        needs_of(container, Platform.FARGATE)


def test_aws_words_for_a_size_that_there_is_not() -> None:
    with pytest.raises(Fault) as refused:
        fargate.check_size(Resources(1, 1024))
    assert refused.value.message == "Error executing request, Exception : Fargate resource requirements (1.00 vCPU, 1024 MiB) not valid."
    with pytest.raises(Fault, match="GPU is not applicable for Fargate"):
        fargate.check_size(Resources(1, 2048, 1))


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ("FARGATE_SPOT", "Your Spot Task was interrupted."),
        ("FARGATE", "Host EC2 (instance i-1) terminated."),
        ("EC2", "Host EC2 (instance i-1) terminated."),
    ],
)
def test_what_is_said_of_a_lost_task(platform: str, words: str) -> None:
    attempt = Attempt(id="a", number=1, instance="i-1", environment="e", platform=platform, log_stream="s", placed_at_ms=0)
    assert lifecycle.loss_of(attempt) == words


def test_types_are_tried_in_their_order_only_where_asked() -> None:
    yard = PlainYard()
    yard.environment(shapes=(Shape("large", Resources(4, 4096)), Shape("small", Resources(1, 1024))))
    yard.queue()
    yard.wait((1, 512))
    assert [wish.shape.name for wish in plan(yard, NOW, Rules()).starts] == ["large"], "shapes come in the order of preference"
