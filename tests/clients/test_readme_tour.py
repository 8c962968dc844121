"""The tour of the README, run as it stands: the AWS CLI against a service that a reader has started."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
import sysconfig
from pathlib import Path

import pytest

import pages
from yard import Yard

README = pages.ROOT / "README.md"
EXAMPLE = pages.ROOT / "examples" / "variant-calling"


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an `aws` that the users of jobs may start too, wherever this Python and its packages lie (below /root, say)."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLE), *sys.path])
    interpreter, lookalike = (importlib.import_module(f"variant_calling.{name}") for name in ("interpreter", "lookalike"))
    folder = Path(lookalike.make_folder())
    python = interpreter.for_jobs()
    if python.packages not in (None, Path(sysconfig.get_paths()["purelib"])):
        monkeypatch.setattr(lookalike, "PACKAGES", ("awscli",))
        lookalike.link_packages(python.packages)
    settings = [f"{name}={value}" for name, value in python.environment.items()]
    (folder / "aws").write_text(f'#!/bin/sh\nexec {shlex.join(["env", *settings, python.python, "-m", "awscli"])} "$@"\n')
    (folder / "aws").chmod(0o755)
    return folder


def test_the_tour_of_the_readme(tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tour = pages.section(README.read_text(), "## The tour")
    start, *_ = pages.blocks(tour)
    assert (start.text, start.runs) == ("batchyard serve\n", False)
    environment = pages.reader_environment(tools)
    for name in os.environ:
        if name not in environment:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", environment["PATH"])
    yard = Yard(tmp_path / ".batchyard").start()
    try:
        everything = pages.run(pages.steps(tour), tmp_path, environment)
        assert yard.process is not None
        assert yard.process.wait(30) == 0  # the tour ends it
    finally:
        yard.down()
    for said in everything:
        pages.check(said)
