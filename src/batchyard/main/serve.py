"""Wires the floors into a server, once, and runs it until it is stopped."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import uvicorn

from batchyard import __version__
from batchyard.compute.catalogue import Catalogue
from batchyard.compute.local.link import LocalProvider
from batchyard.core.scheduling import Rules
from batchyard.engine.driver import Driver
from batchyard.engine.engine import Engine, Options
from batchyard.engine.launching import Launcher
from batchyard.engine.reader import EngineReader
from batchyard.engine.world import RealWorld
from batchyard.main.desk import ServerDesk, ServerSettings
from batchyard.main.figures import EngineFigures
from batchyard.main.keys import KeyRing
from batchyard.main.settings import Identity, Settings, SettingsError, identity_of, keep_identity, write_private
from batchyard.server.app import App, DoorSettings
from batchyard.server.listener import listener_config
from batchyard.services import batch, logs, operator, s3, ssm, sts
from batchyard.store import logs_retention
from batchyard.store.logs_store import LogStore
from batchyard.store.objects import ObjectStore
from batchyard.store.sealing import Sealer
from batchyard.store.shelf import Shelf
from batchyard.store.sql import NewerStore, Store, UnusableStore

log = logging.getLogger(__name__)

NODE_PATIENCE_S = 30.0

# What of the server's own environment a job gets to see; everything else, the operator's AWS keys above all, stays here.
INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")


def serve(settings: Settings) -> int:
    """Serve `settings.data` until SIGTERM, SIGINT or `batchyard down`. Prints `ready <url>` when a job submitted now would be placed.

    The exit code: 0 after an orderly end, 1 if it cannot serve (with a sentence on stderr).
    """
    logging.basicConfig(level=os.environ.get("BATCHYARD_LOG", "WARNING"), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings.check()
        os.umask(0o077)  # jobs run under other uids, and nothing here is theirs to read
        settings.data.mkdir(parents=True, exist_ok=True)
        settings = replace(settings, data=settings.data.resolve())
        with _one_server(settings.data):
            return _run(settings)
    except (SettingsError, NewerStore, UnusableStore, OSError) as error:
        print(f"batchyard serve: {error}", file=sys.stderr)  # noqa: T201 (the program's answer)
        return 1


@contextmanager
def _one_server(data: Path) -> Iterator[None]:
    """The lease of an embedded store: one server per folder, released by the kernel however the process ends."""
    with open(data / "server.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"{data} is served already: end that server first (batchyard down --data {data} --keep-jobs)") from None
        yield


def _run(settings: Settings) -> int:
    identity = identity_of(settings)
    listener = _listen(settings.host, identity.port, is_sticky=settings.port in (None, 0))
    identity = replace(identity, port=listener.getsockname()[1])
    keep_identity(settings.data, identity)
    runner = asyncio.Runner(loop_factory=_loop_factory())
    with listener, runner:
        return runner.run(_serve(settings, identity, listener))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


def _listen(host: str, port: int, *, is_sticky: bool) -> socket.socket:
    """The listening socket. A port that only sticks from the time before gives way to a free one if somebody else has it now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY only where it is named
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if port and is_sticky:
            log.warning("port %d, which this folder had before, cannot be had (%s): a free one is taken", port, error.strerror)
            return _listen(host, 0, is_sticky=False)
        raise SettingsError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --host or --port") from None
    listener.listen(1024)
    listener.setblocking(False)
    return listener


