"""Doors for the tests of the door: one that wants signatures, one that does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from door_toys import ROOT, Door, client_of, running_door


@pytest.fixture(scope="module")
def shared_door() -> Iterator[Door]:
    with running_door() as door:
        yield door


@pytest.fixture(scope="module")
def hasty_door() -> Iterator[Door]:
    """One that waits for the rest of a request for no longer than a machine may stall: for who means to be late."""
    with running_door(read_timeout_s=0.6) as door:
        yield door


@pytest.fixture
def door(shared_door: Door) -> Door:
    shared_door.toys.seen.clear()
    shared_door.toys.results.clear()
    shared_door.toys.callers.clear()
    return shared_door


@pytest.fixture(scope="module")
def open_door() -> Iterator[Door]:
    with running_door(is_open=True, known_hosts=frozenset({"yard.example"})) as door:
        yield door


@pytest.fixture
def client(door: Door) -> Callable[..., Any]:
    return lambda service, credential=ROOT, **more: client_of(door, service, credential, **more)
