"""The health gate of an ECS instance: what it drains, what it lets in again, what it leaves to others. The agent and ECS are doubles."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchyard.scratch.daemon import STATUS
from batchyard.scratch.ecs_gate import DRAINED, AgentSilent, Ecs, Gate, Opinion, why_not
from yard import until

ARN = "arn:aws:ecs:eu-central-1:111122223333:container-instance/batch/0123"


class Told(Ecs):
    """Remembers what was asked of ECS; silent while `is_silent`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.is_silent = False

    def set_status(self, status: str) -> None:
        if self.is_silent:
            raise AgentSilent("nobody there")
        self.asked.append(status)


class Place:
    """A store whose status the test writes."""

    def __init__(self, folder: Path) -> None:
        self.store, self.ready, self.now_s, self.ecs = folder, folder / "run" / "ready", 1000.0, Told()
        self.ready.parent.mkdir()
        self.gate = self.gate_again()

    def gate_again(self) -> Gate:
        return Gate(self.store, self.ready, self.ecs, clock=lambda: self.now_s)

    def says(self, is_healthy: bool, why: str = "", *, age_s: float = 0.0, looks: int = 3) -> None:
        write_status(self.store, is_healthy, why, self.now_s - age_s)
        for _ in range(looks):
            self.gate.turn()


def write_status(store: Path, is_healthy: bool, why: str, at_s: float) -> None:
    fields = ("capacity_bytes", "cap_bytes", "used_bytes", "free_bytes", "metadata_free_bytes", "inodes", "inodes_free", "used_peak_bytes")
    told: dict[str, Any] = dict.fromkeys(fields, 0) | {"at_s": at_s, "is_healthy": is_healthy, "why_not": why, "refusal": "", "volumes": []}
    told |= {"rate_bytes_s": 0.0, "grow_s": 1.0, "is_growing": False, "is_frozen": False, "counters": {}}
    partial = store / "status.new"
    partial.write_bytes(msgspec.json.encode(told))
    partial.replace(store / STATUS)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_three_looks_that_agree_make_an_opinion() -> None:
    opinion = Opinion()
    assert [opinion.look(healthy) for healthy in (False, False, True, False, False, False)] == [True] * 5 + [False]
    assert [opinion.look(healthy) for healthy in (True, True, False, True, True, True)] == [False] * 5 + [True]


def test_why_a_space_is_not_healthy(tmp_path: Path) -> None:
    assert "status.json cannot be read" in why_not(tmp_path, 0)
    write_status(tmp_path, False, "it is read-only", 100)
    assert why_not(tmp_path, 101) == "it is read-only"
    write_status(tmp_path, True, "", 100)
    assert why_not(tmp_path, 101) == ""
    assert why_not(tmp_path, 130) == "nobody has watched it for 30 s"
    assert why_not(tmp_path, 70) == "nobody has watched it for 30 s", "the clock was set back, or it would count as watched for long"


def test_an_instance_is_drained_once_and_let_in_again_once(place: Place) -> None:
    place.says(True)
    assert place.ready.exists() and place.ecs.asked == []
    place.says(False, "EIO")
    assert not place.ready.exists() and place.ecs.asked == ["DRAINING"]
    place.says(False, "EIO")
    place.says(True, looks=2)
    assert place.ecs.asked == ["DRAINING"]
    place.says(True)
    assert place.ready.exists() and place.ecs.asked == ["DRAINING", "ACTIVE"]


def test_a_daemon_that_is_gone_is_not_healthy(place: Place) -> None:
    place.says(True, age_s=60)
    assert place.ecs.asked == ["DRAINING"]


def test_what_ecs_does_not_take_is_asked_again(place: Place) -> None:
    place.ecs.is_silent = True
    place.says(False, "EIO")
    assert not place.ready.exists(), "the agent is not to start either"
    place.ecs.is_silent = False
    place.says(False, "EIO", looks=1)
    assert place.ecs.asked == ["DRAINING"]


def test_a_gate_that_starts_again_knows_what_it_drained_and_nothing_else(place: Place) -> None:
    place.says(False, "EIO")
    place.gate = place.gate_again()
    place.says(True)
    assert place.ecs.asked == ["DRAINING", "ACTIVE"]
    place.gate = place.gate_again()
    place.says(True)
    assert place.ecs.asked == ["DRAINING", "ACTIVE"], "drained by somebody else, it would stay so"


def test_an_instance_that_was_drained_and_restarted_is_let_in_again(place: Place) -> None:
    """ECS keeps it drained over a restart of the machine, which forgets what lies in /run."""
    place.says(False, "EIO")
    shutil.rmtree(place.ready.parent)
    place.ready.parent.mkdir()
    place.gate = place.gate_again()
    place.says(True)
    assert place.ecs.asked == ["DRAINING", "ACTIVE"]


def test_an_agent_that_died_while_it_was_drained_may_start_again(place: Place) -> None:
    """Without the file it does not start, and without the agent nobody knows which instance to make active."""
    place.says(False, "EIO")
    place.ecs.is_silent = True
    place.says(True)
    assert place.ready.exists() and place.ecs.asked == ["DRAINING"]
    place.ecs.is_silent = False
    place.says(True, looks=1)
    assert place.ecs.asked == ["DRAINING", "ACTIVE"]


class _Agent(BaseHTTPRequestHandler):
    """The agent's metadata, and ECS itself, on one port."""

    asked: list[dict[str, Any]]

    def do_GET(self) -> None:
        self._answer({"Cluster": "batch", "ContainerInstanceArn": ARN, "Version": "1"} if self.path == "/v1/metadata" else {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append({"operation": self.headers["X-Amz-Target"].rpartition(".")[2], **body})
        self._answer({"containerInstances": [{"containerInstanceArn": ARN, "status": body["status"]}], "failures": []})

    def _answer(self, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def agent() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    handler = type("Bound", (_Agent,), {"asked": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.asked  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_as_a_process_it_asks_the_agent_who_it_is_and_ecs_to_drain_it(tmp_path: Path, agent: tuple[str, list[dict[str, Any]]]) -> None:
    url, asked = agent
    write_status(tmp_path, False, "EIO", time.time())
    keys = {"AWS_ENDPOINT_URL_ECS": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | keys
    command = [sys.executable, "-m", "batchyard.scratch.ecs_gate", "--store", str(tmp_path), "--ready", str(tmp_path / "ready")]
    process = subprocess.Popen([*command, "--agent", url, "--look-s", "0.05"], env=environment)
    try:
        until(lambda: (_looked(tmp_path, False) and (tmp_path / DRAINED).exists()) or None, "it to be drained")
        until(lambda: (_looked(tmp_path, True) and not (tmp_path / DRAINED).exists()) or None, "it to be active")
        assert (tmp_path / "ready").exists()
    finally:
        process.terminate()
        assert process.wait(60) == 0
    states = [{"cluster": "batch", "containerInstances": [ARN], "status": status} for status in ("DRAINING", "ACTIVE")]
    assert asked == [{"operation": "UpdateContainerInstancesState", **state} for state in states]


def _looked(store: Path, is_healthy: bool) -> bool:
    """As a daemon that looks all the time."""
    write_status(store, is_healthy, "" if is_healthy else "EIO", time.time())
    return True


def test_an_agent_that_has_not_joined_is_not_drained() -> None:
    with pytest.raises(AgentSilent, match="does not answer at"):
        Ecs("http://127.0.0.1:9").set_status("DRAINING")
