"""What all tests have in common: signals as a terminal has them, and failures told as they happen."""

from __future__ import annotations

import os
import signal
import sys

import pytest

# A runner in the background may have been started with Ctrl-C ignored, and whoever is started by it inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In CI each failure is printed at once: a run that never comes to its end has still told what went wrong."""
    if report.failed and os.environ.get("CI") and not os.environ.get("PYTEST_XDIST_WORKER"):
        print(f"\n--- {report.nodeid} ({report.when}) ---\n{report.longreprtext}\n", file=sys.stderr, flush=True)  # noqa: T201
