"""Who is told of jobs on this server: the webhooks of the command line, signed with the folder's key, and the targets of rules."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from batchyard.engine.engine import Engine
from batchyard.main.settings import Settings
from batchyard.services.announcing.announcer import Announcer
from batchyard.services.announcing.webhooks import webhook
from batchyard.services.events.listening import listeners_of_rules
from batchyard.store.folders import sync_folder
from batchyard.store.logs_store import LogStore
from batchyard.store.shelf import Shelf

KEY_FILE = "webhook.key"


def announcer_of(settings: Settings, engine: Engine, records: Shelf, logs: LogStore) -> tuple[Announcer, Shelf]:
    """The announcer, and the file of its deliveries, which is to be closed after it. `records` has the rules."""
    secret = kept_secret(settings.data / KEY_FILE).encode()
    webhooks = {listener.key: listener for listener in (webhook(url, secret) for url in settings.webhooks)}
    shelf = Shelf(settings.data / "deliveries.db", engine.world.now_ms)
    return Announcer(engine, shelf, lambda: {**webhooks, **listeners_of_rules(records, logs, secret)}), shelf


def kept_secret(path: Path) -> str:
    """The text that webhooks are signed with; made on first use, the owner's alone to read."""
    if not path.exists():
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(secrets.token_urlsafe(32) + "\n")
            out.flush()
            os.fsync(out.fileno())
        partial.rename(path)
        sync_folder(path.parent)
    return path.read_text().strip()
