"""`make demo` itself: a service, all jobs, a lost Spot instance, perfect calls, and nothing left running."""

import json
import re
import socket
import subprocess

import pytest
import run
from variant_calling import endpoint, interpreter, lookalike, service


def test_the_demo_from_reads_to_a_judged_vcf(tmp_path, capsys) -> None:
    assert run.main(["--seed", "21", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "precision 1.0000   recall 1.0000   240 of 240" in said
    assert re.search(r"align\[\d\] +SUCCEEDED .* 2 .* Host EC2 \(instance i-[0-9a-f]{17}\) terminated\.", said)
    out = tmp_path / "out" / "latest"
    assert (out / "results" / "variants.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert json.loads((out / "results" / "comparison.json").read_text())["recall"] == 1.0
    assert "attempt 2" in next((out / "logs").glob("align-?.attempt-2.log")).read_text()
    assert len(list((out / "logs").iterdir())) == 18
    host, port = endpoint.read_endpoint(out / "yard").url.removeprefix("http://").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_a_failure_is_told_by_the_exit_status(tmp_path, monkeypatch, capsys) -> None:
    def cannot_start(self, *_options: str) -> str:
        raise service.ServiceError("batchyard serve ended with status 1")

    monkeypatch.setattr(service.Service, "start", cannot_start)
    assert run.main(["--seed", "1", "--out", str(tmp_path)]) == 1
    assert "ended with status 1" in capsys.readouterr().out


def test_a_lookalike_runs_where_the_original_is_out_of_reach(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lookalike, "PUBLIC", tmp_path)
    monkeypatch.setattr(lookalike.atexit, "register", lambda *_args, **_more: None)
    candidates = list(interpreter._candidates())
    linked = candidates[-1]
    assert linked.python.startswith(str(tmp_path))
    assert linked.command[1].startswith(str(tmp_path))
    assert linked.example != interpreter.EXAMPLE
    done = subprocess.run(
        [linked.python, "-c", interpreter.CHECK, str(linked.example)],
        env={"PATH": "/usr/bin:/bin", **linked.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
