"""The tour of the README, run as it stands: the AWS CLI against the service that it starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import pages
import reader

README = pages.ROOT / "README.md"
pytestmark = pytest.mark.timeout(pages.COMMAND_LIMIT_S + 200)  # the commands have a limit of their own, and fail by that


def test_the_tour_of_the_readme(tmp_path: Path) -> None:
    tour = pages.section(README.read_text(), "## The tour")
    start, *_ = pages.blocks(tour)
    assert start.text == "batchyard up --runtime process\n"
    environment = reader.environment()
    try:
        for said in pages.run(pages.steps(tour), tmp_path, environment):
            pages.check(said)
    finally:  # the tour itself ends what it has started; a tour that failed half-way does not
        down = subprocess.run(["batchyard", "down"], cwd=tmp_path, env=environment, capture_output=True, timeout=120, check=False)
    assert down.returncode == 3, "nothing was left to end"
