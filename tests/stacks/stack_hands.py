"""Hands over real services in this process, for tests of resource types without a stack: no engine turns, so not for Batch."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from batchyard.main.desk import ServerSettings
from batchyard.main.keys import KeyRing
from batchyard.main.serve import SERVICES
from batchyard.main.settings import Identity
from batchyard.server.app import everybody_may
from batchyard.server.inner import InnerDoor
from batchyard.services import Caller, s3
from batchyard.services.cloudformation.running.hands import StackHands
from batchyard.store.logs_store import LogStore
from batchyard.store.objects import ObjectStore
from batchyard.store.sealing import Sealer
from batchyard.store.shelf import Shelf

ACCOUNT, REGION = "123456789012", "eu-west-1"
ROOT = Caller(ACCOUNT, REGION, "AKIA", f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, "-")


async def _told_nobody(_events: Any) -> None:
    """There is no bus here."""


class Workbench:
    """The small services, S3 and Logs on a folder, in this process. `close` it; another one on the same folder is a restart."""

    def __init__(self, folder: Path) -> None:
        self.shelf, self.sealer = Shelf(folder / "shelf.db"), Sealer(folder / "shelf.key")
        self.objects, self.logs = ObjectStore(folder / "objects", region=REGION), LogStore(folder / "logs")
        identity = Identity(port=1, account=ACCOUNT, region=REGION, access_key_id="AKIA", secret_access_key="secret")
        self.desk: Any = SimpleNamespace(
            shelf=self.shelf,
            sealer=self.sealer,
            objects=self.objects,
            logs=self.logs,
            settings=ServerSettings("open", REGION, ACCOUNT),
            keys=KeyRing(identity, lambda _: None, self.shelf, self.sealer),
            announcer=SimpleNamespace(tell=_told_nobody),
            now_ms=lambda: 1_700_000_000_000,
            tagging=asyncio.Lock(),
        )
        self.desk.calls = InnerDoor(self.desk, SERVICES, s3.handle, everybody_may)
        self.hands = StackHands(self.desk, ROOT)

    def close(self) -> None:
        for memory in (self.shelf, self.objects, self.logs):
            memory.close()
