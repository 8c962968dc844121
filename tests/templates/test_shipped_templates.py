"""The templates come along where Batchyard is installed, and stand in for those that nobody serves any more."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from batchyard.main import shipped

ROOT = Path(__file__).parents[2]


def test_a_checkout_has_them_beside_the_sources() -> None:
    assert shipped.templates_folder() == ROOT / "templates"


def test_an_installed_package_has_them_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "batchyard" / "templates").mkdir(parents=True)
    monkeypatch.setattr(shipped, "files", lambda package: tmp_path / package)
    assert shipped.templates_folder() == tmp_path / "batchyard" / "templates"


def test_the_wheel_holds_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=230)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("batchyard/templates/") and name.endswith(".yaml")}
    there = (ROOT / "templates").rglob("*.yaml")
    assert held == {f"batchyard/{path.relative_to(ROOT).as_posix()}" for path in there}


def test_dead_addresses_lead_to_templates_that_are_there() -> None:
    for url, instead in shipped.template_urls():
        assert url.startswith("https://") and Path(instead.removeprefix("file:")).is_file()
