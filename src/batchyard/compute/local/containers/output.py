"""What a container writes, on its way from the daemon into the log stream of its attempt."""

from __future__ import annotations

from batchyard.compute.local.containers.engine import Demultiplexer
from batchyard.compute.local.containers.mapping import container_name
from batchyard.compute.local.containers.wire import Connection, EngineAway
from batchyard.compute.local.loop import Loop, boot_s, wall_ms
from batchyard.compute.local.node_log import say
from batchyard.compute.local.output import MIB, Attention, Sink, sink_of
from batchyard.compute.local.place import Place
from batchyard.compute.local.spawn import CannotStart
from batchyard.compute.local.tasks import pause
from batchyard.model.messages import Launch

MUCH_BYTES = 32768  # read at once from a container that writes without a pause


class Output:
    """The output of one container. `attention` is shared by all: who writes faster than we read leaves others their turn."""

    def __init__(self, launch: Launch, part: str, place: Place, attention: Attention, loop: Loop) -> None:
        self._launch, self._part = launch, part
        self._place, self._attention, self._loop = place, attention, loop
        self._sink: Sink | None = None
        self.ended_s = 0.0  # when all that came was read to its end, the last time

    def open(self) -> None:
        """Have its log stream, if it is not there yet. CannotStart if there can be none."""
        try:
            self._sink = self._sink or sink_of(self._place.logs, self._launch, self._part, wall_ms(), self._place.limits.log_mib * MIB)
        except OSError as error:
            raise CannotStart(f"CannotStartContainerError: {error.strerror or error} ({error.filename})") from error

    async def read(self, stream: Connection) -> None:
        """Take in all that comes, to its end, or until the daemon goes away: who follows the container finds out what that means."""
        frames = Demultiplexer()
        try:
            async for piece in stream.rest():
                began_s = boot_s()
                if self._sink:
                    self._sink.feed(frames.feed(piece), wall_ms())
                if len(piece) >= MUCH_BYTES:
                    rest_s = self._attention.begin_rest(boot_s() - began_s)
                    try:
                        await pause(self._loop, rest_s)
                    finally:
                        self._attention.end_rest()
        except EngineAway:
            return
        finally:
            self.ended_s = boot_s()
            stream.close()

    def tick(self) -> None:
        """Pass on what has waited for more of its kind; to be called several times a second."""
        if self._sink:
            self._sink.tick(wall_ms())

    def finish(self, note: str) -> None:
        """Nothing more follows but the note, for which a stream is made if there is none; "": no note."""
        if note and not self._sink:
            try:
                self.open()
            except CannotStart as why:
                say(f"no log stream for {container_name(self._launch, self._part)}: {why}")
        if self._sink:
            self._sink.finish(wall_ms(), note)
            self._sink = None
