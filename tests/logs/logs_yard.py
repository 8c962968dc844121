"""A log store in a fresh folder with a clock that tests turn, and a node that writes to it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from batchyard.services import Caller, Params
from batchyard.services.logs import OPERATIONS
from batchyard.store.logs import frame, open_segment
from batchyard.store.logs_store import LogStore

NOW_MS = 1_800_000_000_000
CALLER = Caller("123456789012", "eu-west-1", "AKIA", "arn:aws:iam::123456789012:root", "123456789012", "request-1")


class Desk:
    def __init__(self, logs: LogStore) -> None:
        self.logs = logs


class Yard:
    """The log store under test: `call` an operation as the door would, `write` as a node does."""

    def __init__(self, root: Path) -> None:
        self.now_ms = NOW_MS
        self.root = root
        self.logs = LogStore(root, lambda: self.now_ms)

    async def call(self, operation: str, caller: Caller = CALLER, **params: Any) -> Params:
        return await OPERATIONS[operation](Desk(self.logs), caller, params)

    def write(self, stream: str, events: Iterable[tuple[int, bytes]], group: str = "/aws/batch/job") -> None:
        """Append what a job said, and let go of the segment."""
        descriptor = open_segment(self.root, CALLER.account, CALLER.region, group, stream, self.now_ms)
        try:
            os.write(descriptor, b"".join(frame(timestamp_ms, message) for timestamp_ms, message in events))
        finally:
            os.close(descriptor)
