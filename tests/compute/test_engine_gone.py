"""A container that is not there any more is told so by Docker with 404, and by Podman with 500 while somebody removes it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import pytest
from loop_rig import outcome

from batchyard.compute.local.containers.engine import Engine, EngineError

VERSION = {"ApiVersion": "1.41", "Version": "4.3.1", "Components": [{"Name": "Podman Engine"}]}
GONE = {"cause": "no such container", "message": "container 8f30 does not exist in database: no such container", "response": 500}
OTHER = {"cause": "database is locked", "message": "database is locked", "response": 500}
SAYS: dict[str, tuple[int, Any]] = {
    "/version": (200, VERSION),
    "/gone/json": (500, GONE),
    "/none/json": (404, {}),
    "/odd/json": (500, OTHER),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, told = next(said for path, said in SAYS.items() if self.path.endswith(path))
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "a unix socket"

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "engine.sock")
    with ThreadingUnixStreamServer(path, Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield path
        server.shutdown()


@pytest.mark.parametrize("name", ["gone", "none"])
def test_what_is_not_there_is_none(daemon: str, name: str) -> None:
    assert inspected(daemon, name) is None


def test_what_else_is_wrong_is_not_taken_for_that(daemon: str) -> None:
    with pytest.raises(EngineError, match="database is locked"):
        inspected(daemon, "odd")


def inspected(daemon: str, name: str) -> dict[str, Any] | None:
    return outcome(lambda loop: Engine(loop, daemon).inspect(name))
