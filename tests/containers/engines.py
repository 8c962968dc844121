"""Real daemons for tests: a dockerd or a `podman system service` of the test's own, on a private folder and socket, ended by its pid."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

KINDS = ("docker", "podman")
START_S = 120.0
APPLETS = (
    *(
        "sh",
        "echo",
        "sleep",
        "cat",
        "true",
        "false",
        "env",
        "id",
        "ls",
        "dd",
        "head",
        "tail",
        "test",
        "mount",
        "df",
        "touch",
        "mkdir",
        "rm",
    ),
    *("kill", "seq", "grep", "wc", "stat", "nproc", "mknod", "yes", "tr", "wget", "nice", "ps"),
)
IMAGE = "busybox:latest"


def why_not(kind: str) -> str:
    """Why a daemon of this kind cannot be had here; "" if it can."""
    if os.geteuid() != 0:
        return "needs root"
    needed = {"docker": ("dockerd", "containerd", "runc"), "podman": ("podman", "conmon", "runc")}[kind]
    missing = [name for name in (*needed, "busybox") if not shutil.which(name)]
    return f"{', '.join(missing)} missing (make test-systems)" if missing else ""


class Daemon:
    """One daemon. `stop` and `start` again keep its folder; `remove` takes all of it away."""

    def __init__(self, kind: str, *registry_ports: int, bridge: str = "") -> None:
        """`bridge`: the address of Docker's own bridge with its network, for a daemon in a network namespace of a test's own."""
        self.kind = kind
        self._bridge = f"--bip={bridge}" if bridge else "--bridge=none"
        self.root = Path(tempfile.mkdtemp(prefix=f"by-{kind[0]}-", dir="/tmp"))  # short: the address of a unix socket has 107 bytes
        self.temporary = self.root / "tmp"  # Podman's; Docker has a folder in its own
        self.temporary.mkdir()
        self.socket = str(self.root / "engine.sock")
        self.process: subprocess.Popen[bytes] | None = None
        self._registry_ports = registry_ports

    def start(self) -> None:
        # A containerd that was killed with its dockerd stays a zombie where process 1 does not reap, and would be waited for.
        (self.root / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            self._command(),
            cwd=self.root,  # conmon leaves a file `oom` where it was started
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(self.root / "log", "ab"),  # noqa: SIM115 - the child's
            env={**os.environ, "CONTAINERS_REGISTRIES_CONF": str(self._registries()), "TMPDIR": str(self.temporary)},
            start_new_session=True,
        )
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                if self.call("GET", "/_ping")[0] == 200:
                    return
            assert self.process.poll() is None and time.monotonic() < deadline, (self.root / "log").read_text()[-2000:]
            time.sleep(0.05)

    def _command(self) -> list[str]:
        root = self.root
        if self.kind == "docker":
            return [
                *("dockerd", "-H", f"unix://{self.socket}", "--data-root", f"{root}/data", "--exec-root", f"{root}/exec"),
                *("-p", f"{root}/docker.pid", "--storage-driver", "overlay2", self._bridge, "--iptables=false", "--ip6tables=false"),
                *("--exec-opt", "native.cgroupdriver=cgroupfs"),
            ]
        return [
            *("podman", "--root", f"{root}/data", "--runroot", f"{root}/run", "--storage-driver", "overlay"),
            *("--cgroup-manager", "cgroupfs", "--runtime", "runc", "--events-backend", "file"),
            *("system", "service", "--time", "0", f"unix://{self.socket}"),
        ]

    def _registries(self) -> Path:
        path = self.root / "registries.conf"
        entries = (f'[[registry]]\nlocation = "127.0.0.1:{port}"\ninsecure = true\n' for port in self._registry_ports)
        path.write_text("unqualified-search-registries = []\n" + "".join(entries))
        return path

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(90)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(60)

    def remove(self) -> None:
        """End it, whatever it runs, and remove its folder."""
        if self.process and self.process.poll() is None:
            with contextlib.suppress(OSError, AssertionError):
                for container in self.containers():
                    self.call("DELETE", f"/v1.40/containers/{container['Id']}?force=1&v=1")
        self.stop()
        for pid in self._left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Names of mounts are bytes, and other tests see to it that some are odd.
        mounts = [line.split(b" ")[4] for line in Path("/proc/self/mountinfo").read_bytes().split(b"\n")[:-1]]
        for mount in sorted((mount for mount in mounts if mount.startswith(f"{self.root}/".encode())), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False, timeout=60, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.root, ignore_errors=True)

    def _left(self) -> list[int]:
        """Processes that name our folder: a containerd whose dockerd was killed, the monitors of containers."""
        found = []
        for place in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if (
                    place.name.isdecimal()
                    and int(place.name) != os.getpid()
                    and str(self.root).encode() in (place / "cmdline").read_bytes()
                ):
                    found.append(int(place.name))
        return found

    # --- asked directly ---

    def call(self, method: str, target: str, body: Any = None, content: bytes | None = None) -> tuple[int, Any]:
        path = self.socket

        class Connection(http.client.HTTPConnection):
            def connect(self) -> None:
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.settimeout(120)
                self.sock.connect(path)

        connection = Connection("engine", timeout=120)
        try:
            kind = "application/x-tar" if content is not None else "application/json"
            payload = content if content is not None else json.dumps(body).encode() if body is not None else None
            connection.request(method, target, payload, {"Content-Type": kind})
            answer = connection.getresponse()
            told = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(told)
        except ValueError:
            return answer.status, told

    def containers(self) -> list[dict[str, Any]]:
        give_up_s = time.monotonic() + START_S
        while True:
            status, told = self.call("GET", "/v1.40/containers/json?all=1")
            if status == 200:
                return told or []
            assert time.monotonic() < give_up_s, told  # Podman does not find its way while one of them is being removed
            time.sleep(0.1)

    def volumes(self) -> list[str]:
        return [volume["Name"] for volume in self.call("GET", "/v1.40/volumes")[1].get("Volumes") or ()]

    def images(self) -> list[str]:
        return [tag for image in self.listed() for tag in image.get("RepoTags") or ()]

    def listed(self) -> list[dict[str, Any]]:
        """All images. Podman fails while one of them is just being removed: then once more."""
        deadline = time.monotonic() + START_S
        while True:
            status, told = self.call("GET", "/v1.40/images/json")
            if status == 200:
                return told  # type: ignore[no-any-return]
            assert time.monotonic() < deadline, told
            time.sleep(0.1)

    def load(self, name: str, *changes: str) -> None:
        """Import busybox as NAME:latest, with the Dockerfile's words `changes`."""
        query = "".join(f"&changes={quote(change)}" for change in changes)
        status, told = self.call("POST", f"/v1.40/images/create?fromSrc=-&repo={name}&tag=latest{query}", content=root_tar())
        assert status == 200, told


def root_tar() -> bytes:
    """A file system with a static busybox and two users."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("proc", 0o755), ("sys", 0o755), ("dev", 0o755)):
            _add(tar, name, mode, kind=tarfile.DIRTYPE)
        _add(tar, "bin/busybox", 0o755, Path(shutil.which("busybox") or "").read_bytes())
        for applet in APPLETS:
            _add(tar, f"bin/{applet}", 0o777, kind=tarfile.SYMTYPE, link="busybox")
        _add(tar, "etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nworker:x:1234:1234::/tmp:/bin/sh\n")
        _add(tar, "etc/group", 0o644, b"root:x:0:\nworker:x:1234:\n")
    return made.getvalue()


def _add(tar: tarfile.TarFile, name: str, mode: int, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.type, entry.linkname, entry.size = mode, kind, link, len(content)
    tar.addfile(entry, io.BytesIO(content))
