"""An archive of wheels as `pip wheel` makes it: ours, built, and those that it needs, packed from what is installed. Without a network."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def make(archive: Path) -> None:
    """Write `archive` (.tar.gz) with all that `pip install --no-index --find-links DIR batchyard` asks for."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=230)
        for needed in _needed("batchyard"):
            _pack(distribution(needed), Path(folder))
        with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
            packed.add(folder, ".")


def _needed(name: str) -> set[str]:
    """The names of what `name` needs, and of what these need."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for text in distribution(waiting.pop()).requires or []:
            requirement = Requirement(text)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            if requirement.name.lower() not in found:
                found.add(requirement.name.lower())
                waiting.append(requirement.name)
    return found


def _pack(installed: Distribution, folder: Path) -> None:
    """The wheel that `installed` came from, but for what installing added."""
    told = installed.read_text("WHEEL")
    assert told is not None, f"{installed.name} was not installed from a wheel"
    tags = [line.removeprefix("Tag: ").split("-") for line in told.splitlines() if line.startswith("Tag: ")]
    tag = "-".join(".".join(sorted({one[place] for one in tags})) for place in range(3))
    name = installed.name.replace("-", "_").replace(".", "_")
    records = io.StringIO()
    writer = csv.writer(records, lineterminator="\n")
    info = ""
    with zipfile.ZipFile(folder / f"{name}-{installed.version}-{tag}.whl", "w") as wheel:
        for path in installed.files or []:
            if path.parts[0] == ".." or "__pycache__" in path.parts or path.name in ("INSTALLER", "REQUESTED", "direct_url.json"):
                continue
            if path.parts[0].endswith(".dist-info") and path.name == "RECORD":
                info = str(path)
                continue
            wheel.write(str(installed.locate_file(path)), str(path))
            writer.writerow([str(path), "", ""])
        assert info, f"{installed.name} has no RECORD"
        writer.writerow([info, "", ""])
        wheel.writestr(info, records.getvalue())
