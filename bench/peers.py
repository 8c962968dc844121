"""The peers: a virtual environment of their own with pinned versions, and their servers. All listen on this machine only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench import scratch

PINNED = Path(__file__).parent / "peers.txt"
PLACE = Path(__file__).parents[1] / ".bench-peers"
START_PATIENCE_S = 60.0
HYPERQUEUE_CORES = 8  # 2 workers x 4, as in hyperqueue_tasks.py


class NotRun(Exception):
    """A peer cannot be measured here; the message says why, and the table shows it."""


def installed() -> Path:
    """The folder with the peers' programs, installed on first use. Raises NotRun."""
    mark = PLACE / hashlib.sha256(PINNED.read_bytes()).hexdigest()[:16]
    if not mark.exists():
        print(f"installing the peers into {PLACE.name}/ ...", flush=True)
        shutil.rmtree(PLACE, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(PLACE))
        _run(str(PLACE / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(PINNED))
        mark.touch()
    return PLACE / "bin"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotRun(f"installation failed: {said[-1] if said else done.returncode}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def moto(*, simulated: bool = False) -> Iterator[str]:
    """moto's server: its URL. As it comes, it starts a thread for each job, which here finds no Docker and ends; `simulated` (its
    setting `use_docker: false`) ends jobs at once without one, and is its quicker way to take a submission."""
    port = free_port()
    with _server(port, "moto_server", "--host", "127.0.0.1", "--port", str(port), path="/moto-api/") as url:
        if simulated:
            _simulate(url)
        yield url


def _simulate(url: str) -> None:
    settings = json.dumps({"batch": {"use_docker": False}}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/config", settings, method="POST")).read()


@contextlib.contextmanager
def localbatch() -> Iterator[str]:
    """localbatch: its URL."""
    port = free_port()
    with _server(port, "localbatch", "--host", "127.0.0.1", "--port", str(port), "--log-level", "error", path="/health") as url:
        yield url


@contextlib.contextmanager
def _server(port: int, program: str, *options: str, path: str) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    command = [str(installed() / program), *options]
    # Without Docker (or beside it: this address has none) both peers take jobs all the same and end them at once.
    environment = {**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:9"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        _wait_for(url + path, process, program)
        yield url
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], program: str) -> None:
    deadline = time.monotonic() + START_PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NotRun(f"{program} ended at once with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.01)
    raise NotRun(f"{program} did not answer within {START_PATIENCE_S:.0f} s")


@contextlib.contextmanager
def seaweedfs(access_key_id: str, secret_access_key: str) -> Iterator[tuple[str, int]]:
    """SeaweedFS as one server with its S3 gateway, which takes these keys: (URL, process id)."""
    place = scratch.folder()
    identity = {"name": "bench", "credentials": [{"accessKey": access_key_id, "secretKey": secret_access_key}], "actions": ["Admin"]}
    (place / "ids.json").write_text(json.dumps({"identities": [identity]}))
    (place / "weed").mkdir()
    s3, master, volume, filer = (_port_with_another_above() for _ in range(4))
    options = [f"-dir={place / 'weed'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.port={s3}", f"-s3.config={place / 'ids.json'}"]
    options += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
    options += ["-master.volumeSizeLimitMB=1024", "-volume.max=40"]
    command = [str(installed() / "weed"), "server", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=place, start_new_session=True)
    try:
        _wait_for(f"http://127.0.0.1:{s3}/", process, "weed")
        yield f"http://127.0.0.1:{s3}", process.pid
    finally:
        process.kill()
        process.wait()


def _port_with_another_above() -> int:
    """A free port of which the one 10,000 above is free too: SeaweedFS takes it for its gRPC."""
    while True:
        port = random.randrange(12_000, 22_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 10_000)):
            return port


def hyperqueue(tasks: int) -> float:
    """Seconds in which HyperQueue's LocalCluster (2 workers x 4 cores) runs so many /bin/true. Raises NotRun.

    Its server listens on all addresses, so it gets a network namespace of its own, which has nothing but a loopback.
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        raise NotRun("it listens on all addresses, and without `unshare` it cannot have a network of its own")
    isolate = [unshare, "--net"] if os.geteuid() == 0 else [unshare, "--user", "--map-root-user", "--net"]
    script = Path(__file__).with_name("hyperqueue_tasks.py")
    folder = str(scratch.folder())
    command = [*isolate, str(installed() / "python"), str(script), folder, str(tasks)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, "TMPDIR": folder})
    if done.returncode:
        raise NotRun(f"it failed: {(done.stderr.strip().splitlines() or ['?'])[-1][:200]}")
    return float(done.stdout.strip().splitlines()[-1])
