"""Images on a machine without a registry: handed to the daemon that runs the jobs, by its own API; no `docker` command is needed."""

from __future__ import annotations

import contextlib
import fnmatch
import http.client
import io
import json
import os
import re
import socket
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode

from batchyard.compute.local.containers.engine import full_name
from batchyard.compute.local.containers.sockets import Daemon
from batchyard.main.client import Trouble
from batchyard.main.image_archive import Image, qualified, written_anew

_SILENCE_S = 3600.0  # a step of a build may compile for long and say nothing
_LISTED_AGAIN, _AGAIN_S = 10, 0.2  # Podman fails to list images while one is being removed
_PODMANS_OWN = "v4.0.0/libpod"  # Podman's own language, which all versions understand
_DOCKERFILE = ".batchyard-dockerfile"  # the name of one that lies outside of the context
_CONTEXT_BYTES_IN_MEMORY = 16 * 1024 * 1024


class Images:
    """The images of one daemon. `Trouble` with the daemon's words if it refuses."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def listed(self) -> list[dict[str, Any]]:
        """Every image that has a name: `name`, `id`, `bytes`, `created_s` (since 1970); the largest first."""
        found = self._json("GET", "/images/json", again=_LISTED_AGAIN)
        rows = [
            {"name": full_name(name), "id": image["Id"].removeprefix("sha256:")[:12], "bytes": image["Size"], "created_s": image["Created"]}
            for image in found or ()
            for name in image.get("RepoTags") or ()
            if name != "<none>:<none>"
        ]
        return sorted(rows, key=lambda row: (-row["bytes"], row["name"]))

    def remove(self, name: str) -> None:
        self._json("DELETE", f"/images/{quote(name, safe='/:@')}")

    def build(
        self, context: Path, name: str, dockerfile: Path, arguments: Mapping[str, str], network: str, tell: Callable[[str], None]
    ) -> None:
        """Build the image NAME from a folder, by a Dockerfile in it or elsewhere; `tell` gets the daemon's lines as they come."""
        beside = {} if _is_inside(dockerfile, context) else {_DOCKERFILE: dockerfile}
        inside = _DOCKERFILE if beside else Path(os.path.relpath(dockerfile, context)).as_posix()
        query = {"t": name, "dockerfile": inside, "buildargs": json.dumps(dict(arguments)), "rm": "1", "forcerm": "1"}
        if network:
            query["networkmode"] = network
        with tempfile.SpooledTemporaryFile(_CONTEXT_BYTES_IN_MEMORY) as content:
            pack(context, content, ignored(context), always=inside, beside=beside)
            self._stream(f"/v{self._daemon.api}/build?{urlencode(query)}", _pieces(content), tell)

    def load(self, archive: IO[bytes], images: Sequence[Image]) -> None:
        """Take in `images`, which are some of the archive's, by the names that they have there now (see `image_archive`)."""
        self._stream(f"/v{self._daemon.api}/images/load", written_anew(archive, images), lambda _: None)

    def make(self, root: IO[bytes], name: str, changes: Sequence[str], tell: Callable[[str], None]) -> None:
        """Make the image NAME of a root file system in a tar archive, with words of a Dockerfile (CMD, ENV, ENTRYPOINT ...)."""
        words = [("changes", change) for change in changes]
        if self._daemon.kind == "podman":  # asked in Docker's language it leaves the archive behind in /var/tmp, each time
            query = [("reference", qualified(full_name(name))), *words]
            target = f"/{_PODMANS_OWN}/images/import?{urlencode(query)}"
        else:
            query = [("fromSrc", "-"), ("repo", full_name(name)), *words]
            target = f"/v{self._daemon.api}/images/create?{urlencode(query)}"
        self._stream(target, _pieces(root), tell)

    # --- the daemon's language ---

    def _json(self, method: str, target: str, *, again: int = 0) -> Any:
        """`again`: how often it is asked once more when it cannot answer."""
        connection = _connection(self._daemon.socket)
        try:
            connection.request(method, f"/v{self._daemon.api}{target}")
            answer = connection.getresponse()
            content = answer.read()
        except OSError as error:
            raise Trouble(f"{self._daemon} does not answer: {error}") from None
        finally:
            connection.close()
        if answer.status >= 500 and again:
            time.sleep(_AGAIN_S)
            return self._json(method, target, again=again - 1)
        if answer.status >= 400:
            raise Trouble(f"{self._daemon} refuses: {_message(content)}")
        return json.loads(content) if content.strip() else None

    def _stream(self, target: str, pieces: Iterator[bytes], tell: Callable[[str], None]) -> None:
        """POST an archive and hand on the lines that come back."""
        connection = _connection(self._daemon.socket)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough, and says why
                headers = {"Content-Type": "application/x-tar"}
                connection.request("POST", target, pieces, headers, encode_chunked=True)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise Trouble(f"{self._daemon} refuses: {_message(answer.read())}")
            for line in answer:
                _hand_on(line, tell)
        except (OSError, http.client.HTTPException) as error:
            raise Trouble(f"{self._daemon} does not answer: {error}") from None
        finally:
            connection.close()


