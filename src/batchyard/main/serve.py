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
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import uvicorn

from batchyard import __version__
from batchyard.compute.catalogue import Catalogue
from batchyard.compute.local.containers import sockets
from batchyard.compute.local.link import LocalProvider
from batchyard.core.scheduling import Rules
from batchyard.engine import retention
from batchyard.engine.driver import Driver
from batchyard.engine.engine import Engine, Options
from batchyard.engine.launching import Launcher
from batchyard.engine.log_groups import HasGroup, made_when_missing
from batchyard.engine.reader import EngineReader
from batchyard.engine.waiters import Waiters
from batchyard.engine.world import RealWorld
from batchyard.main import chores, scratch_settings, shipped
from batchyard.main.desk import ServerDesk, ServerSettings
from batchyard.main.figures import EngineFigures, EventFigures, LogFigures
from batchyard.main.held import held_by
from batchyard.main.keys import KeyRing
from batchyard.main.listeners import announcing_of
from batchyard.main.locating import locator
from batchyard.main.settings import Identity, Settings, SettingsError, identity_of, keep_identity, write_private
from batchyard.model.view import Reader
from batchyard.server.app import App, DoorSettings, ServiceModule
from batchyard.server.inner import InnerDoor
from batchyard.server.listener import allow_many_connections, listener_config
from batchyard.services import (
    batch,
    cloudformation,
    ec2,
    ecr,
    ecs,
    events,
    iam,
    kms,
    lambda_functions,
    logs,
    operator,
    s3,
    secretsmanager,
    ssm,
    sts,
)
from batchyard.services.authorization import Authorizer
from batchyard.services.job_secrets import SecretResolver
from batchyard.services.lambda_functions import events as function_events
from batchyard.store.folders import make_folder
from batchyard.store.logs_store import LogStore
from batchyard.store.objects import ObjectStore
from batchyard.store.opening import NewerStore, UnusableStore
from batchyard.store.sealing import Sealer
from batchyard.store.shelf import Shelf
from batchyard.store.sql import Store

log = logging.getLogger(__name__)

NODE_PATIENCE_S = 60.0

# Under botocore's names; S3 streams and has a door of its own.
SERVICES: dict[str, ServiceModule] = {
    "batch": batch,
    "cloudformation": cloudformation,
    "ec2": ec2,
    "ecr": ecr,
    "ecs": ecs,
    "events": events,
    "iam": iam,
    "kms": kms,
    "lambda": lambda_functions,
    "logs": logs,
    "secretsmanager": secretsmanager,
    "ssm": ssm,
    "sts": sts,
    "batchyard": operator,
}

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
        make_folder(settings.data)
        settings = replace(settings, data=settings.data.resolve())
        with _one_server(settings.data):
            return _run(settings)
    except (SettingsError, sockets.NoDaemon, NewerStore, UnusableStore, OSError) as error:
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
    choice = sockets.choose(settings.runtime, str(settings.container_socket) if settings.container_socket else None)
    identity = identity_of(settings)
    allow_many_connections()
    listener = _listen(settings.host, identity.port, is_sticky=settings.port in (None, 0))
    identity = replace(identity, port=listener.getsockname()[1])
    keep_identity(settings.data, identity)
    runner = asyncio.Runner(loop_factory=_loop_factory())
    with listener, runner:
        return runner.run(_serve(settings, identity, listener, choice))


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


