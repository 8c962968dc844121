"""A small service that answers as it is told, and refuses what is not rightly signed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from batchyard.model.fault import Fault
from batchyard.wire.http import HttpRequest
from batchyard.wire.sigv4 import Credential, verify
from yard import quiet_port

KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-test-1"
Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Refuse(Exception):
    """What an answer raises to be an error on the wire."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class FakeService:
    """Answers operations ("SubmitJob", "logs:GetLogEvents", "own:explain") by functions of their parameters; keeps what was asked.

    Every request must carry a signature that holds: the command line signs as AWS's own tools do.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.raw: tuple[int, str, bytes] | None = None  # what to answer instead, whatever is asked
        self.drop_kept = False  # close the connection after each answer without saying so
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536  # head and body in one packet

            def do_GET(self) -> None:
                self.send(200, b"{}")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if service.raw:
                    self.send(service.raw[0], service.raw[2], service.raw[1])
                    return
                try:
                    answer = service.answer(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                except Refuse as refusal:
                    self.send(refusal.status, json.dumps({"message": refusal.message}).encode(), error=refusal.code)
                else:
                    self.send(200, json.dumps(answer).encode())
                if service.drop_kept:
                    self.close_connection = True

            def send(self, status: int, body: bytes, kind: str = "application/json", error: str = "") -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                if error:
                    self.send_header("x-amzn-errortype", error)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", quiet_port()), Handler)  # where nobody answers either once it is closed
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        self._verify(path, headers, body)
        if path.startswith("/batchyard/v1/"):
            name = "own:" + path.removeprefix("/batchyard/v1/")
        elif "x-amz-target" in headers:
            name = "logs:" + headers["x-amz-target"].partition(".")[2]
        else:
            name = next((known for known in self.answers if path == f"/v1/{known.lower()}"), path)
        params = json.loads(body)
        self.asked.append((name, params))
        if name not in self.answers:
            raise Refuse(404, "UnknownOperationException", f"no {name}")
        return self.answers[name](params)

    def _verify(self, path: str, headers: dict[str, str], body: bytes) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield body

        credential = Credential(KEY, SECRET, None, "123456789012", "arn:aws:iam::123456789012:root", "123456789012")
        request = HttpRequest("POST", path, "", headers, chunks())
        try:
            verified = verify(request, lambda key, token: credential if key == KEY else None, time.time(), body)
        except Fault as fault:
            raise Refuse(403, fault.code, fault.message) from None
        assert verified.region == REGION

    def named(self, name: str) -> list[dict[str, Any]]:
        """The parameters of every call of `name` so far."""
        return [params for asked, params in self.asked if asked == name]

    def knows(self, *jobs: dict[str, Any]) -> None:
        """Let DescribeJobs know these jobs."""
        known = {job["jobId"]: job for job in jobs}
        self.answers["DescribeJobs"] = lambda params: {"jobs": [known[job] for job in params["jobs"] if job in known]}


def job(job_id: str = "11111111-1111-4111-8111-111111111111", status: str = "RUNNING", **members: Any) -> dict[str, Any]:
    """A JobDetail with what every job has."""
    now_ms = int(time.time() * 1000)
    arn = f"arn:aws:batch:{REGION}:123456789012:"
    return {
        "jobId": job_id,
        "jobName": "align",
        "jobArn": f"{arn}job/{job_id}",
        "jobQueue": f"{arn}job-queue/default",
        "jobDefinition": f"{arn}job-definition/align:3",
        "status": status,
        "createdAt": now_ms - 60_000,
        "attempts": [],
        "dependsOn": [],
        "parameters": {},
        "container": {"image": "busybox", "command": ["sh", "-c", "echo hi"], "environment": []},
        **members,
    }
