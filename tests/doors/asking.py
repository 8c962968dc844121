"""What jobs ask their endpoints with, in Python, and a service on which they can be asked about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yard import Yard, serving

# `ask` asks: the status and the text of the answer. `tell` prints one JSON document a line.
ASK = """
import json, os, signal, sys, time, urllib.error, urllib.request
def ask(url, method="GET", **headers):
    wanted = urllib.request.Request(url, method=method, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(wanted, timeout=90) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
def tell(*what):
    print(json.dumps(what), flush=True)
"""


@contextmanager
def spot_and_on_demand(data: Path, *options: str) -> Iterator[Yard]:
    """A service with the queue "queue", on demand, on instances whose type EC2's metadata can name, and "spot-queue"."""
    with serving(data, *options) as yard:
        yard.with_queue("ce", types=["m5"])
        yard.queue_of("spot-queue", yard.environment_of("spot", kind="SPOT"))
        yield yard