async def _serve(settings: Settings, identity: Identity, listener: socket.socket, choice: sockets.Choice) -> int:
    provider = LocalProvider(settings.data, node_options=_node_options(settings, choice))
    _check_link_local(settings, provider)
    runtime = "container" if choice.daemon else "process"
    url = _url_of(settings, identity)
    catalogue = Catalogue()
    store = Store(settings.data / "batchyard.db")
    world = RealWorld(settings.host_room(), catalogue, store.last_job_id())
    engine = Engine(store, world, Options(Rules(settings.profile == "open", settings.idle_s), settings.spot_notice_s))
    shelf, sealer, resolve = _shelved(settings, world)
    objects, log_store = ObjectStore(settings.data / "objects", region=identity.region), LogStore(settings.data / "logs")
    keys = KeyRing(identity, held_by(engine), shelf, sealer)
    base = {**_user(), **{name: os.environ[name] for name in INHERITED if name in os.environ}}
    provider.spawn_ahead()
    stop = asyncio.Event()
    launcher = Launcher(base, url, keys.mint, runtime, resolve, locator(engine, shelf, catalogue), _has_group(settings, log_store))
    driver = Driver(engine, {"local": provider}, launcher, stop.set)
    read = EngineReader(engine, open_profile=settings.profile == "open", level=driver.level)
    waiters, announcing = Waiters(read), announcing_of(settings, engine, shelf, sealer, log_store, objects)
    driver.watchers += [waiters.note, announcing.announcer.note]
    desk = ServerDesk(
        driver=driver,
        read=read,
        settings=_told(settings, identity, runtime),
        catalogue=catalogue,
        logs=log_store,
        objects=objects,
        shelf=shelf,
        sealer=sealer,
        keys=keys,
        stop=stop,
        announcer=announcing.announcer,
        waiters=waiters,
        functions=function_events.Functions(settings.data, url),
        provider=provider,
    )
    access_logs = s3.AccessLogs(objects, settings.data / "access-logs", settings.log_delivery_s)
    app = _app(desk, settings, identity, functools.partial(health_of, provider, desk.read), access_logs)
    await driver.start()
    await _node_answers(provider)
    await driver.settled()
    announcing.start(desk)
    _warn(provider, choice, settings)
    server = uvicorn.Server(listener_config(app, timeout_graceful_shutdown=5))
    async with _beside_the_answers(desk, settings.retention(), access_logs):
        serving = asyncio.ensure_future(server.serve([listener]))
        _stop_on_signals(stop)
        _say_ready(settings.data, url, identity)
        await asyncio.wait([serving, asyncio.ensure_future(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    if desk.end_node:
        await _jobs_ended(driver)
        await provider.shut_down()
    desk.stop_waiting()
    server.should_exit = True
    await serving
    await desk.functions.close()
    await driver.close()
    await announcing.close()
    _close(access_logs, store, objects, shelf, announcing.shelf, log_store)
    return 0


@asynccontextmanager
async def _beside_the_answers(desk: ServerDesk, kept: retention.Retention, access_logs: s3.AccessLogs) -> AsyncIterator[None]:
    """What goes on by itself while requests are answered: stacks under way, and chores."""
    await desk.start_stacks()
    gc.collect()
    gc.freeze()
    gc.enable()
    running = chores.begin(desk, kept, access_logs)
    yield
    await chores.end(running)
    await desk.close_stacks()


def _app(
    desk: ServerDesk, settings: Settings, identity: Identity, health: Callable[[], Mapping[str, object]], access_logs: s3.AccessLogs
) -> App:
    """The door for the world, and the one inside the house."""
    authorize = Authorizer(desk.shelf, is_enforced=settings.is_iam_enforced)
    desk.calls = InnerDoor(desk, SERVICES, s3.handle, authorize)
    door = DoorSettings(identity.account, identity.region, is_open=settings.auth == "off")
    return App(
        desk,
        SERVICES,
        s3.handle,
        desk.keys.lookup,
        door,
        health=health,
        authorize=authorize,
        collectors=[EngineFigures(desk.driver), EventFigures(desk.announcer), LogFigures(access_logs)],
        access_logs=access_logs,
    )


def _close(*memories: s3.AccessLogs | Store | ObjectStore | Shelf | LogStore) -> None:
    for memory in memories:
        memory.close()


def _url_of(settings: Settings, identity: Identity) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{identity.port}"


def _told(settings: Settings, identity: Identity, runtime: str) -> ServerSettings:
    """What handlers may know of the settings."""
    urls = (*settings.template_urls, *shipped.template_urls())  # the first that fits is taken: what was said wins
    return ServerSettings(settings.profile, identity.region, identity.account, runtime, settings.is_iam_enforced, template_urls=urls)


def _shelved(settings: Settings, world: RealWorld) -> tuple[Shelf, Sealer, SecretResolver]:
    """The records of the small services, what seals the secrets among them, and who looks these up for jobs."""
    shelf, sealer = Shelf(settings.data / "shelf.db", world.now_ms), Sealer(settings.data / "shelf.key")
    return shelf, sealer, SecretResolver(shelf, sealer, is_enforced=settings.is_iam_enforced)


def _say_ready(data: Path, url: str, identity: Identity) -> None:
    """Write down how the folder's service is reached, and print the line that callers wait for."""
    write_private(
        data / "endpoint.json",
        {
            "endpoint_url": url,
            "region": identity.region,
            "access_key_id": identity.access_key_id,
            "secret_access_key": identity.secret_access_key,
        },
    )
    print(f"ready {url}", flush=True)  # noqa: T201


def _has_group(settings: Settings, logs: LogStore) -> HasGroup:
    """Whether a log group that a job names has to be there, as on AWS; else it is made with the first attempt."""
    if settings.profile == "open":
        return made_when_missing
    return lambda account, region, name: logs.group((account, region), name) is not None


def _node_options(settings: Settings, choice: sockets.Choice) -> list[str]:
    """What the node is told."""
    scratch = scratch_settings.node_options(settings)
    limits = ["--cpu", settings.cpu, "--pids-limit", str(settings.pids_limit), "--log-limit-mib", str(settings.log_limit_mib)]
    exposed = (word for path in (str(Path.cwd()), *settings.expose) for word in ("--expose", str(Path(path).absolute())))
    seen = ["--bubblewrap", settings.bubblewrap, "--link-local", settings.link_local]
    return [*scratch, *limits, *seen, *exposed, *_of_containers(settings, choice)]


def _check_link_local(settings: Settings, provider: LocalProvider) -> None:
    """SettingsError if the addresses that programs have built in are wanted and cannot be had."""
    if settings.link_local == "off" or provider.answers():  # a node that runs already has what it was started with
        return
    from batchyard.compute.local.doors import link_local

    why = link_local.why_not()
    if why and not provider.answers():
        raise SettingsError(why)


def _of_containers(settings: Settings, choice: sockets.Choice) -> list[str]:
    if choice.daemon is None:
        return []
    told = {"socket": choice.daemon.socket, "network": settings.container_network}
    cache = ["--image-cache-gib", f"{settings.image_cache_gib:g}"] if settings.image_cache_gib is not None else []
    return ["--pull", settings.pull, *cache, *(word for name, value in told.items() for word in (f"--container-{name}", value))]


def _warn(provider: LocalProvider, choice: sockets.Choice, settings: Settings) -> None:
    """Say what the operator must know at the start."""
    for warning in (choice.why, *_of_another_start(provider, choice, settings), *provider.facts.get("warnings", ())):
        print(f"batchyard serve: {warning}", file=sys.stderr)  # noqa: T201


def _of_another_start(provider: LocalProvider, choice: sockets.Choice, settings: Settings) -> list[str]:
    """A sentence, if the node that runs already was started with other choices."""
    held, wanted = provider.facts.get("container_socket", ""), choice.daemon.socket if choice.daemon else ""
    has = []
    if held != wanted:
        has.append(f"with containers ({held})" if held else "with processes only")
    link_local = str(provider.facts.get("link_local", "off"))
    if link_local != settings.link_local:
        has.append(f"with --link-local {link_local}")
    scratch = str(provider.facts.get("scratch", settings.scratch))
    if scratch != settings.scratch:
        has.append(f"with --scratch {scratch}")
    if not has:
        return []
    return [f"The node of this folder runs already, {' and '.join(has)}: what this start says of it holds after `batchyard down`."]


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


def health_of(provider: LocalProvider, read: Reader) -> dict[str, object]:
    """What `/healthz` says: not ready while the node is away or its scratch space is not ready, for then no job starts."""
    scratch, trouble = read.scratch, provider.trouble
    if not trouble and scratch is not None and not scratch.is_healthy:
        trouble = f"no job starts: {scratch.why_not}"
    return {"ready": not trouble, "version": __version__, **({"trouble": trouble} if trouble else {})}


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
