"""Pages whose commands are run as they stand, on the service that they say they begin from."""

from __future__ import annotations

from pathlib import Path

import pytest

import pages
import reader
from yard import Yard

HOW_TO = pages.ROOT / "docs" / "how-to"
pytestmark = pytest.mark.timeout(pages.COMMAND_LIMIT_S + 200)  # the commands have a limit of their own, and fail by that


@pytest.mark.parametrize(
    "name",
    [
        *("why-does-my-job-wait", "spot-and-retries", "several-containers", "multi-node", "share-licences"),
        *("reclaim-an-instance", "keep-job-logs", "point-clients-at-it"),
    ],
)
def test_a_how_to_does_what_it_says(name: str, yard: Yard, tmp_path: Path) -> None:
    environment = {**reader.environment(with_tools=False), **{k: v for k, v in yard.environment.items() if k.startswith("AWS_")}}
    for said in pages.run(pages.steps((HOW_TO / f"{name}.md").read_text()), tmp_path, environment):
        pages.check(said)
