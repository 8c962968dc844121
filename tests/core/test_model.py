"""The nouns: resources, ids of children, faults, and the registry of tags."""

from __future__ import annotations

import pytest

from batchyard.model.capacity import NOTHING, Resources
from batchyard.model.fault import Fault, client_fault
from batchyard.model.job import Attempt, Job, Status, child_id, split_child
from batchyard.model.tags import ENVIRONMENT, QUEUE, SPILL, check_own_tags, value_of


def test_resources() -> None:
    room = Resources(4, 1000, 1)
    assert room.plus(NOTHING) == room.minus(NOTHING) == room
    assert room.minus(room) == NOTHING
    assert room.fits(room)
    assert [Resources(*r).fits(room) for r in ((4.5, 1, 0), (1, 1001, 0), (1, 1, 2))] == [False] * 3


@pytest.mark.parametrize(
    ("id", "parts"),
    [
        ("u", ("u", None)),
        ("u:0", ("u", 0)),
        ("u:9999", ("u", 9999)),
        ("u:", ("u:", None)),
        ("u:x", ("u:x", None)),
        ("u:-1", ("u:-1", None)),
        ("u:²", ("u:²", None)),
        ("u:1234567", ("u:1234567", None)),
    ],
)
def test_ids_of_children(id: str, parts: tuple[str, int | None]) -> None:
    assert split_child(id) == parts
    if parts[1] is not None:
        assert child_id(parts[0], parts[1]) == id


def test_the_latest_attempt() -> None:
    first, second = (Attempt(id=i, number=1, instance="i", environment="e", log_stream="", placed_at_ms=0) for i in "ab")
    job = Job(id="j", spec_id="j", status=Status.RUNNABLE, created_at_ms=0)
    assert job.latest is None
    job = Job(id="j", spec_id="j", status=Status.RUNNABLE, created_at_ms=0, attempts=(first, second))
    assert job.latest is second
    assert Job(id="j", spec_id="j", status=Status.RUNNING, created_at_ms=0, attempts=(first,), current=second).latest is second


def test_a_fault_has_a_code_and_a_sentence() -> None:
    fault = Fault("NoSuchKey", "The key does not exist.", Key="a")
    assert (str(fault), fault.fields, repr(fault)) == (
        "The key does not exist.",
        {"Key": "a"},
        "Fault('NoSuchKey', 'The key does not exist.')",
    )
    assert client_fault("x").code == "ClientException"


def test_own_tags() -> None:
    check_own_tags(QUEUE, {"batchyard:spill": "idle", "anything": "goes"})
    check_own_tags(QUEUE, {"batchyard:inert": "allow"})  # a stack's tags are put on its resources
    assert (value_of(SPILL, {}), value_of(SPILL, {"batchyard:spill": "idle"})) == ("scale", "idle")
    for kind, tags, words in (
        (QUEUE, {"batchyard:spil": "idle"}, "is not known"),
        (ENVIRONMENT, {"batchyard:spill": "idle"}, "is not for a compute environment"),
        (QUEUE, {"batchyard:spill": "maybe"}, "may not be 'maybe'"),
    ):
        with pytest.raises(Fault, match=words):
            check_own_tags(kind, tags)
