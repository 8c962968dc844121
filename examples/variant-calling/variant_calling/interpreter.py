"""Which Python the jobs run with: run as root, Batchyard gives jobs users of their own, who may not enter every folder."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "steps.py"
NOBODY = 65_534
CHECK = "import sys; sys.path.insert(0, sys.argv[1]); import steps, pybwa, pysam.bcftools, botocore.session"
CHECK_WITHIN_S = 60.0


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """How a job starts the step program: the Python, what it needs in its environment, and the user that it must be."""

    python: str
    environment: tuple[tuple[str, str], ...] = ()
    user: str = ""
    """Empty: whoever Batchyard chooses."""

    @property
    def command(self) -> list[str]:
        """The Python and the program."""
        return [self.python, str(PROGRAM)]

    @property
    def serve_options(self) -> tuple[str, ...]:
        """What `batchyard serve` must be told to allow it."""
        return ("--allow-any-user",) if self.user else ()


@functools.cache
def for_jobs() -> Interpreter:
    """The running Python where the users of jobs can start it; else one like it that they can start; else this one, as root.

    A Python below /root, for example, is out of reach of every other user. The last way gives up the separation between
    jobs and is taken only when there is no other.
    """
    if os.geteuid() != 0:
        return Interpreter(sys.executable)
    packages = (("PYTHONPATH", sysconfig.get_paths()["purelib"]),)
    alike = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = shutil.which(alike, path="/usr/local/bin:/usr/bin:/bin")
    candidates = [Interpreter(sys.executable), *([Interpreter(found, packages)] if found else [])]
    return next((each for each in candidates if _nobody_can_start(each)), Interpreter(sys.executable, user="root"))


def _nobody_can_start(interpreter: Interpreter) -> bool:
    """Whether an ordinary user without any rights can import all that the steps need."""
    try:
        done = subprocess.run(
            [interpreter.python, "-c", CHECK, str(PROGRAM.parent)],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1", **dict(interpreter.environment)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
