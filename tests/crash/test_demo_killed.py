"""The main job while its service is killed: same variants, no job lost, none begun twice."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from yard import quiet_port

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "variant-calling"))

import local
import run
from variant_calling import comparison, service, workflow

pytestmark = pytest.mark.timeout(600)  # a whole demo, and ten starts of its service
BEGINS = re.compile(r"^(\w+) begins \(job (\S+), attempt (\d+)\)$", re.MULTILINE)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[service.Service]:
    made = service.Service(tmp_path / "out" / "yard")
    made.start("--port", str(quiet_port()))
    yield made
    if not made.is_running:
        made.start()
    made.stop()


class Demo(threading.Thread):
    """The demo in the background."""

    def __init__(self, yard: service.Service, seed: int, *, reclaim: bool) -> None:
        super().__init__()
        self.yard, self.seed, self.reclaim = yard, seed, reclaim
        self.result: run.Result | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.result = run.run_demo(self.yard.folder, self.seed, out=self.yard.folder.parent, reclaim=self.reclaim)
        except Exception as error:  # noqa: BLE001 (shown by `outcome`)
            self.error = error

    def outcome(self) -> run.Result:
        self.join(300)
        assert self.error is None, self.error
        assert self.result is not None, "the demo did not end"
        return self.result


def begun(out: Path) -> Counter[tuple[str, str]]:
    """How often each (job, attempt) began, as the jobs themselves wrote it down."""
    return Counter((job, attempt) for log in (out / "logs").iterdir() for _step, job, attempt in BEGINS.findall(log.read_text()))


def calls_without_a_service(seed: int, folder: Path) -> list[str]:
    local.run_locally(seed, folder)
    reference = folder / workflow.REFERENCE
    return [str(v) for v in sorted(comparison.read_variants(folder / workflow.VCF, reference))]


def test_the_server_killed_at_ten_random_moments_of_the_demo(yard: service.Service, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 (shown when the test fails)
    chance = random.Random(seed)
    demo = Demo(yard, seed, reclaim=True)
    demo.start()
    for _ in range(10):
        time.sleep(chance.uniform(0.2, 1.2))
        yard.kill()
        yard.start()
    result = demo.outcome()
    assert result.problems == []
    assert result.variants == calls_without_a_service(seed, tmp_path / "apart")
    counts = begun(yard.folder.parent)
    assert set(counts.values()) == {1}, {key: n for key, n in counts.items() if n != 1}
    recorded = {(record.job_id, str(n)): attempt.reason for record in result.records for n, attempt in enumerate(record.attempts, 1)}
    assert set(counts) <= set(recorded), "what began is in the records"
    unheard = {reason for key, reason in recorded.items() if key not in counts}
    assert all(reason.startswith("Host EC2") for reason in unheard), "and what is in the records began, or its host was lost before"
    lost = [a.reason for r in result.records for a in r.attempts if a.reason.startswith("Host EC2")]
    assert lost, "the Spot instance was reclaimed all the same"


def test_the_node_killed_during_the_demo(yard: service.Service) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 (shown when the test fails)
    demo = Demo(yard, seed, reclaim=False)
    demo.start()
    time.sleep(4)
    os.kill(int((yard.folder / "node.lock").read_text()), signal.SIGKILL)
    result = demo.outcome()
    assert result.problems == []
    ended = [a.reason for r in result.records for a in r.attempts]
    assert all(reason == "Essential container in task exited" or reason.startswith("Host EC2 (instance i-") for reason in ended)
    assert max(begun(yard.folder.parent).values()) == 1
