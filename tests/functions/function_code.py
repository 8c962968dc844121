"""Functions for tests: archives of one module, and a service that holds them."""

from __future__ import annotations

import io
import json
import textwrap
import zipfile
from typing import Any

from yard import Yard

ROLE = "arn:aws:iam::000000000000:role/functions"


def archive(source: str, **others: str) -> bytes:
    """A zip archive with `source` as index.py, and further modules."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        opened.writestr("index.py", textwrap.dedent(source))
        for name, text in others.items():
            opened.writestr(f"{name}.py", text)
    return out.getvalue()


def create(yard: Yard, name: str, source: str, **options: Any) -> dict[str, Any]:
    """CreateFunction with the usual answers to what it asks. There is time for a busy machine; `Timeout=None`: as much as Lambda gives."""
    usual = {"Runtime": "python3.12", "Handler": "index.handler", "Role": ROLE, "Code": {"ZipFile": archive(source)}, "Timeout": 60}
    asked = {name: value for name, value in {**usual, **options}.items() if value is not None}
    return yard.client("lambda").create_function(FunctionName=name, **asked)  # type: ignore[no-any-return]


def invoke(yard: Yard, name: str, event: Any = None, **options: Any) -> tuple[Any, dict[str, Any]]:
    """(what the function answered, the whole response)."""
    response = yard.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode(), **options)
    content = response["Payload"].read()
    return (json.loads(content) if content else None), response


def run(yard: Yard, name: str, source: str, event: Any = None, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Create a function and invoke it."""
    create(yard, name, source, **options)
    return invoke(yard, name, event, LogType="Tail")
