"""Serves the small services over a shelf, in a thread of its own."""

from __future__ import annotations

import importlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import uvicorn
from botocore.config import Config
from botocore.exceptions import ClientError

from batchyard.compute.catalogue import Catalogue
from batchyard.main.keys import HeldAttempt, KeyRing
from batchyard.main.settings import Identity
from batchyard.server.app import App, DoorSettings
from batchyard.server.listener import listener_config
from batchyard.services.authorization import Authorizer
from batchyard.store.sealing import Sealer
from batchyard.store.shelf import Shelf

ACCOUNT, REGION = "123456789012", "us-east-1"
ROOT = Identity(ACCOUNT, REGION, "AKIAROOTROOTROOTROOT", "the-root-secret", 0)
SERVICES = ("ec2", "ecr", "iam", "kms", "secretsmanager", "ssm", "sts")


async def at_once() -> None:
    """Nothing is ever being written here."""


class Served:
    """A served shelf: `client(service)` gives boto3's client of it; `clock_ms` may be set to move its clock."""

    def __init__(self, folder: Path, *, enforce_iam: bool = False) -> None:
        self.clock_ms: int | None = None
        self.enforce_iam = enforce_iam
        self.held: dict[str, HeldAttempt] = {}  # attempts that are running
        self.shelf = Shelf(folder / "shelf.db", self.now_ms)
        self.sealer = Sealer(folder / "shelf.key")
        self.keys = KeyRing(ROOT, self.held.get, self.shelf, self.sealer)
        self.url = ""
        self._clients: dict[str, Any] = {}

    def now_ms(self) -> int:
        return self.clock_ms or time.time_ns() // 1_000_000

    def desk(self) -> Any:
        settings = SimpleNamespace(profile="open", region=REGION, account=ACCOUNT, runtime="process", enforce_iam=self.enforce_iam)
        return SimpleNamespace(
            shelf=self.shelf,
            sealer=self.sealer,
            keys=self.keys,
            settings=settings,
            now_ms=self.now_ms,
            catalogue=Catalogue(),
            read=SimpleNamespace(instances={}, environments={}, level=at_once),
        )

    def app(self) -> App:
        return App(
            self.desk(),
            {name: importlib.import_module(f"batchyard.services.{name}") for name in SERVICES},
            None,
            self.keys.lookup,
            DoorSettings(ACCOUNT, REGION),
            authorize=Authorizer(self.shelf, is_enforced=self.enforce_iam),
        )

    def client(self, service: str, key: str = ROOT.access_key_id, secret: str = ROOT.secret_access_key, token: str | None = None) -> Any:
        if (service, key) not in self._clients:
            self._clients[service, key] = boto3.client(
                service,
                endpoint_url=self.url,
                region_name=REGION,
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                aws_session_token=token,
                config=Config(retries={"max_attempts": 1}),
            )
        return self._clients[service, key]

    def as_user(self, service: str, keys: dict[str, str]) -> Any:
        """A client with an access key of CreateAccessKey, or with credentials of STS."""
        return self.client(service, keys["AccessKeyId"], keys["SecretAccessKey"], keys.get("SessionToken"))

    def __getattr__(self, service: str) -> Any:
        return self.client(service)


@contextmanager
def served(folder: Path, *, enforce_iam: bool = False) -> Iterator[Served]:
    """A server over the shelf in `folder`."""
    service = Served(folder, enforce_iam=enforce_iam)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = uvicorn.Server(listener_config(service.app()))
    thread = threading.Thread(target=lambda: server.run([listener]), daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield service
    finally:
        server.should_exit = True
        thread.join(timeout=60)
        listener.close()
        service.shelf.close()


@contextmanager
def refused(code: str, words: str = "") -> Iterator[dict[str, Any]]:
    """The block must be refused with `code` and a message that holds `words`; gives the response, once it is there."""
    answer: dict[str, Any] = {}
    with pytest.raises(ClientError) as raised:
        yield answer
    answer.update(raised.value.response)
    error = raised.value.response["Error"]
    assert error["Code"] == code, error
    assert words in error["Message"], error