def ignored(context: Path) -> Callable[[str], bool]:
    """Whether a path of a build's context (with `/`, from its root) is left out by its .dockerignore; the last rule that fits wins."""
    try:
        lines = (context / ".dockerignore").read_text().splitlines()
    except FileNotFoundError:
        return lambda _: False
    rules: list[tuple[bool, re.Pattern[str]]] = []
    for line in map(str.strip, lines):
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").strip().strip("/").removeprefix("./")
            rules.append((not line.startswith("!"), re.compile(_expression(pattern) + r"(/.*)?")))

    def is_left_out(path: str) -> bool:
        verdict = False
        for leaves_out, rule in rules:
            if rule.fullmatch(path):
                verdict = leaves_out
        return verdict

    return is_left_out


def _expression(pattern: str) -> str:
    """A pattern of .dockerignore as a regular expression: `*` and `?` do not cross a `/`, `**` does."""
    parts = []
    for part in pattern.split("/"):
        if part == "**":
            parts.append("(?:.*/)?")
            continue
        one = fnmatch.translate(part).removeprefix("(?s:").removesuffix(r")\Z")
        parts.append(one.replace(".*", "[^/]*").replace("(?>", "(?:") + "/")
    return "".join(parts).removesuffix("/")


def pack(
    folder: Path,
    into: IO[bytes],
    is_left_out: Callable[[str], bool] = lambda _: False,
    *,
    always: str = "",
    beside: Mapping[str, Path] | None = None,
) -> None:
    """Write a folder as a tar archive, owners and modes as they are, and go back to its beginning. `always`: what no rule leaves out;
    `beside`: files from elsewhere, by the name that they are to have. `Trouble` for what cannot be read."""
    try:
        _pack(folder, into, is_left_out, always, beside or {})
    except OSError as error:
        raise Trouble(
            f"{error.filename or folder} cannot be read: {error.strerror}.", "Name it in .dockerignore if it is not needed."
        ) from None
    into.seek(0)


def _pack(folder: Path, into: IO[bytes], is_left_out: Callable[[str], bool], always: str, beside: Mapping[str, Path]) -> None:
    with tarfile.open(fileobj=into, mode="w") as tar:
        for name, path in beside.items():
            tar.add(path, name, recursive=False)
        for path in _below(folder):
            name = path.relative_to(folder).as_posix()
            if name in (always, ".dockerignore") or not is_left_out(name):
                tar.add(path, name, recursive=False)


def _is_inside(path: Path, folder: Path) -> bool:
    return folder.resolve() in path.resolve().parents


def _below(folder: Path) -> Iterator[Path]:
    """Everything below, folders before what is in them, in order."""
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    while piece := content.read(io.DEFAULT_BUFFER_SIZE * 16):
        yield piece


def _connection(path: str) -> http.client.HTTPConnection:
    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(_SILENCE_S)
            self.sock.connect(os.fspath(path))

    return Connection("engine", timeout=_SILENCE_S)


def _hand_on(line: bytes, tell: Callable[[str], None]) -> None:
    """A line of the daemon's: what is happening, or what went wrong."""
    try:
        told = json.loads(line)
    except ValueError:
        return
    if not isinstance(told, dict):
        return
    if told.get("errorDetail") or told.get("error"):
        raise Trouble(str((told.get("errorDetail") or {}).get("message") or told["error"]).strip())
    text = str(told.get("stream") or told.get("status") or "").rstrip()
    if text:
        tell(text)


def _message(content: bytes) -> str:
    try:
        told = json.loads(content)
        return str(told.get("message") or told.get("cause") or told)
    except (ValueError, AttributeError):
        return content.decode("utf-8", "replace").strip() or "it gave no reason"
