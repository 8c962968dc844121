"""Whoever follows our pages: an activated virtual environment, an `aws` that jobs can start too, and a service that was just started."""

from __future__ import annotations

import functools
import importlib
import os
import shlex
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from pages import ROOT
from yard import Yard

EXAMPLE = ROOT / "examples" / "variant-calling"


@functools.cache
def tools() -> Path:
    """A folder with an `aws` that the users of jobs may start, wherever this Python and its packages lie (below /root, say)."""
    with mock.patch.object(sys, "path", [str(EXAMPLE), *sys.path]):
        interpreter, lookalike = (importlib.import_module(f"variant_calling.{name}") for name in ("interpreter", "lookalike"))
        folder = Path(lookalike.make_folder())
        python = interpreter.for_jobs()
        if python.packages not in (None, Path(sysconfig.get_paths()["purelib"])):
            with mock.patch.object(lookalike, "PACKAGES", ("awscli",)):
                lookalike.link_packages(python.packages)
    settings = [f"{name}={value}" for name, value in python.environment.items()]
    (folder / "aws").write_text(f'#!/bin/sh\nexec {shlex.join(["env", *settings, python.python, "-m", "awscli"])} "$@"\n')
    (folder / "aws").chmod(0o755)
    return folder


def environment(*, with_tools: bool = True) -> dict[str, str]:
    """The reader's environment, without any settings of AWS or of ours."""
    path = [*([str(tools())] if with_tools else []), str(Path(sys.executable).parent), os.environ["PATH"]]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BATCHYARD_"))}
    return {**kept, "PATH": os.pathsep.join(path), "COLUMNS": "100", "NO_COLOR": "1"}


@contextmanager
def started(folder: Path, reader: dict[str, str], *options: str) -> Iterator[Yard]:
    """`batchyard serve` in `folder`, as the reader starts it in another terminal."""
    yard = Yard(folder / ".batchyard", *options)
    with mock.patch.dict(os.environ, reader, clear=True):
        yard.start()
    try:
        yield yard
    finally:
        yard.down()
