"""What all tests have in common: signals as on a terminal, failures told as they happen, every answer held against AWS's model."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import hypothesis
import pytest

import wire_watch
from wire_counts import Counts

# Most tests are about anything but containers, and run the same where a daemon happens to answer.
os.environ.setdefault("BATCHYARD_RUNTIME", "process")
# And about anything but scratch space: a plain directory is there at once.
os.environ.setdefault("BATCHYARD_SCRATCH", "directory")

# How long an example takes says how busy the machine is, and nothing of the program.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

# A runner in the background may have been started with Ctrl-C ignored, and whoever is started by it inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not IS_WORKER:
    os.environ[wire_watch.FOLDER] = tempfile.mkdtemp(prefix="wire-watch-")
_watch = wire_watch.install()
_begun_in = Path.cwd()


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """What the garbage collector meets in the remains of earlier tests is no fault of the test that runs. Nor is it kept, as pytest does:
    an exception keeps every frame below it, and so all that the functions held in whose midst the collector happened to run."""
    sys.unraisablehook = lambda _: None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    assert _watch
    _watch.test_is(item.nodeid)
    os.chdir(_begun_in)  # parts of the node that a test runs in this process leave it elsewhere, as the node wants it


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In CI each failure is printed at once: a run that never comes to its end has still told what went wrong."""
    if report.failed and os.environ.get("CI") and not IS_WORKER:
        print(f"\n--- {report.nodeid} ({report.when}) ---\n{report.longreprtext}\n", file=sys.stderr, flush=True)  # noqa: T201


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """At the end of all: answers that do not fit the model fail the run, and so does a call that no test makes any more."""
    if _watch:
        _watch.close()
    if IS_WORKER:
        return
    folder = Path(os.environ[wire_watch.FOLDER])
    wrong: dict[str, set[str]] = defaultdict(set)
    counts = Counts()
    for note in wire_watch.notes(folder):
        if note.direction == "wrong":
            if note.path:
                wrong[f"{note.service}.{note.operation}: {note.path}"].add(note.test)
        else:
            counts.add(note)
    shutil.rmtree(folder, ignore_errors=True)
    said = [f"an answer does not fit AWS's model: {what}\n    in {', '.join(sorted(tests))}" for what, tests in sorted(wrong.items())]
    is_whole = session.config.args == [str(session.config.rootpath / "tests")] or session.config.args == ["tests"]
    if is_whole and not session.testsfailed and not session.config.option.keyword:
        said += counts.lost()
        counts.write_if_asked()
    if said:
        print("\n" + "\n".join(said), file=sys.stderr, flush=True)  # noqa: T201
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
