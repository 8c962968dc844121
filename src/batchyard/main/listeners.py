"""Who is told of jobs on this server: the webhooks of the command line, signed with the folder's key, the targets of rules, and the
archives of log groups."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from batchyard.engine.engine import Engine
from batchyard.engine.reader import EngineReader
from batchyard.main.desk import ServerDesk
from batchyard.main.settings import Settings
from batchyard.services import usage
from batchyard.services.announcing.announcer import Announcer
from batchyard.services.announcing.listeners import Listener
from batchyard.services.announcing.webhooks import webhook
from batchyard.services.authorization import Authorizer
from batchyard.services.cloudformation.running.telling import listeners_of_stacks
from batchyard.services.events.calling import Destinations
from batchyard.services.events.listening import Senders, listeners_of_rules, timers_of_rules
from batchyard.services.events.submitting import Submitter
from batchyard.services.logs.archive import listeners_of_archives
from batchyard.services.s3.deliveries import LogDeliveries
from batchyard.store.folders import sync_folder
from batchyard.store.logs_store import LogStore
from batchyard.store.objects import ObjectStore
from batchyard.store.sealing import Sealer
from batchyard.store.shelf import Shelf

KEY_FILE = "webhook.key"


class Announcing(NamedTuple):
    """Who tells, and what is to be let go of with it: the file of its deliveries, and who asks API destinations."""

    announcer: Announcer
    submitter: Submitter
    destinations: Destinations
    shelf: Shelf

    def start(self, desk: ServerDesk) -> None:
        """Take up what an earlier server left."""
        self.submitter.desk = desk
        self.announcer.start(desk)

    async def close(self) -> None:
        """Let go of all but the file; what was not handed on is, after the next start."""
        await self.announcer.close()
        self.destinations.close()


def announcing_of(settings: Settings, engine: Engine, records: Shelf, sealer: Sealer, logs: LogStore, objects: ObjectStore) -> Announcing:
    """All that tells others of jobs. `records` has the rules, `objects` the archives of logs. To be called from the event loop that it is
    for."""
    secret = kept_secret(settings.data / KEY_FILE).encode()
    authorize = Authorizer(records, is_enforced=settings.is_iam_enforced)
    webhooks = {listener.key: listener for listener in (webhook(url, secret) for url in settings.webhooks)}
    shelf = Shelf(settings.data / "deliveries.db", engine.world.now_ms)
    senders = Senders(logs, secret, Submitter(shelf, authorize), Destinations(records, sealer, authorize))

    def used(job_id: str) -> list[dict[str, Any]]:
        found = EngineReader(engine).job(job_id)
        return [usage.of_attempt(attempt) for attempt in found[0].attempts] if found is not None else []

    def find() -> Mapping[str, Listener]:
        of_rules, of_stacks = listeners_of_rules(records, senders), listeners_of_stacks(records, secret)
        return {**webhooks, **of_rules, **of_stacks, **listeners_of_archives(logs, LogDeliveries(objects).put, used)}

    announcer, loop = Announcer(engine, shelf, find, lambda: timers_of_rules(records)), asyncio.get_running_loop()

    def look_again() -> None:
        loop.call_soon_threadsafe(announcer.refresh)

    logs.tags_changed = look_again
    return Announcing(announcer, senders.submitter, senders.destinations, shelf)


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
