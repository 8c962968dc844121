"""The server seen by its operator: what it says when it cannot start, and what callers see when its disk is full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def serve(data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`batchyard serve` on a folder on which it must refuse to start."""
    command = [sys.executable, "-m", "batchyard.main", "serve", "--data", str(data), "--port", "0", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("batchyard.db", "this is no database", "batchyard.db cannot be used"),
        ("identity.json", "", "identity.json holds no JSON object: restore it"),
        ("identity.json", "[1, 2]", "identity.json holds no JSON object: restore it"),
    ],
)
def test_a_damaged_folder_is_named_in_a_sentence_and_left_alone(tmp_path: Path, name: str, content: str, says: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_text(content)
    refused = serve(data)
    assert refused.returncode == 1
    assert refused.stderr.startswith("batchyard serve: ")
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (data / name).read_text() == content


@pytest.mark.parametrize("region", ["x y", "EU", "eu/west", "-", "a" * 64])
def test_a_region_has_the_form_of_one(tmp_path: Path, region: str) -> None:
    refused = serve(tmp_path / "data", "--region", region)
    assert (refused.returncode, "must look like us-east-1" in refused.stderr) == (1, True)
