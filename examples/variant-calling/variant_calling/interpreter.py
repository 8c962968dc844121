"""Which Python the jobs run with: run as root, Batchyard gives jobs users of their own, who may not enter every folder.

A container image would carry Python, the packages and the program; where jobs are processes they must be found on the
machine. A Python below /root or a checkout in a private folder is out of reach of the users of jobs. Then a look-alike is
made of hard links in a folder that they may enter.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import typing

from variant_calling import lookalike

if typing.TYPE_CHECKING:
    import collections.abc

EXAMPLE = pathlib.Path(__file__).resolve().parent.parent
NOBODY = 65_534
CHECK = "import sys; sys.path.insert(0, sys.argv[1]); import steps, pybwa, pysam.bcftools, botocore.session, ssl"
CHECK_WITHIN_S = 60.0
IMAGE_WITHIN_S = 900.0


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """How a job starts the step program: the Python, the folder of the program, and where packages and libraries lie, if elsewhere."""

    python: str
    example: pathlib.Path = EXAMPLE
    packages: pathlib.Path | None = None
    libraries: pathlib.Path | None = None
    image: str = "python:3.11"
    """Not used where jobs are processes; where they are containers it holds the Python, the packages and the program."""

    @property
    def command(self) -> list[str]:
        """The Python and the program."""
        return [self.python, str(self.example / "steps.py")]

    @property
    def environment(self) -> dict[str, str]:
        """What the Python needs in its environment."""
        places = {"PYTHONPATH": self.packages, "LD_LIBRARY_PATH": self.libraries}
        return {name: str(folder) for name, folder in places.items() if folder}


IMAGE = "batchyard-variant-calling"
IN_IMAGE = Interpreter("/usr/bin/python3", pathlib.Path("/opt/example"), pathlib.Path("/opt/packages"), image=IMAGE)
"""What `image.sh` puts into the image."""


def make_image(socket: str) -> None:
    """Have the daemon behind a unix socket hold the image, made out of Debian packages. CalledProcessError if it cannot be made."""
    subprocess.run([str(EXAMPLE / "image.sh"), IMAGE, socket], check=True, stdin=subprocess.DEVNULL, timeout=IMAGE_WITHIN_S)


@functools.cache
def for_jobs() -> Interpreter:
    """The running Python where the users of jobs can start it; else one like it that they can; else a look-alike.

    RuntimeError when not even that can be started.
    """
    if os.geteuid() != 0:
        return Interpreter(sys.executable)
    for candidate in _candidates():
        if _nobody_can_start(candidate):
            return candidate
    raise RuntimeError(f"an ordinary user cannot start {sys.executable} or read {EXAMPLE}; clone to a folder that everybody may enter")


def _candidates() -> collections.abc.Iterator[Interpreter]:
    """From what is there already to what has to be made first."""
    alike = shutil.which(f"python{sys.version_info.major}.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin:/bin")
    yield Interpreter(sys.executable)
    if alike:
        yield Interpreter(alike, packages=pathlib.Path(sysconfig.get_paths()["purelib"]))
    folder = lookalike.make_folder()
    lookalike.link_tree(EXAMPLE, folder / "example")
    lookalike.link_packages(folder / "packages")
    own = str(pathlib.Path(sys.executable).resolve())
    for python in (own, *([alike] if alike else [])):
        yield Interpreter(python, folder / "example", folder / "packages")
    linked = lookalike.link_python(folder / "python")
    yield Interpreter(str(linked), folder / "example", folder / "packages", linked.parent.parent / "lib")


def _nobody_can_start(interpreter: Interpreter) -> bool:
    """Whether an ordinary user without any rights can import all that the steps need."""
    try:
        done = subprocess.run(
            [interpreter.python, "-c", CHECK, str(interpreter.example)],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1", **interpreter.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
