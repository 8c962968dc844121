"""The node: a small process that starts and reaps the jobs of this machine, so that they outlive the server.

    python -m batchyard.compute.local.node --data DIR

There is one per DIR (a lock sees to it). It ends by itself when there has been neither a server nor work for a while.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from batchyard.compute.local import cgroups, host, keyrings, orphans, protocol, sweep, workplace
from batchyard.compute.local.allotments import Allotments
from batchyard.compute.local.cage import Limits
from batchyard.compute.local.door import Door
from batchyard.compute.local.doors.doors import Doors, linked_or_not
from batchyard.compute.local.ground import choose
from batchyard.compute.local.journal import NAME, Epoch, Journal
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.node_log import say
from batchyard.compute.local.node_options import parser
from batchyard.compute.local.place import Place
from batchyard.compute.local.proc import boot_id
from batchyard.compute.local.protocol import Acknowledge, Announce, Do, Down, ShutDown
from batchyard.compute.local.runners import Runners
from batchyard.compute.local.scratching.kinds import DIRECTORY, Wanted
from batchyard.compute.local.scratching.scratching import Scratching
from batchyard.compute.local.sessions.listener import Sessions
from batchyard.compute.local.sessions.starting import Starter
from batchyard.compute.local.slots import Slots
from batchyard.compute.local.supervisor import Supervisor
from batchyard.compute.local.sweep import Sweeper
from batchyard.compute.local.walker import Walker

if TYPE_CHECKING:
    from batchyard.compute.local.bubbles import Bubbles

_SIGTERM_GRACE_S = 10.0
_EXIT_CHECK_S = 0.05
_UNKILLABLE_S = 10.0  # how long what does not die by SIGKILL keeps us from exiting


def main(arguments: list[str] | None = None) -> int:
    """The command. Exit code 0, also when another node has DIR already."""
    options = parser().parse_args(arguments)
    os.closerange(3, 65536)  # whatever our parents left open must not end up in jobs
    directory = Path(options.data).absolute()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _locked(directory)
    if lock is None:
        say(f"there is a node for {directory} already")
        return 0
    Node(directory, options).run()
    return 0


def _trial(work: Path) -> str:
    """Why jobs cannot have namespaces; "" if they can."""
    from batchyard.compute.local import bubble_trial

    place = work / f".trial-{os.getpid()}"
    place.mkdir()
    try:
        return bubble_trial.why_not(str(place))
    finally:
        sweep.remove_tree(str(place))


def _bubbles(directory: Path, work: Path, exposed: list[str], name: str, kept: bool) -> Bubbles:
    from batchyard.compute.local import bubble, bubbles

    marker = {orphans.NODE_MARKER: name}
    return bubbles.Bubbles(bubble.program(), str(directory), str(work), tuple(exposed), marker, kept)


def _locked(directory: Path) -> int | None:
    """The lock of DIR, held as long as this process lives; None if another node holds it."""
    descriptor = os.open(directory / protocol.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


class Node:
    """Puts the parts together and turns the loop."""

    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        self._idle_s = options.idle_s
        self._exit_at_s: float | None = None  # when it was told to end: the time by which all jobs have to be gone
        self._running, self._told_to_end = True, False
        _settle_in()
        self.loop = Loop(lambda: self.runners.processes.reap())
        self.name = host.node_name(directory)
        self.journal = Journal(directory / NAME, boot_id())
        isolated = os.geteuid() == 0 and not options.same_user
        workplace.make_logs(directory / "logs")
        work = workplace.make_work(directory, Path(options.work) if options.work else None, self.name, isolated)
        groups = cgroups.usable_groups() if options.isolation != "watch" else cgroups.Groups(0, {}, "the node was told to do without")
        no_bubbles = None if options.bubblewrap == "off" else _trial(work)
        if no_bubbles and options.bubblewrap == "require":
            raise SystemExit(f"--bubblewrap require: {no_bubbles}")
        linked = linked_or_not(options.link_local == "on", directory, self.loop, lambda: self.supervisor.attempts.values(), groups.why_not)
        facts = host.facts(directory, groups=groups, same_user=options.same_user, work=work, no_bubbles=no_bubbles)
        facts |= {"container_socket": options.container_socket or "", "scratch": options.scratch, "link_local": options.link_local}
        if isolated:
            os.setgroups([])
            host.renounce_privileges()
            if not keyrings.close():
                say("jobs that have a user id one after the other share its keyrings")
        self.sweeper, walker = Sweeper(), Walker()  # before we move into a cgroup of our own, which they would keep from being removed
        limits = Limits(options.pids_limit, options.cpu == "hard", options.log_limit_mib)
        self.tree = cgroups.make_tree(groups, self.name, limits)
        self.doors = Doors(
            self.loop,
            lambda attempt: self.supervisor.attempts.get(attempt),
            lambda instance: self.supervisor.instances.notice_of(instance),
            linked,
        )
        bubbles = _bubbles(directory, work, options.expose, self.name, isolated) if no_bubbles == "" else None
        logs, reserved = directory / "logs", options.uids
        place = Place(self.name, str(work), logs, reserved, options.allow_any_user, doors=self.doors, limits=limits, bubbles=bubbles)
        gpus = host.gpu_devices() if options.gpus is None else options.gpus
        self.allotments = Allotments(self.loop, walker)
        slots = Slots(self.tree, options.uids if isolated else None, str(work), gpus, self.allotments)
        self.runners = Runners(options, place, self.tree, slots, self.journal, self.sweeper, self.allotments, self.loop)
        self._strays = orphans.end(self.runners.direct(), self.journal, self.loop)
        if self._strays:
            say(f"{self._strays} processes or containers of an earlier node cannot be killed")
        self.scratching = self._ground_of(options, directory, work)
        self._vcpus: float = options.vcpus or facts["vcpus"]
        generation = f"local-{os.urandom(8).hex()}"
        self.door = Door(directory, self.loop, self.journal.epoch, facts, generation)
        self.supervisor = Supervisor(generation, str(work), self.runners.of, self.journal, self.loop, self.door.send, self.allotments)
        self.supervisor.on_over = self.doors.forget
        self.supervisor.may_start = lambda: self.scratching.is_ahead
        self.supervisor.on_waiting = self.scratching.expect_writers
        self.supervisor.ground_seen = lambda: [self.scratching.seen()]
        self._sessions = Sessions(
            directory, self.loop, self.supervisor.run_of, Starter(self.runners.processes, self.runners.containers, self.loop)
        )
        self._directory, self._work, self._isolated = directory, work, isolated
        self.scratching.start()
        self.door.on_link = self._linked
        self.door.on_message = self._received
        signal.signal(signal.SIGTERM, self._note_sigterm)  # which also wakes the loop
        self._work_seen_s = boot_s()

    def run(self) -> None:
        """Until there is nothing to live for."""
        self._look_for_a_reason_to_live()
        while self._running:
            self.loop.once()
            if self._told_to_end:
                self._end(_SIGTERM_GRACE_S)
            self.supervisor.settle()
        self._sessions.close()
        self.allotments.end()
        self.door.stop_listening()
        self.runners.processes.let_go()
        self._clear_the_ground()
        self.doors.close()
        self.door.close()  # whoever waits for our end sees it now
        self.journal.close()
        self.runners.close()

    def _clear_the_ground(self) -> None:
        """Leave no mount and no volume, and of a place outside of DIR nothing."""
        if self.scratching.kind == DIRECTORY:
            if workplace.is_elsewhere(self._work):
                self.sweeper.remove(str(self._work))
            self.sweeper.close()
            self.scratching.retire()
            return
        self.sweeper.abandon()
        self.scratching.retire()
        for left in self._work.parent.glob(f"{self._work.name}{sweep.LEFT}*"):
            sweep.remove_tree(str(left))
        if workplace.is_elsewhere(self._work):
            sweep.remove_tree(str(self._work))

    # --- the ground ---

    def _ground_of(self, options: argparse.Namespace, directory: Path, work: Path) -> Scratching:
        return Scratching(
            Wanted(options.scratch, options.scratch_cap_bytes, options.scratch_initial_bytes),
            work,
            directory / "scratch",
            self.loop,
            self.tree.freezer,
            on_mounted=self._mounted,
            on_change=self._ground_changed,
            promised_bytes=lambda: self.allotments.promised_held_bytes,
            beside=self.runners.trouble,
            is_in_use=self._may_write,
        )

    def _may_write(self) -> bool:
        """Whether anybody writes where jobs do, or may at any moment, or something is cleared away there."""
        is_somebody_there = self.supervisor.attempts or self.runners.busy() or self.runners.processes.has_leftovers or self._strays
        return bool(is_somebody_there) or self.allotments.are_looked_at

    def _mounted(self, kind: str) -> None:
        """The place where jobs write is there: let them in."""
        workplace.furnish(self._work, self._isolated)
        self.allotments.stand_on(choose(str(self._work), kind), self.scratching.room_bytes, self._vcpus)
        sweep.clear(self._work, self.sweeper, self.allotments.ground)
        self.supervisor.instances.write_notices()

    def _ground_changed(self) -> None:
        if self.scratching.is_mounted:
            self.allotments.has_now(self.scratching.room_bytes)
        self.supervisor.tell([self.scratching.seen()])

    # --- what is asked of it ---

    def _note_sigterm(self, *_: object) -> None:
        self._told_to_end = True

    def _linked(self, epoch: int) -> None:
        if self._isolated:
            workplace.close_to_others(self._directory)  # a server has come, with files of its own
        if epoch > self.journal.epoch:
            self.journal.note(Epoch(epoch))
        self.supervisor.resync()

    def _received(self, message: Down) -> None:
        match message:
            case Do(effects):
                for effect in effects:
                    self.supervisor.carry_out(effect)
            case Acknowledge(attempts):
                self.supervisor.acknowledge(attempts)
            case Announce():
                self.supervisor.resync()
            case ShutDown(grace_s):
                self._end(grace_s)

    def _end(self, grace_s: float) -> None:
        """End all jobs, as a machine does that is turned off, then exit."""
        if self._exit_at_s is None:
            self._exit_at_s = boot_s() + grace_s
            self.runners.processes.is_ending = True
            self.supervisor.close_down(grace_s)
            self._look_for_a_reason_to_live()

    def _look_for_a_reason_to_live(self) -> None:
        if self._exit_at_s is not None:
            busy = self.supervisor.attempts or self.runners.busy()
            self._running = bool(busy) and boot_s() < self._exit_at_s + _UNKILLABLE_S
            self.loop.at(boot_s() + _EXIT_CHECK_S, self._look_for_a_reason_to_live)
            return
        now_s = boot_s()
        if self.door.linked or self.supervisor.attempts or self.runners.busy():
            self._work_seen_s = now_s
        self._running = now_s < self._work_seen_s + self._idle_s
        self.loop.at(now_s + min(1.0, self._idle_s / 4), self._look_for_a_reason_to_live)


def _settle_in() -> None:
    """Be a good parent: inherit what jobs leave behind, take nothing from the terminal, allow many descriptors."""
    import resource

    os.chdir("/")
    os.umask(0o022)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if sys.platform.startswith("linux") else (min(hard, 10240), hard))
    host.become_subreaper()


if __name__ == "__main__":
    sys.exit(main())
