"""The tour of the README, run as it stands: the AWS CLI against a service that a reader has started."""

from __future__ import annotations

from pathlib import Path

import pytest

import pages
import reader

README = pages.ROOT / "README.md"
pytestmark = pytest.mark.timeout(pages.COMMAND_LIMIT_S + 200)  # the commands have a limit of their own, and fail by that


def test_the_tour_of_the_readme(tmp_path: Path) -> None:
    tour = pages.section(README.read_text(), "## The tour")
    start, *_ = pages.blocks(tour)
    assert (start.text, start.runs) == ("batchyard serve --runtime process\n", False)
    environment = reader.environment()
    with reader.started(tmp_path, environment) as yard:
        everything = pages.run(pages.steps(tour), tmp_path, environment)
        assert yard.process is not None
        assert yard.process.wait(90) == 0  # the tour ends it
    for said in everything:
        pages.check(said)
