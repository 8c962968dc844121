"""One service for all tests of this folder that do not break it; names are unique per test."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from yard import Yard, serving


@pytest.fixture(scope="session")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("service") / "data", "--vcpus", "16", "--memory-mib", "8192") as service:
        service.with_queue(max_vcpus=8)
        service.definition_of("true", "true")
        service.definition_of("false", "false")
        service.definition_of("sleep", "sleep", "600")
        yield service


@pytest.fixture
def name() -> str:
    return f"n{uuid.uuid4().hex[:12]}"


@pytest.fixture
def new_yard(tmp_path: Path) -> Iterator[Callable[..., Yard]]:
    """Makes services of a test's own; ends them all."""
    made: list[Yard] = []

    def make(*options: str) -> Yard:
        service = Yard(tmp_path / f"data{len(made)}", *options)
        made.append(service)
        return service.start()

    yield make
    for service in made:
        service.down()
