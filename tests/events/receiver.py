"""A real HTTP receiver of events for tests, on 127.0.0.1."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Keeps what is posted. `status` is what it answers; with `hold` set it does not answer until that is cleared."""

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.lines: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"] or 0))
                receiver.gate.wait(60)
                if receiver.status == 200:
                    receiver.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                    receiver.lines.append(f"{self.command} {self.path}")
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events?from=batch"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in list(self.requests)]

    def statuses(self, job_id: str) -> list[str]:
        """What was told of a job, each event once (delivery is at least once), in order."""
        told = {
            e["id"]: e["detail"]["status"]
            for e in self.events
            if e["detail-type"] == "Batch Job State Change" and e["detail"]["jobId"] == job_id
        }
        return list(told.values())

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)
