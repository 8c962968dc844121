"""`batchyard down` waits for the service of its folder, whoever takes that service's port the moment it is free."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from yard import Yard, quiet_port, until


class Healthy(BaseHTTPRequestHandler):
    """Another service, which is well."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Heir:
    """Takes a port as soon as whoever has it lets go of it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_over = threading.Event()
        self.server: ThreadingHTTPServer | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.wait(0.0005):
            try:
                self.server = ThreadingHTTPServer(("127.0.0.1", self._port), Healthy)
            except OSError:
                continue
            self.server.serve_forever(0.05)
            return

    def end(self) -> None:
        """Give it back."""
        self._is_over.set()
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
        self._thread.join(60)


def test_whoever_has_the_port_next_is_not_waited_for(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "data", "--vcpus", "1", "--memory-mib", "256", "--port", str(quiet_port())).start()
    heir = Heir(int(yard.url.rpartition(":")[2]))
    try:
        yard.cli("down", "--data", str(yard.data))
        assert yard.process is not None and yard.process.wait(60) == 0
        until(lambda: heir.server, "the port to be somebody else's")
    finally:
        heir.end()
        yard.down()
