"""The verbs of the Engine API that the runtime uses, for Docker 20.10 and later and Podman 4 and later (its Docker-compatible API)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from batchyard.compute.local.containers import sockets
from batchyard.compute.local.containers.sockets import Daemon
from batchyard.compute.local.containers.wire import Answer, Connection, EngineAway, request
from batchyard.compute.local.loop import Loop
from batchyard.compute.local.tasks import pause

ASK_S = 30.0  # for what a daemon answers from memory
CREATE_S = 240.0  # as long as the ECS agent waits
START_S = 180.0
REMOVE_S = 120.0
_AGAIN_S = 0.02
_NO_TAG = "<none>:<none>"
PULL_SILENCE_S = 300.0  # a pull that says nothing for so long is given up


class EngineError(Exception):
    """The daemon refused; `status` is HTTP's and the text its own message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HeldImage(NamedTuple):
    """An image that a daemon has. What its layers share with others is counted in `bytes` of each."""

    id: str
    names: tuple[str, ...]  # `full_name`s, by tag and by digest
    tags: int  # how many of these are by tag
    bytes: int


class Engine:
    """A daemon behind a socket. EngineAway if it does not answer, EngineError if it refuses."""

    def __init__(self, loop: Loop, path: str) -> None:
        self._loop = loop
        self.path = path
        self.daemon: Daemon | None = None  # who it is, once it has answered

    @property
    def is_podman(self) -> bool:
        """Whether Podman is behind the socket; False as long as nobody has answered."""
        return self.daemon is not None and self.daemon.kind == "podman"

    async def meet(self) -> Daemon:
        """Who it is; asked once, and again after it was away."""
        if self.daemon is None:
            answer = await request(self._loop, self.path, "GET", "/version", within_s=ASK_S)
            try:
                self.daemon = sockets.described(self.path, answer.status, answer.content)
            except ValueError as error:
                raise EngineAway(f"{self.path}: {error}") from None
        return self.daemon

    async def image_id(self, name: str) -> str:
        """The id of an image that the daemon has; "" if it has none of that name."""
        answer = await self._ask("GET", f"/images/{_path(name)}/json", refused=(404,))
        return str(answer.content["Id"]) if answer.status == 200 else ""

    async def images(self) -> list[HeldImage]:
        """Every image that the daemon has, but for the steps in between of builds."""
        answer = await self._ask("GET", "/images/json")
        return [_held(image) for image in answer.content or ()]

    async def remove_image(self, name: str) -> None:
        """Remove an image by a name or its id. EngineError 409 if a container uses it."""
        await self._ask("DELETE", f"/images/{_path(name)}", refused=(404,), within_s=REMOVE_S)

    async def pull(self, name: str, auth: str = "") -> None:
        """Fetch an image, with the credentials `auth` (see `registry_auth`) if there are any. EngineError with the daemon's words if it
        cannot be."""
        connection = Connection(self._loop, self.path)
        try:
            what = f"pull of {name}"
            connection.within(PULL_SILENCE_S, what)
            target = await self._target(f"/images/create?fromImage={quote(_with_tag(name), safe='')}")
            await connection.send("POST", target, headers={"X-Registry-Auth": auth} if auth else {})
            head = await connection.head()
            waiting = b""
            async for piece in connection.body(head):
                connection.within(PULL_SILENCE_S, what)
                if head.status >= 400:
                    waiting += piece
                    continue
                *lines, waiting = (waiting + piece).split(b"\n")
                for line in lines:
                    _look_for_error(line)
        finally:
            connection.close()
        if head.status >= 400:
            raise EngineError(head.status, _message(Answer(head.status, _json(waiting))))
        _look_for_error(waiting)

    async def create(self, name: str, body: dict[str, Any]) -> str:
        """Make a container; the warnings of the daemon are not errors. EngineError 409 if the name is taken. Its id."""
        answer = await self._ask("POST", f"/containers/create?name={quote(name)}", body, within_s=CREATE_S)
        return str(answer.content["Id"])

    async def start(self, name: str) -> None:
        """Start it; one that runs already is fine."""
        await self._ask("POST", f"/containers/{name}/start", within_s=START_S)

    async def inspect(self, name: str) -> dict[str, Any] | None:
        """All about a container; None if there is none."""
        answer = await self._ask("GET", f"/containers/{name}/json", refused=(404,))
        return answer.content if answer.status == 200 else None

    async def layer_bytes(self, name: str) -> int | None:
        """What a container has written to its own layer, which the daemon finds out by walking; None if it cannot tell."""
        answer = await self._ask("GET", f"/containers/{name}/json?size=1", refused=(404,))
        size = answer.content.get("SizeRw") if answer.status == 200 else None
        return int(size) if size is not None else None

    async def root(self) -> str:
        """The directory below which it keeps images and containers, on its own machine; "" if it does not say."""
        return str((await self._ask("GET", "/info")).content.get("DockerRootDir") or "")

    async def kill(self, name: str, signal: str) -> None:
        """Send a signal to its first process; nothing happens to what is not running."""
        await self._ask("POST", f"/containers/{name}/kill?signal={quote(signal)}", refused=(404, 409, 500))

    async def stats(self, name: str) -> dict[str, Any] | None:
        """What a container uses (the API's ContainerStats), over about a second; None if it is not running."""
        answer = await self._ask("GET", f"/containers/{name}/stats?stream=false", refused=(404, 409))
        told = _json(answer.content) if isinstance(answer.content, bytes) else answer.content  # Podman does not say that it is JSON
        return told if answer.status == 200 and isinstance(told, dict) else None

    async def wait(self, name: str) -> None:
        """Return when it has ended or is gone, however long that takes."""
        target = await self._target(f"/containers/{name}/wait")
        connection = Connection(self._loop, self.path)
        try:
            await connection.send("POST", target)
            head = await connection.head()
            async for _ in connection.body(head):
                pass
        finally:
            connection.close()

    async def remove(self, name: str) -> None:
        """Remove a container with its anonymous volumes, running or not; one that is gone is fine."""
        await self._ask("DELETE", f"/containers/{name}?v=1&force=1", refused=(404, 409), within_s=REMOVE_S)

    async def labelled(self, label: str) -> list[str]:
        """The ids of all containers, running or not, that carry a label (`name=value`)."""
        filters = quote(json.dumps({"label": [label]}))
        answer = await self._ask("GET", f"/containers/json?all=1&filters={filters}")
        return [container["Id"] for container in answer.content or ()]

    async def make_volume(self, name: str, labels: dict[str, str]) -> None:
        """A volume of that name; one that is there is fine."""
        await self._ask("POST", "/volumes/create", {"Name": name, "Driver": "local", "Labels": labels})

    async def remove_volume(self, name: str) -> None:
        """Remove a volume, unless a container uses it still."""
        await self._ask("DELETE", f"/volumes/{name}", refused=(404, 409, 500), within_s=REMOVE_S)

    async def labelled_volumes(self, label: str) -> list[str]:
        """The names of all volumes that have the label NAME=VALUE."""
        filters = quote(json.dumps({"label": [label]}))
        answer = await self._ask("GET", f"/volumes?filters={filters}")
        return [volume["Name"] for volume in (answer.content or {}).get("Volumes") or ()]

    async def attach(self, name: str) -> Connection:
        """A connection that brings what the container writes, in frames (see `Demultiplexer`). To be made before it is started."""
        connection = Connection(self._loop, self.path)
        try:
            connection.within(CREATE_S, "attach")
            target = await self._target(f"/containers/{name}/attach?stream=1&stdout=1&stderr=1")
            await connection.send("POST", target, upgrade=True)
            head = await connection.head()
            if head.status not in (101, 200):
                pieces = [piece async for piece in connection.body(head)]
                raise EngineError(head.status, _message(Answer(head.status, _json(b"".join(pieces)))))
            connection.within(None, "")
        except BaseException:
            connection.close()
            raise
        return connection

    async def make_exec(self, name: str, command: Sequence[str], variables: Mapping[str, str], has_terminal: bool) -> str:
        """Prepare a command inside of a running container: its id."""
        body = {
            **{f"Attach{stream}": True for stream in ("Stdin", "Stdout", "Stderr")},
            "Tty": has_terminal,
            "Cmd": list(command),
            "Env": [f"{key}={value}" for key, value in variables.items()],
        }
        answer = await self._ask("POST", f"/containers/{name}/exec", body)
        return str(answer.content["Id"])

    async def start_exec(self, id: str, has_terminal: bool) -> tuple[int, bytes]:
        """Start it: a descriptor that is its stdin and brings what it writes (with a terminal raw, else in frames); what came already."""
        connection = Connection(self._loop, self.path)
        try:
            connection.within(START_S, "exec")
            target = await self._target(f"/exec/{id}/start")
            await connection.send("POST", target, {"Detach": False, "Tty": has_terminal}, upgrade=True)
            head = await connection.head()
            if head.status not in (101, 200):
                pieces = [piece async for piece in connection.body(head)]
                raise EngineError(head.status, _message(Answer(head.status, _json(b"".join(pieces)))))
        except BaseException:
            connection.close()
            raise
        return connection.detach()

    async def resize_exec(self, id: str, rows: int, columns: int) -> None:
        """Tell the terminal of a command its size; nothing happens if it has ended."""
        await self._ask("POST", f"/exec/{id}/resize?h={rows}&w={columns}", refused=(400, 404, 409, 500))

    async def exec_pid(self, id: str) -> int:
        """The process of a command that runs, as the daemon's kernel knows it; 0 if it has ended."""
        answer = await self._ask("GET", f"/exec/{id}/json", refused=(404,))
        return int(answer.content.get("Pid") or 0) if answer.status == 200 and answer.content.get("Running") else 0

    async def exec_code(self, id: str) -> int:
        """The exit code of a command that has closed its output; waited for while it still runs."""
        while True:
            told = (await self._ask("GET", f"/exec/{id}/json")).content
            if not told.get("Running"):
                return int(told.get("ExitCode") or 0) & 0xFF
            await pause(self._loop, _AGAIN_S)

    async def _ask(self, method: str, target: str, body: Any = None, *, refused: tuple[int, ...] = (), within_s: float = ASK_S) -> Answer:
        """The answer; its status may be among `refused`."""
        answer = await request(self._loop, self.path, method, await self._target(target), body, within_s=within_s)
        if _is_gone(answer):
            answer = answer._replace(status=404)
        if answer.status >= 400 and answer.status not in refused:
            raise EngineError(answer.status, _message(answer))
        return answer

    async def _target(self, target: str) -> str:
        return f"/v{(await self.meet()).api}{target}"


