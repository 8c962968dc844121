"""Serves an object store through the door, in a thread of its own, and makes boto3 clients for it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import uvicorn
from botocore.config import Config

from batchyard.server.app import App, DoorSettings
from batchyard.server.identity import root_credential
from batchyard.server.listener import listener_config
from batchyard.services.s3 import AccessLogs, handle
from batchyard.store.objects import ObjectStore

ACCOUNT, OTHER_ACCOUNT = "123456789012", "210987654321"
KEYS = {account: root_credential(f"AKIA{account}", f"secret-of-{account}", account) for account in (ACCOUNT, OTHER_ACCOUNT)}


def door(store: ObjectStore, is_open: bool = False, access_logs: AccessLogs | None = None) -> App:
    """The ASGI application in front of `store`; with `is_open` it asks for no signatures and everybody is `ACCOUNT`."""
    credentials = {credential.access_key_id: credential for credential in KEYS.values()}
    return App(
        SimpleNamespace(objects=store),
        {},
        handle,
        lambda access_key_id, _: credentials.get(access_key_id),
        DoorSettings(ACCOUNT, "us-east-1", is_open),
        access_logs=access_logs,
    )


@contextmanager
def served(store: ObjectStore, is_open: bool = False, access_logs: AccessLogs | None = None) -> Iterator[str]:
    """The URL of a server of `store`."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = uvicorn.Server(listener_config(door(store, is_open, access_logs)))
    thread = threading.Thread(target=lambda: server.run([listener]), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=60)
        listener.close()


def open_store(root: Path) -> ObjectStore:
    """A store in a folder below `root`."""
    return ObjectStore(root / "objects")


def body_files(root: Path) -> list[Path]:
    """The bodies on the disk of the store below `root`. Folders may vanish meanwhile, which `rglob` does not bear."""
    return [Path(folder) / name for folder, _, names in os.walk(root / "objects" / "bodies") for name in names]


def client(url: str, account: str = ACCOUNT, region: str = "us-east-1", **config: Any) -> Any:
    """boto3's S3 client for `url`, with the root keys of `account`."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=KEYS[account].access_key_id,
        aws_secret_access_key=KEYS[account].secret_access_key,
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, **config),
    )
