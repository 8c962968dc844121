"""scratch: storage that grows under its writers, on this machine."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchyard.main.client import EXIT_FAILED, Trouble
from batchyard.main.commands.draw import emit, say
from batchyard.main.commands.place import nearest
from batchyard.main.commands.scratch_ebs import ebs_options, kind_of_volumes, reap
from batchyard.main.commands.scratch_served import STALE_AFTER_S, show, told_of

if TYPE_CHECKING:
    from batchyard.scratch.ebs_kinds import Kind
    from batchyard.scratch.provision import Backend

_GIB = 1024**3
_STORE = click.option(
    "--store", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where volumes, their record and the status are."
)


@click.group()
def scratch() -> None:
    """Storage that grows before it is full.

    `batchyard serve` has it under its jobs by itself; `watch` is for another place, and for EC2 instances.
    """


@scratch.command()
@click.option("--mount", "place", type=click.Path(path_type=Path, file_okay=False), required=True, help="The place that grows.")
@click.option(
    "--backend",
    "kind",
    type=click.Choice(["loop-btrfs", "loop-xfs", "quota", "ebs-btrfs", "ebs-xfs"]),
    required=True,
    help="Files of --store as disks (root), a watched directory, or EBS volumes of this EC2 instance (root).",
)
@_STORE
@click.option("--initial-gib", type=click.FloatRange(min=0.05), required=True, help="How much there is at first.")
@click.option("--max-gib", type=click.FloatRange(min=0.05), required=True, help="How much there is at most, to the byte.")
@click.option("--step-gib", type=click.FloatRange(min=0.03), help="The least to grow by  [a quarter of --initial-gib]")
@click.option("--level", type=click.IntRange(1, 90), default=20, show_default=True, help="Grow when less than this per cent is free.")
@click.option("--calm-s", type=click.FloatRange(min=1), default=600, show_default=True, help="Give back what was not written to so long.")
@click.option("--cgroup", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Hold these writers if a grow comes late.")
@click.option("--hold-limit-s", type=click.FloatRange(min=1), help="... but never longer than this  [60; EBS: 300]")
@ebs_options
def watch(
    place: Path,
    kind: str,
    store: Path,
    initial_gib: float,
    max_gib: float,
    step_gib: float | None,
    level: int,
    calm_s: float,
    cgroup: Path | None,
    hold_limit_s: float | None,
    **volumes: Any,
) -> None:
    """Keep a place ahead of its writers, until Ctrl-C.

    What is recorded in --store is brought up again, after a kill, a crash or a restart of the machine. Ending it leaves everything
    mounted; `batchyard scratch retire` takes it away.
    """
    from batchyard.scratch import daemon
    from batchyard.scratch.freezer import Freezer
    from batchyard.scratch.policy import Limits
    from batchyard.scratch.provision import ScratchError

    is_ebs = kind.startswith("ebs-")
    asked = kind_of_volumes(kind, volumes)
    if max_gib < initial_gib:
        raise click.BadParameter(f"{max_gib:g} is less than --initial-gib {initial_gib:g}", param_hint="--max-gib")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    step_bytes = _aligned(step_gib) if step_gib is not None else _aligned(initial_gib) // 4
    limits = Limits(cap_bytes=int(max_gib * _GIB), step_bytes=step_bytes, level=level / 100, calm_s=calm_s)
    try:
        backend = _backend(kind, store, place, _aligned(initial_gib), asked)
        watching = daemon.Daemon(
            backend,
            limits,
            status=store / daemon.STATUS,
            freezer=Freezer(cgroup) if cgroup else None,
            assumed_grow_s=20.0 if is_ebs else 0.1,  # until one was measured
            freeze_limit_s=hold_limit_s or (300.0 if is_ebs else 60.0),
        )
        watching.start(settles_beside=is_ebs)  # EC2 may take minutes
    except ScratchError as error:
        raise Trouble(str(error)) from None
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    daemon.hurry()
    say(f"ready: {place} grows from {initial_gib:g} to {max_gib:g} GiB")
    watching.run(stop)


@scratch.command()
@click.option("--store", type=click.Path(path_type=Path, file_okay=False), help="Of the place that is watched with this --store.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Of the service of this folder  [the nearest]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def status(store: Path | None, data: Path | None, as_json: bool) -> None:
    """What a place holds, and whether it is healthy. Exit code 1 if not, or if nobody watches it."""
    if store is not None and data is None:
        _status_of_store(store, as_json)
        return
    folder = data or nearest()
    if store is not None or folder is None:
        raise click.UsageError("Name one: --store of a place that is watched, or --data of a service.")
    told = told_of(folder)
    if as_json:
        emit(told)
    else:
        show(told)
    if not (told["is_watched"] and told["is_healthy"]):
        raise SystemExit(EXIT_FAILED)


def _status_of_store(store: Path, as_json: bool) -> None:
    import msgspec

    from batchyard.scratch.daemon import STATUS, Status

    try:
        told = msgspec.json.decode((store / STATUS).read_bytes(), type=Status)
    except FileNotFoundError:
        raise Trouble(f"{store / STATUS} is not there: nothing was ever watched with this --store.") from None
    except msgspec.MsgspecError as error:
        raise Trouble(f"{store / STATUS} cannot be read: {error}") from None
    age_s = abs(time.time() - told.at_s)  # from ahead of now: the clock was set back since
    is_watched = age_s < STALE_AFTER_S
    if as_json:
        emit({**msgspec.to_builtins(told), "is_watched": is_watched})
    else:
        _show(told, age_s, is_watched)
    if not (is_watched and told.is_healthy):
        raise SystemExit(EXIT_FAILED)


@scratch.command()
@_STORE
@click.option("--yes", is_flag=True, help="All that was written there is lost: do not ask.")
def retire(store: Path, yes: bool) -> None:
    """Unmount a place and remove its volumes, with all that was written there."""
    from batchyard.scratch import ledger
    from batchyard.scratch.provision import ScratchError

    try:
        book = ledger.read(store)
        if book is None:
            say(f"{store} holds nothing.")
            return
        if not yes:
            click.confirm(f"Remove {len(book.volumes)} volume(s) of {book.mount}, and all that was written there?", abort=True)
        backend = _backend(book.backend, store, Path(book.mount), book.volumes[0].size_bytes, patience_s=5)
        try:
            backend.retire()
        finally:
            backend.close()
    except ScratchError as error:
        raise Trouble(str(error), "Nobody may watch it or write there meanwhile: end those first.") from None


scratch.add_command(reap)


def _backend(kind: str, store: Path, place: Path, initial_bytes: int, asked: Kind | None = None, patience_s: float = 60.0) -> Backend:
    from batchyard.scratch import btrfs, quota, xfs

    if kind == btrfs.KIND:
        return btrfs.BtrfsLoop(store, place, initial_bytes, patience_s=patience_s)
    if kind == xfs.KIND:
        return xfs.XfsLoop(store, place, initial_bytes, patience_s=patience_s)
    if kind.startswith("ebs-"):
        from batchyard.scratch import ebs

        return ebs.backend(kind, store, place, initial_bytes, asked, patience_s=patience_s)
    return quota.QuotaDirectory(store, place, initial_bytes, patience_s=patience_s)


def _aligned(gib: float) -> int:
    """Whole MiB: what file systems like."""
    return int(gib * 1024) * 1024 * 1024


def _show(told: Any, age_s: float, is_watched: bool) -> None:
    """The status in a few lines."""
    health = "healthy" if told.is_healthy else f"NOT healthy: {told.why_not}"
    say(f"{health}; {'watched' if is_watched else f'NOT watched for {age_s:.0f} s'}")
    say(
        f"{_gib(told.used_bytes)} of {_gib(told.capacity_bytes)} GiB used (peak {_gib(told.used_peak_bytes)}),"
        f" at most {_gib(told.cap_bytes)}; {len(told.volumes)} volume(s)"
    )
    say(f"written lately: {told.rate_bytes_s / 1e6:.0f} MB/s; a grow takes {told.grow_s:.2f} s")
    if told.refusal:
        say(f"does not grow: {told.refusal}")
    say(", ".join(f"{name} {value:g}" for name, value in told.counters.items()))


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.2f}"
