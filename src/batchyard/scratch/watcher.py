"""The process under a node: it makes the node's scratch space, keeps it ahead of the jobs, and takes it away when it is told to.

    python -m batchyard.scratch.watcher ORDERS        (JSON, see `Orders`)

It says `mounted` on its standard output when jobs may write, or `failed` and why. A line `retire` on its standard input has it take
everything away; when its input ends without that, its node has died: it lets go, and the node that comes next finds what is there.
The answer to `mounted` is `held`, if the node holds the writers since nobody watched, or `free`: from then on it is for the watcher.
`rest TIME` allows it to sleep, for nobody can write until then; `wake NUMBER` ends that, and is answered by `awake NUMBER` after a look.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from batchyard.scratch import btrfs, daemon, forsaken, ledger, loop, mounts, tools, xfs
from batchyard.scratch.freezer import JobsFreezer
from batchyard.scratch.policy import MIB, Limits
from batchyard.scratch.provision import Backend, NoRoom, ScratchError
from batchyard.scratch.resting import Rest
from batchyard.scratch.watching import AWAKE, FAILED, HELD, MOUNTED, REST, RETIRE, STATUS, WAKE, Orders

log = logging.getLogger(__name__)

SMALLEST = {btrfs.KIND: 128 * MIB, xfs.KIND: xfs.SMALLEST_BYTES}
_ANSWER_S = 5.0
_LINGER_S = 2.0
_PATIENCE_S = 60.0  # for what a killed watcher left running


def main(arguments: list[str]) -> int:
    """The program. Exit code 1 with `failed` and a reason on the standard output if it cannot do what is wanted."""
    logging.basicConfig(format="%(asctime)s scratch: %(message)s", level=logging.INFO)
    orders = msgspec.json.decode(arguments[0], type=Orders)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        if orders.kind:
            _watch(orders)
        else:
            take_away(Path(orders.store), Path(orders.mount), also_others=True)
    except (ScratchError, OSError) as error:
        _say(f"{FAILED} {error}".replace("\n", " "))
        return 1
    return 0


def _watch(orders: Orders) -> None:
    store, mount = Path(orders.store), Path(orders.mount)
    stop, rest = threading.Event(), Rest(lambda number: _say(f"{AWAKE} {number}"))
    node = Node(rest)

    def end(*_: object) -> None:
        stop.set()
        rest.wake()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=node.listen, args=(end,), name="scratch-orders", daemon=True).start()
    watching = _up(orders, store, mount, rest)
    node.on_answer = watching.take_over
    daemon.hurry()
    _say(MOUNTED)
    if not node.has_answered.wait(_ANSWER_S):
        watching.take_over(False)
    if orders.fresh:
        threading.Thread(target=forsaken.clear, name="scratch-forsaken", daemon=True).start()
    watching.run(stop)
    if RETIRE in node.words:
        take_away(store, mount)


class Node:
    """What the node has said."""

    def __init__(self, rest: Rest) -> None:
        self.words: list[str] = []  # but for those about rest
        self.has_answered = threading.Event()
        self.on_answer: Callable[[bool], None] = lambda are_held: None  # told whether it holds the writers, however late it says so
        self._rest = rest

    def listen(self, end: Callable[[], None]) -> None:
        """Take in its words until it wants an end, or has come to its own. As urgent as the looks, which wait for whatever it is at."""
        daemon.hurry()
        with contextlib.suppress(OSError, ValueError):
            for line in sys.stdin:
                word, _, rest = line.strip().partition(" ")
                if word == REST:
                    self._rest.allow(float(rest))
                elif word == WAKE:
                    self._rest.end(rest)
                else:
                    self.words.append(word)
                    if word == RETIRE:
                        break
                    self.on_answer(word == HELD)
                    self.has_answered.set()
        end()
        self.has_answered.set()


def _up(orders: Orders, store: Path, mount: Path, rest: Rest) -> daemon.Daemon:
    """The scratch space, made or found, and mended; its daemon, ready to run."""
    if orders.fresh:
        clear_others(store, mount, orders.kind, orders.cap_bytes)
    try:
        watching = _started(orders, store, mount, rest)
        if not (orders.fresh and watching.why_not and not _is_full(watching.why_not)):
            return watching
        why: object = watching.why_not
        watching.close()
    except NoRoom:
        raise
    except ScratchError as error:
        if not orders.fresh:
            raise
        why = error
    log.error("what is there cannot be used, and nobody needs it: it is made anew (%s)", why)
    take_away(store, mount)
    return _started(orders, store, mount, rest)


def _is_full(why_not: str) -> bool:
    """A full place is sound: it is made larger, or what an earlier node left is cleared away."""
    return os.strerror(errno.ENOSPC) in why_not


def _started(orders: Orders, store: Path, mount: Path, rest: Rest) -> daemon.Daemon:
    least = SMALLEST[orders.kind]
    if orders.cap_bytes < least:
        raise ScratchError(f"{orders.kind} has at least {least // MIB} MiB, and may have {orders.cap_bytes // MIB}: raise --scratch-gib")
    initial = min(max(orders.initial_bytes, least), orders.cap_bytes) // MIB * MIB
    limits = Limits(cap_bytes=orders.cap_bytes, step_bytes=max(32 * MIB, initial // 4 // MIB * MIB), calm_s=orders.calm_s)
    backend = _backend(orders.kind, store, mount, initial)
    freezer = None
    if orders.jobs:
        try:
            freezer = JobsFreezer(Path(orders.jobs))
        except ScratchError as error:
            log.warning("jobs cannot be held if a grow comes late: %s", error)
    watching = daemon.Daemon(backend, limits, status=store / STATUS, freezer=freezer, assumed_grow_s=0.1, rest=rest)
    try:
        watching.start(thaws=orders.fresh)
    except BaseException:
        watching.close()
        raise
    return watching


def _backend(kind: str, store: Path, mount: Path, initial_bytes: int) -> Backend:
    if kind == xfs.KIND:
        return xfs.XfsLoop(store, mount, initial_bytes, patience_s=_PATIENCE_S)
    return btrfs.BtrfsLoop(store, mount, initial_bytes, patience_s=_PATIENCE_S)


# --- what is not wanted any more ---


def clear_others(store: Path, mount: Path, kind: str, cap_bytes: int) -> None:
    """Take away what another choice of back end or place has left, what is more than may be, and what stands on files without a record."""
    book = _recorded(store)
    is_wanted = book is not None and (book.backend, book.mount) == (kind, str(mount.resolve()))
    if book is None or not is_wanted or sum(one.size_bytes for one in book.volumes) > cap_bytes:
        take_away(store, mount)


def take_away(store: Path, mount: Path, *, also_others: bool = False) -> None:
    """No mount, no loop device and no volume of `store` is left, and nothing of what was written there.

    Who still stands in it (a process that cannot be killed, another mount namespace) keeps it alive for so long, but nobody else sees it.
    `also_others`: what else is mounted at `mount` may stay; else that is refused.
    """
    if not store.exists():
        return
    book = _recorded(store)
    held = ledger.Ledger(store, patience_s=_PATIENCE_S)
    try:
        _unmount(mount, store, held.lock, also_others)
        if book is not None and book.mount != str(mount):  # the folder was moved, or is a copy: who is there now may have a right to
            _unmount(Path(book.mount), store, held.lock, also_others=True)
        for device in _devices_in(store):
            loop.let_go(device, held.lock)
        with contextlib.suppress(ScratchError):
            tools.until(lambda: not _devices_in(store), "a loop device is still in use", _LINGER_S)
        for path in store.glob("volume*.img"):
            path.unlink(missing_ok=True)
        held.forget()
        (store / STATUS).unlink(missing_ok=True)
    finally:
        held.close()


def _recorded(store: Path) -> ledger.Book | None:
    """The record of `store`; one that cannot be read is removed: all that lies there is to be found without it."""
    try:
        return ledger.read(store)
    except ScratchError as error:
        log.error("%s; it is removed", error)
        (store / ledger.NAME).unlink()
        return None


def _unmount(place: Path, store: Path, lock: int, also_others: bool) -> None:
    """Nothing on a volume of `store` is mounted at `place` any more; what else is mounted there is not ours."""
    while (source := mounts.mounted_from(place)) is not None:
        if source not in _devices_in(store):
            if also_others:
                return
            raise ScratchError(f"{source} is mounted at {place}, and is no volume of {store}: unmount it, or name another place")
        try:
            mounts.unmount(place, lock)
        except ScratchError as error:
            log.warning("%s; it goes when its last user does", error)
            subprocess.run(["umount", "--lazy", str(place)], check=False, timeout=60, capture_output=True)
    mounts.weigh(place, lock)


def _devices_in(store: Path) -> set[str]:
    return set(loop.within(store))


def _say(word: str) -> None:
    with contextlib.suppress(OSError):  # the node is gone
        print(word, flush=True)  # noqa: T201 - how it talks to the node


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