class Demultiplexer:
    """Cuts an attached stream into what the container wrote: each frame is a byte for the stream, three zeros, a length, and bytes."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, read: bytes) -> bytes:
        """What is whole of stdout and stderr, in the order in which the daemon saw it."""
        return b"".join(content for _, content in self.frames(read))

    def frames(self, read: bytes) -> list[tuple[int, bytes]]:
        """The same, with the stream of each piece: 1 is stdout, 2 stderr."""
        self._waiting += read
        whole: list[tuple[int, bytes]] = []
        at = 0
        while len(self._waiting) - at >= 8:
            end = at + 8 + int.from_bytes(self._waiting[at + 4 : at + 8])
            if len(self._waiting) < end:
                break
            whole.append((self._waiting[at], self._waiting[at + 8 : end]))
            at = end
        self._waiting = self._waiting[at:]
        return whole


def _path(name: str) -> str:
    return quote(name, safe="/:@")


def _with_tag(name: str) -> str:
    """The name as a pull takes it: without tag and digest it would fetch every tag that there is."""
    return name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"


def full_name(name: str) -> str:
    """An image's name as Docker shows it: with a tag or a digest; without the usual registry, which Podman names."""
    return _with_tag(name.removeprefix("docker.io/").removeprefix("library/"))


def _held(image: Mapping[str, Any]) -> HeldImage:
    tags = [tag for tag in image.get("RepoTags") or () if tag != _NO_TAG]
    digests = [digest for digest in image.get("RepoDigests") or () if not digest.startswith("<none>")]
    return HeldImage(image["Id"], tuple(map(full_name, (*tags, *digests))), len(tags), int(image.get("Size") or 0))


def _look_for_error(line: bytes) -> None:
    told = _json(line)
    if isinstance(told, dict) and (told.get("errorDetail") or told.get("error")):
        raise EngineError(200, str((told.get("errorDetail") or {}).get("message") or told["error"]))


def _json(content: bytes) -> Any:
    try:
        return json.loads(content) if content.strip() else None
    except ValueError:
        return content


def _is_gone(answer: Answer) -> bool:
    """Whether there is no such container: so Podman says it with 500 while somebody removes it."""
    return answer.status == 500 and isinstance(answer.content, dict) and answer.content.get("cause") == "no such container"


def _message(answer: Answer) -> str:
    """What the daemon says is wrong, on one line."""
    told = answer.content
    if isinstance(told, dict):
        told = told.get("message") or told.get("cause")
    if isinstance(told, bytes):
        told = told.decode("utf-8", "replace")
    return " ".join(str(told or f"HTTP {answer.status}").split())
