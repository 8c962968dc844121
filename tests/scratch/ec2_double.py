"""A double of EC2 whose volumes are real: AttachVolume makes a loop device and its name in /dev/disk/by-id, for real file systems.

As a process (root, for loop devices; `--by-id` elsewhere needs `EbsDisks(by_id=...)`):

    python tests/scratch/ec2_double.py --port 0 --dir /tmp/double [--instance-id i-...] [--by-id /dev/disk/by-id] [--attach-s 0.2 ...]

It prints one line of JSON once it answers: {"endpoint": "http://127.0.0.1:PORT", "instance_id": ..., "zone": ..., "region": ...}. Then

    export AWS_ENDPOINT_URL_EC2=http://127.0.0.1:PORT AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:PORT
    batchyard scratch watch --mount /scratch --backend ebs-btrfs --store DIR --initial-gib 1 --max-gib 8

The one port answers EC2's query protocol (POST /), the instance metadata service, version 2 only (/latest/...: token, instance-id, zone,
region, credentials of a role, user-data of `--user-data FILE`), and for tests:

    GET  /double           {"volumes": [...], "calls": [{"action", "params", "error"}...], "actions": ["ec2:..."], "metadata": [paths...]}
    POST /double/faults    [{"action": "CreateVolume", "manner": "error", "code": "RequestLimitExceeded", "times": 2}, ...]   (see `Fault`)
    POST /double/terminate {"InstanceId": ...}      what AWS does when an instance ends
    POST /double/vanish    {"VolumeId": ...}        deleted behind everybody's back

Volumes are sparse files of their full size in --dir. SIGTERM detaches all loop devices and removes the names; unmount first.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
import threading
import time
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

sys.path.insert(0, str(Path(__file__).parent))  # when it is run as a process

from ec2_query import Refusal, answer, refusal
from ec2_volumes import Cloud, Fault, Pace

_ROLE = "scratch-role"


class Double(Cloud):
    """The volumes and their server; in a test's own process, or as one of its own."""

    def __init__(self, folder: Path, *, by_id: Path = Path("/dev/disk/by-id"), pace: Pace | None = None, port: int = 0) -> None:
        super().__init__(folder, by_id=by_id, pace=pace)
        self.metadata: list[str] = []
        self.tokens: set[str] = set()
        self.user_data = b""
        self.server = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (_Handler,), {"double": self}))
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Double:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.close()

    @property
    def environment(self) -> dict[str, str]:
        """What leads the daemon, botocore and boto3 here."""
        return {"AWS_ENDPOINT_URL_EC2": self.endpoint, "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.endpoint}


class _Handler(BaseHTTPRequestHandler):
    double: Double
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: `calls` has it."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/double/"):
            self._told(self.path.removeprefix("/double/"), json.loads(body))
            return
        given = dict(parse_qsl(body.decode(), keep_blank_values=True))
        action = given.pop("Action", "")
        given.pop("Version", None)
        if "AWS4-HMAC-SHA256 Credential=" not in self.headers.get("Authorization", ""):
            self._say(401, refusal(Refusal("AuthFailure", "AWS was not able to validate the provided access credentials")))
            return
        try:
            result, fault = self.double.call(action, given)
        except Refusal as error:
            self._say(error.status, refusal(error))
            return
        manner = fault.manner if fault else ""
        if manner == "hold":
            self.double.closing.wait(600)
        if manner in ("hold", "lost", "cut"):
            self.close_connection = True
            return
        if fault is not None and fault.manner == "slow":
            self.double.closing.wait(fault.seconds)
        self._say(200, answer(action, result))

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.double.metadata.append(self.path)
        if self.path != "/latest/api/token" or not self.headers.get("X-aws-ec2-metadata-token-ttl-seconds"):
            self._say(400, b"")
            return
        token = secrets.token_hex(16)
        self.double.tokens.add(token)
        self._say(200, token.encode())

    def do_GET(self) -> None:
        if self.path == "/double":
            self._say(200, json.dumps(self._seen()).encode())
            return
        self.double.metadata.append(self.path)
        if self.headers.get("X-aws-ec2-metadata-token", "") not in self.double.tokens:
            self._say(401, b"")
            return
        said = self._metadata().get(self.path.removeprefix("/latest/"))
        self._say(404 if said is None else 200, b"" if said is None else said)

    def _metadata(self) -> dict[str, bytes]:
        double = self.double
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6 * 3600))
        key = {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": "ASIADOUBLE",
            "SecretAccessKey": "s" * 40,
            "Token": "t",
            "Expiration": until,
        }
        said = {
            "meta-data/instance-id": double.instance_id,
            "meta-data/placement/availability-zone": double.zone,
            "meta-data/placement/region": double.region,
            "meta-data/iam/security-credentials/": _ROLE,
            f"meta-data/iam/security-credentials/{_ROLE}": json.dumps(key),
        }
        return {**{path: text.encode() for path, text in said.items()}, **({"user-data": double.user_data} if double.user_data else {})}

    def _seen(self) -> dict[str, Any]:
        double = self.double
        with double.lock:
            volumes = [asdict(disk) for disk in double.alive()]
            return {"volumes": volumes, "calls": double.calls, "actions": double.actions, "metadata": double.metadata}

    def _told(self, verb: str, body: Any) -> None:
        if verb == "faults":
            with self.double.lock:
                self.double.faults.extend(Fault(**one) for one in body)
        elif verb == "terminate":
            self.double.terminate(body["InstanceId"])
        elif verb == "vanish":
            self.double.vanish(body["VolumeId"])
        self._say(200, b"{}")

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--by-id", type=Path, default=Path("/dev/disk/by-id"))
    parser.add_argument("--instance-id")
    parser.add_argument("--user-data", type=Path)
    for name in Pace.__dataclass_fields__:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(Pace, name))
    asked = parser.parse_args()
    pace = Pace(**{name: getattr(asked, name) for name in Pace.__dataclass_fields__})
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with Double(asked.dir, by_id=asked.by_id, pace=pace, port=asked.port) as double:
        if asked.instance_id:
            double.instance_id, double.instances = asked.instance_id, {asked.instance_id: "running"}
        if asked.user_data:
            double.user_data = asked.user_data.read_bytes()
        told = {"endpoint": double.endpoint, "instance_id": double.instance_id, "zone": double.zone, "region": double.region}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        ended.wait()


if __name__ == "__main__":
    main()
