"""Writes an environment as a picture into a file, in the form that the file's name asks for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from batchyard.main.client import Trouble
from batchyard.main.graph.environment import Environment
from batchyard.main.graph.picture import drawn
from batchyard.main.graph.svg import svg

FORMS = (".svg", ".png")


def check(file: Path) -> None:
    """Raises `Trouble` for a file that is of neither form, before anything is asked."""
    if file.suffix.lower() not in FORMS:
        raise Trouble(f"{file} must end in {' or '.join(FORMS)}.", exit_code=2)


def write(environment: Environment, title: str, file: Path) -> None:
    """Write the picture of an environment. Raises `Trouble` where there is nothing to draw, no matplotlib, or no place to write to."""
    if not environment.nodes:
        fix = "Templates that it nests at other addresses are not read: deploy it, and draw the stack by its name."
        raise Trouble(f"Nothing of {title} is part of a batch environment: no queue, compute environment, role, bucket, log group.", fix)
    picture = drawn(environment, title)
    try:
        if file.suffix.lower() == ".png":
            from batchyard.main.graph.png import png

            png(picture, file)
        else:
            file.write_text(svg(picture), encoding="utf-8")
    except OSError as error:
        raise Trouble(f"{file} cannot be written: {error.strerror or error}.") from None


def told(environment: Environment, file: Path) -> dict[str, Any]:
    """What was drawn, as JSON has it."""
    return {"file": str(file), **asdict(environment)}
