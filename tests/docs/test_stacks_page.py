"""The page on stacks, run as it stands: from `batchyard up` to `batchyard down`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import pages
import reader

PAGE = pages.ROOT / "docs" / "how-to" / "stacks.md"
pytestmark = pytest.mark.timeout(pages.COMMAND_LIMIT_S + 200)  # the commands have a limit of their own, and fail by that


def test_the_page_on_stacks_does_what_it_says(tmp_path: Path) -> None:
    environment = reader.environment(with_tools=False)
    try:
        for said in pages.run(pages.steps(PAGE.read_text()), tmp_path, environment):
            pages.check(said)
    finally:  # the page itself ends what it has started; one that failed half-way does not
        down = subprocess.run(["batchyard", "down"], cwd=tmp_path, env=environment, capture_output=True, timeout=120, check=False)
    assert down.returncode == 3, "nothing was left to end"