async def _serve(settings: Settings, identity: Identity, listener: socket.socket) -> int:
    url_host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{'127.0.0.1' if url_host == '0.0.0.0' else url_host}:{identity.port}"
    catalogue = Catalogue()
    store = Store(settings.data / "batchyard.db")
    world = RealWorld(settings.host_room(), catalogue, store.last_job_id())
    engine = Engine(store, world, Options(Rules(settings.profile == "open", settings.idle_s), settings.spot_notice_s))
    keys = KeyRing(identity, _job_of(engine))
    base = {**_user(), **{name: os.environ[name] for name in INHERITED if name in os.environ}}
    provider = LocalProvider(settings.data)
    provider.spawn_ahead()
    stop = asyncio.Event()
    driver = Driver(engine, {"local": provider}, Launcher(base, url, keys.mint), stop.set)
    objects, log_store = ObjectStore(settings.data / "objects", region=identity.region), LogStore(settings.data / "logs")
    shelf, sealer = Shelf(settings.data / "shelf.db", world.now_ms), Sealer(settings.data / "shelf.key")
    desk = ServerDesk(
        driver=driver,
        read=EngineReader(engine, open_profile=settings.profile == "open"),
        settings=ServerSettings(settings.profile, identity.region, identity.account),
        catalogue=catalogue,
        logs=log_store,
        objects=objects,
        shelf=shelf,
        sealer=sealer,
        stop=stop,
    )
    door = DoorSettings(identity.account, identity.region, is_open=settings.auth == "off")
    services = {"batch": batch, "logs": logs, "ssm": ssm, "sts": sts, "batchyard": operator}
    health = functools.partial(_health, provider)
    app = App(desk, services, s3.handle, keys.lookup, door, health=health, collectors=[EngineFigures(driver)])
    await driver.start()
    await _node_answers(provider)
    await driver.settled()
    for warning in provider.facts.get("warnings", ()):
        print(f"batchyard serve: {warning}", file=sys.stderr)  # noqa: T201 (what the operator must know at the start)
    gc.collect()
    gc.freeze()
    server = uvicorn.Server(listener_config(app, timeout_graceful_shutdown=5))
    serving = asyncio.ensure_future(server.serve([listener]))
    chores = asyncio.ensure_future(_chores(log_store, world.now_ms))
    _stop_on_signals(stop)
    _say_where(settings.data, url, identity)
    print(f"ready {url}", flush=True)  # noqa: T201 (the line that callers wait for)
    await asyncio.wait([serving, asyncio.ensure_future(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    chores.cancel()
    if desk.end_node:
        await _jobs_ended(driver)
        await provider.shut_down()
    server.should_exit = True
    await serving
    await driver.close()
    for memory in (store, objects, shelf, log_store):
        memory.close()
    return 0


def _say_where(data: Path, url: str, identity: Identity) -> None:
    """Write down how the folder's service is reached."""
    write_private(
        data / "endpoint.json",
        {
            "endpoint_url": url,
            "region": identity.region,
            "access_key_id": identity.access_key_id,
            "secret_access_key": identity.secret_access_key,
        },
    )


def _user() -> dict[str, str]:
    """A name for programs that ask who they are: a job's own uid (as root) has no entry in the system's list of users."""
    name = "batchyard" if os.geteuid() == 0 else os.environ.get("USER", "batchyard")
    return {"USER": name, "LOGNAME": name}


async def _node_answers(provider: LocalProvider) -> None:
    """Wait for the node: `ready` means that a job submitted now would be placed."""
    try:
        await asyncio.wait_for(provider.connected(), NODE_PATIENCE_S)
    except TimeoutError:
        raise SettingsError(f"the node does not answer: {provider.trouble or 'see node.log in the data folder'}") from None


def _health(provider: LocalProvider) -> dict[str, object]:
    """What `/healthz` says: not ready while the node is away, for then no job starts."""
    return {"ready": not provider.trouble, "version": __version__, **({"trouble": provider.trouble} if provider.trouble else {})}


def _job_of(engine: Engine) -> Callable[[str], str | None]:
    """Looks up the job of a live attempt; through the engine, whose yard is another one after it was rebuilt."""
    return lambda attempt: engine.yard.attempts.get(attempt)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _jobs_ended(driver: Driver, patience_s: float = 40.0) -> None:
    """After `batchyard down`: until the jobs that were told to stop have ended (30 s and SIGKILL at the latest)."""
    for _ in range(int(patience_s / 0.05)):
        if not driver.engine.yard.attempts:
            return
        await asyncio.sleep(0.05)
    log.warning("%d attempts have not ended; the node ends them", len(driver.engine.yard.attempts))


async def _chores(log_store: LogStore, now_ms: Callable[[], int]) -> None:
    while True:
        await asyncio.sleep(await asyncio.to_thread(logs_retention.run_once, log_store, now_ms()))
