from __future__ import annotations

from collections.abc import Iterator

import pytest

from yard import Yard, serving


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A service, shared by a module's tests."""
    with serving(tmp_path_factory.mktemp("functions") / "data") as served:
        yield served
