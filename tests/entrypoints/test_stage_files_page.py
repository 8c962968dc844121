"""The page about the entry points does what it says, with a folder of ours for /usr/local/bin."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

import pages
import reader

PAGE = (pages.ROOT / "docs" / "how-to" / "stage-files.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.timeout(pages.COMMAND_LIMIT_S + 200)


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    programs = Path(tempfile.mkdtemp(prefix="programs-"))  # not below tmp_path, which is closed to the users of jobs
    programs.chmod(0o755)
    settings = reader.environment()
    settings["PATH"] = os.pathsep.join([str(programs), settings["PATH"]])
    try:
        with reader.started(tmp_path, settings, "--vcpus", "4", "--memory-mib", "4096", "--expose", str(programs)) as yard:
            yard.queue_of("default", yard.environment_of("on-demand", max_vcpus=4))
            asked = {**settings, **{name: value for name, value in yard.environment.items() if name.startswith("AWS_")}}
            said = list(pages.run(pages.steps(PAGE.replace("/usr/local/bin", str(programs))), tmp_path, asked))
            assert len(said) == 3
            for one in said:
                pages.check(one)
    finally:
        shutil.rmtree(programs)
