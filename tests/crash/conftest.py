"""Services that are meant to be killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from yard import Yard


@pytest.fixture
def new_yard(tmp_path: Path) -> Iterator[Callable[..., Yard]]:
    made: list[Yard] = []

    def make(*options: str) -> Yard:
        service = Yard(tmp_path / f"data{len(made)}", *options)
        made.append(service)
        return service.start()

    yield make
    for service in made:
        if service.process is not None and service.process.poll() is not None:
            service.start()
        service.down()


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    """A file that jobs of any uid can append to: a line for each start of an attempt."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    path = tmp_path / "starts"
    path.touch()
    path.chmod(0o666)
    return path
