"""Which daemon there is: looks for sockets, asks who listens, and says which was chosen and why.

It asks in the ordinary, blocking way, bounded: it is used before anything runs (start of the server and of the node, doctor).
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

RUNTIMES = ("auto", "container", "process")
ANSWER_WITHIN_S = 3.0  # at one of the usual places
NAMED_ANSWER_WITHIN_S = 30.0  # where somebody said that it is: a machine that is busy takes its time
OLDEST = (1, 40)  # of the API: Docker 19.03, Podman 3
NEWEST = (1, 41)  # what this client was written for; younger daemons still speak it


class Daemon(NamedTuple):
    """A daemon that answers: `kind` is "docker" or "podman", `api` the version of the API to speak with it, as in "1.41"."""

    socket: str
    kind: str
    version: str
    api: str

    def __str__(self) -> str:
        return f"{self.kind.capitalize()} {self.version} at {self.socket}"


class Choice(NamedTuple):
    """How jobs run: with a daemon in containers, without as processes. `why` is a sentence for people."""

    daemon: Daemon | None
    why: str


class NoDaemon(Exception):
    """Containers were asked for and cannot be had; the text says why, and what to do."""


def choose(wanted: str, given: str | None = None, environment: Mapping[str, str] = os.environ) -> Choice:
    """What `--runtime` comes to on this machine. NoDaemon where "container" was asked for and nobody answers, or where a socket was
    named that nobody answers at."""
    if wanted == "process":
        return Choice(None, "jobs run as processes, as asked for by --runtime process; their images are not used")
    tried: list[str] = []
    named = environment.get("DOCKER_HOST", "")
    if named and not given and not named.startswith("unix://"):
        tried.append(f"DOCKER_HOST={named}: only unix sockets can be used")
    for path, origin in [(given, "--container-socket")] if given else candidates(environment):
        try:
            daemon = probe(path, NAMED_ANSWER_WITHIN_S if given or wanted == "container" else ANSWER_WITHIN_S)
        except (OSError, ValueError) as error:
            tried.append(f"{path} ({origin}): {error if not isinstance(error, OSError) else error.strerror or error}")
        else:
            return Choice(daemon, f"jobs run in their images, with {daemon} ({origin})")
    sockets = "; ".join(tried) or "there is no socket at any of the usual places"
    if wanted == "container" or given:
        raise NoDaemon(
            f"no Docker or Podman daemon answers: {sockets}. Start one (for example `systemctl start docker`, or `podman system service"
            " --time 0 unix:///run/podman/podman.sock`), name its socket with --container-socket, or serve with --runtime process."
        )
    return Choice(None, f"jobs run as processes and their images are not used, since no Docker or Podman daemon answers: {sockets}")


def candidates(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Where a daemon may listen, and why we think so: DOCKER_HOST, then whatever of the usual places exists."""
    named = environment.get("DOCKER_HOST", "")
    if named.startswith("unix://"):
        yield named.removeprefix("unix://"), "DOCKER_HOST"
    own = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    places = ("/var/run/docker.sock", "/run/podman/podman.sock", f"{own}/docker.sock", f"{own}/podman/podman.sock")
    home = environment.get("HOME")
    for place in (*places, *([f"{home}/.docker/run/docker.sock"] if home else [])):
        if os.path.exists(place):  # noqa: PTH110 - at every start of the node
            yield place, "the usual place"


def probe(path: str, within_s: float = ANSWER_WITHIN_S) -> Daemon:
    """Who listens at a socket. OSError if nobody does, ValueError if it is no daemon that we can use."""
    import http.client  # slow to import, and the node never asks this way

    class UnixConnection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(within_s)
            self.sock.connect(path)

    connection = UnixConnection("engine", timeout=within_s)
    try:
        connection.request("GET", "/version")
        answer = connection.getresponse()
        told = json.loads(answer.read(1024 * 1024))
    except http.client.HTTPException as error:
        raise ValueError(f"what answers there does not speak HTTP: {error}") from error
    finally:
        connection.close()
    return described(path, answer.status, told)


def described(path: str, status: int, told: Any) -> Daemon:
    """The daemon that answered `/version` so. ValueError if it is none that we can use."""
    if status != 200 or not isinstance(told, dict) or "ApiVersion" not in told:
        raise ValueError("what answers there is no container engine")
    components = [component.get("Name", "") for component in told.get("Components") or ()]
    kind = "podman" if any("podman" in name.lower() for name in components) else "docker"
    spoken, least = _number(told["ApiVersion"]), _number(told.get("MinAPIVersion") or "1.12")
    if kind == "podman":  # it names its own language's version at times, and speaks Docker's in any case
        spoken, least = max(spoken, OLDEST) if spoken[0] == 1 else NEWEST, OLDEST
    chosen = min(spoken, max(NEWEST, least))
    if chosen < OLDEST:
        raise ValueError(f"it speaks version {told['ApiVersion']} of the Engine API, and {OLDEST[0]}.{OLDEST[1]} is needed: it is too old")
    return Daemon(path, kind, str(told.get("Version", "")), f"{chosen[0]}.{chosen[1]}")


def _number(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor.partition(".")[0] or 0)
