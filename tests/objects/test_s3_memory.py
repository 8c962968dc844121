"""A server process takes in and gives out an object far larger than what it may grow by."""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER = """
import sys, time
from pathlib import Path
from s3_serving import ACCOUNT, open_store, served
from batchyard.store import objects_keys as keys
store = open_store(Path(sys.argv[1]))
store.change(lambda index: keys.add_bucket(index, "bucket", ACCOUNT, "us-east-1", 1)).result()
with served(store, is_open=True) as url:
    print(url, flush=True)
    sys.stdin.read()
store.close()
"""
CHUNK = os.urandom(1024 * 1024)
CHUNKS = 320
GROWTH_LIMIT_BYTES = 64 * 1024 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """(host and port, process id) of a server of its own."""
    paths = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, "-c", SERVER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip().removeprefix("http://"), process.pid


def peak_bytes(pid: int) -> int:
    """The most memory that the process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def test_memory_stays_flat(server: tuple[str, int]) -> None:
    where, pid = server
    connection = http.client.HTTPConnection(where, timeout=60)
    connection.request("PUT", "/bucket/warm", body=CHUNK)
    assert connection.getresponse().read() == b""
    connection.request("GET", "/bucket/warm")
    assert connection.getresponse().read() == CHUNK
    before = peak_bytes(pid)
    size = len(CHUNK) * CHUNKS
    headers = {"content-length": str(size)}
    connection.request("PUT", "/bucket/large", body=(CHUNK for _ in range(CHUNKS)), headers=headers)
    response = connection.getresponse()
    response.read()
    assert response.status == 200
    after_put = peak_bytes(pid)
    connection.request("GET", "/bucket/large")
    response = connection.getresponse()
    digest, received = hashlib.md5(), 0
    while piece := response.read(len(CHUNK)):
        digest.update(piece)
        received += len(piece)
    assert (received, response.headers["etag"]) == (size, f'"{digest.hexdigest()}"')
    assert after_put - before < GROWTH_LIMIT_BYTES
    assert peak_bytes(pid) - before < GROWTH_LIMIT_BYTES
