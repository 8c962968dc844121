"""What tests of stacks begin from: services in this process for what resource types do, and a real one for what clients see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stack_hands import Workbench

from yard import Yard, serving


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("stacks") / "yard") as made:
        yield made
