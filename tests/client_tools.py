"""Real clients for tests: each example's own tools, installed beside the project as its README says, once per list of requirements.

A Python tool gets a virtual environment `.clients/NAME` from `examples/NAME/requirements.txt` (all packages, pinned), a JavaScript one
a copy of `examples/NAME` with its `node_modules` from package-lock.json. Jobs may start what lies there too, since jobs of a service
that runs as root are users of their own: the environments stand on an interpreter that everybody may start.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pages import ROOT

EXAMPLES = ROOT / "examples"
INSTALLED = ROOT / ".clients"
INSTALL_S = 900  # for the largest of them on a slow line
# Where Terraform looks for providers by itself, and what was added to the system beside its packages
MIRRORS = ("~/.terraform.d/plugins", "/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins")
ADDED = Path("/opt")


def python_tools(name: str) -> Path:
    """The `bin` folder of the virtual environment of `examples/NAME`."""
    place = INSTALLED / name
    wanted = (EXAMPLES / name / "requirements.txt").read_text()
    with _made_for(place, f"{interpreter()}\n{wanted}") as make:
        if make:
            _run([interpreter(), "-m", "venv", "--without-pip", str(place)])
            pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "--disable-pip-version-check"]
            _run([*pip, "install", "--quiet", "--no-deps", "-r", str(EXAMPLES / name / "requirements.txt")])
    return place / "bin"


def node_tools(name: str) -> Path:
    """A folder with what `examples/NAME` holds and its `node_modules`."""
    place = INSTALLED / name
    with _made_for(place, (EXAMPLES / name / "package-lock.json").read_text()) as make:
        if make:
            shutil.copytree(EXAMPLES / name, place, dirs_exist_ok=True)
            _run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=place)
        for file in (EXAMPLES / name).iterdir():
            if file.is_file():
                _renew(place / file.name, file)
    return place


def terraform(folder: Path) -> dict[str, str] | str:
    """The environment in which `terraform init` finds the AWS provider without the network, or why there is none.

    Either TF_CLI_CONFIG_FILE names a file that says where providers are, or a mirror of providers lies at TF_PLUGINS or in one of
    MIRRORS, or in a folder of ADDED. The provider is 700 MB: no test fetches it.
    """
    if not shutil.which("terraform"):
        return "needs terraform"
    if Path(os.environ.get("TF_CLI_CONFIG_FILE", "")).is_file():
        return {}
    looked = [os.environ.get("TF_PLUGINS"), *MIRRORS, *sorted(str(place) for place in ADDED.glob("*"))]
    for mirror in (Path(place).expanduser() for place in looked if place):
        if any(mirror.glob("*/hashicorp/aws")):
            settings = folder / "terraform.rc"
            settings.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
            return {"TF_CLI_CONFIG_FILE": str(settings)}
    return "needs a mirror with the AWS provider of Terraform: TF_PLUGINS names it"


@functools.cache
def interpreter() -> str:
    """A Python of our version that any user may start."""
    major_minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = [
        str(Path(sys.executable).resolve()),
        *filter(None, (shutil.which(major_minor, path=folder) for folder in ("/usr/local/bin", "/usr/bin"))),
    ]
    for candidate in found:
        if os.geteuid() != 0 or is_open_to_all(Path(candidate)):
            return candidate
    raise AssertionError(
        f"none of {', '.join(found)} may be started by other users than root: install {major_minor} (and its venv module) in /usr"
    )


def is_open_to_all(program: Path) -> bool:
    """Whether every user may pass all folders above a program and start it."""
    return all(folder.stat().st_mode & 0o001 for folder in (program, *program.parents))


@contextmanager
def _made_for(place: Path, wanted: str) -> Iterator[bool]:
    """Whether `place` is still to be made, while nobody else looks; what stands there for other wishes is removed first."""
    INSTALLED.mkdir(exist_ok=True)
    stamp = place / ".made-for"
    digest = hashlib.sha256(wanted.encode()).hexdigest()
    with open(INSTALLED / f"{place.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == digest:
            yield False
            return
        shutil.rmtree(place, ignore_errors=True)
        yield True
        stamp.write_text(digest)


def _renew(copy: Path, file: Path) -> None:
    """Have `copy` hold what `file` does, and never half of it: what runs in another worker may read it just now."""
    if not copy.exists() or copy.read_bytes() != file.read_bytes():
        fresh = INSTALLED / f"{copy.parent.name}-{copy.name}.new"
        shutil.copy2(file, fresh)
        fresh.replace(copy)


def _run(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_S)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
