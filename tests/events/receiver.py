"""A real HTTP receiver of events for tests, on 127.0.0.1."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HELD_S = 600  # longer than any test: until it is let go


class Receiver:
    """Keeps what is posted, each event once: delivery is at least once, and what comes too late for its sender comes again.

    `status` is what it answers; while `gate` is cleared it does not answer.
    """

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.lines: list[str] = []  # what stood in the line of each of these requests
        receiver = self
        keeping = threading.Lock()
        known: set[str] = set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"] or 0))
                receiver.gate.wait(HELD_S)
                status = receiver.status  # once: the test may set another one at any moment
                headers = {name.lower(): value for name, value in self.headers.items()}
                with keeping:
                    if status == 200 and headers["x-batchyard-event-id"] not in known:
                        known.add(headers["x-batchyard-event-id"])
                        receiver.lines.append(f"{self.command} {self.path}")
                        receiver.requests.append((headers, body))  # last: who sees it finds all of it
                self.send_response(status)
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
        """What was told of a job, in order."""
        return [
            e["detail"]["status"] for e in self.events if e["detail-type"] == "Batch Job State Change" and e["detail"]["jobId"] == job_id
        ]

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)
