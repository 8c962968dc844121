from __future__ import annotations

from collections.abc import Iterator

import pytest
from shelf_serving import Served, served


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The small services, empty, shared by a module's tests."""
    with served(tmp_path_factory.mktemp("shelf")) as service:
        yield service
