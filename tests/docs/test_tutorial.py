"""The tutorial, run as it stands, in a folder that looks like a clone."""

from __future__ import annotations

from pathlib import Path

import pytest

import pages
import reader

PAGE = pages.ROOT / "docs" / "tutorial" / "first-workflow.md"
pytestmark = pytest.mark.timeout(pages.COMMAND_LIMIT_S + 200)  # the commands have a limit of their own, and fail by that


def test_the_first_workflow(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(pages.ROOT / "examples")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()  # the reader of this test has activated it already
    environment = reader.environment()
    with reader.started(tmp_path, environment) as yard:
        everything = pages.run(pages.steps(PAGE.read_text()), tmp_path, environment)
        assert yard.process is not None
        assert yard.process.wait(90) == 0
    for said in everything:
        pages.check(said)
