"""`batchyard image`: images for jobs on a machine without a registry, with Docker and with Podman."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from batchyard.main.image_daemon import ignored
from containers.engines import Daemon, root_tar
from yard import Yard

NEVER = ("--pull", "never")


def image(daemon: Daemon, *words: str | Path, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "batchyard.main", "image", *map(str, words), "--container-socket", daemon.socket]
    return subprocess.run(command, input=given, capture_output=True, check=False, timeout=180)


def done(daemon: Daemon, *words: str | Path, given: bytes | None = None) -> str:
    ended = image(daemon, *words, given=given)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode()


def refused(daemon: Daemon, *words: str | Path, given: bytes | None = None) -> str:
    ended = image(daemon, *words, given=given)
    assert ended.returncode in (1, 2), ended
    assert b"Traceback" not in ended.stderr
    return ended.stderr.decode()


def said(yard: Yard, name: str, *command: str) -> list[str]:
    """What a job in an image prints."""
    arn = yard.batch.register_job_definition(
        jobDefinitionName="uses-it",
        type="container",
        containerProperties={
            "image": name,
            "command": list(command),
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
        },
    )["jobDefinitionArn"]
    job = yard.until(yard.submit(arn))
    assert job["status"] == "SUCCEEDED", job["container"].get("reason", job["statusReason"])
    return yard.logs(job)


@pytest.mark.parametrize("yard", [NEVER], indirect=True)
def test_an_image_is_built_here_and_jobs_run_in_it(shared_daemon: Daemon, yard: Yard, tmp_path: Path) -> None:
    context = tmp_path / "tool"
    (context / "deep").mkdir(parents=True)
    (context / "deep" / "caller").write_text("#!/bin/sh\necho called $1 by $VERSION\n")
    (context / "deep" / "caller").chmod(0o755)
    (context / "reads.fastq").write_text("large")
    (context / ".dockerignore").write_text("# not for the image\n*.fastq\n")
    (context / "Dockerfile").write_text(
        "FROM busybox:latest\nARG VERSION=0\nENV VERSION=$VERSION\nCOPY . /tool\nRUN test ! -e /tool/reads.fastq\n"
        'ENTRYPOINT ["/tool/deep/caller"]\n'
    )
    assert done(shared_daemon, "build", context, "-t", "caller:7", "--build-arg", "VERSION=7.1", "--network", "none") == "caller:7\n"
    assert said(yard, "caller:7", "variants") == ["called variants by 7.1"]
    (row,) = [row for row in json.loads(done(shared_daemon, "list", "--json"))["images"] if row["name"].endswith("caller:7")]
    assert row["bytes"] > 100_000
    assert row["name"] in done(shared_daemon, "list")
    done(shared_daemon, "rm", row["name"])
    assert row["name"] not in done(shared_daemon, "list")
    assert "caller" in refused(shared_daemon, "rm", row["name"])


def test_a_build_that_fails_says_why(shared_daemon: Daemon, tmp_path: Path) -> None:
    assert "There is no Dockerfile" in refused(shared_daemon, "build", tmp_path, "-t", "x")
    (tmp_path / "Dockerfile").write_text("FROM busybox:latest\nRUN exit 3\n")
    told = refused(shared_daemon, "build", tmp_path, "-t", "failing", "--network", "none")
    assert "exit 3" in told and "3" in told.splitlines()[-1] + told.splitlines()[-2]
    assert "--build-arg" in refused(shared_daemon, "build", tmp_path, "-t", "x", "--build-arg", "novalue")


@pytest.mark.parametrize("yard", [NEVER], indirect=True)
@pytest.mark.parametrize("form", ["folder", "file", "stdin"])
def test_a_root_file_system_becomes_an_image(shared_daemon: Daemon, yard: Yard, tmp_path: Path, form: str) -> None:
    root = tmp_path / "root"
    with tarfile.open(fileobj=io.BytesIO(root_tar())) as tar:
        tar.extractall(root, filter="fully_trusted")
    (root / "etc" / "made-by").write_text("hand")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(root, ".")
    (tmp_path / "root.tar.gz").write_bytes(packed.getvalue())
    source, given = {"folder": (root, None), "file": (tmp_path / "root.tar.gz", None), "stdin": ("-", packed.getvalue())}[form]
    assert "--name" in refused(shared_daemon, "load", source, given=given)
    name = f"by-hand-{form}:1"
    assert done(shared_daemon, "load", source, "-t", name, "--change", 'CMD ["cat","/etc/made-by"]', given=given) == f"{name}\n"
    assert said(yard, name) == ["hand"]


@pytest.mark.parametrize("yard", [NEVER], indirect=True)
def test_a_saved_image_is_loaded_with_its_name(shared_daemon: Daemon, yard: Yard, tmp_path: Path) -> None:
    shared_daemon.load("carried", 'CMD ["echo","carried"]')
    status, saved = shared_daemon.call("GET", "/v1.40/images/carried:latest/get")
    assert status == 200
    (tmp_path / "carried.tar").write_bytes(saved)
    done(shared_daemon, "rm", "carried:latest")
    assert "carried" in done(shared_daemon, "load", tmp_path / "carried.tar")
    assert said(yard, "carried") == ["carried"]
    assert "Leave out --name" in refused(shared_daemon, "load", tmp_path / "carried.tar", "--name", "other")
    (tmp_path / "noise").write_bytes(b"noise" * 1000)
    assert "no tar archive" in refused(shared_daemon, "load", tmp_path / "noise", "--name", "x")


def test_where_no_daemon_answers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "batchyard.main", "image", "list", "--container-socket", str(tmp_path / "nobody.sock")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, "no Docker or Podman daemon answers" in ended.stderr) == (2, True)


@pytest.mark.parametrize(
    ("rules", "out", "kept"),
    [
        ("*.bam", ("a.bam",), ("deep/a.bam", "a.bam.txt")),
        ("**/*.bam", ("a.bam", "deep/er/a.bam"), ("a.sam",)),
        ("deep", ("deep", "deep/er/a"), ("deeper",)),
        ("/deep/", ("deep", "deep/a"), ("other/deep",)),
        ("*\n!keep", ("a", "b/c"), ("keep", "keep/a")),
        ("# a\n\n[ab].txt\nx?", ("a.txt", "xy"), ("c.txt", "x", "x/y")),
    ],
)
def test_rules_of_dockerignore(tmp_path: Path, rules: str, out: tuple[str, ...], kept: tuple[str, ...]) -> None:
    (tmp_path / ".dockerignore").write_text(rules)
    is_left_out = ignored(tmp_path)
    assert [path for path in (*out, *kept) if is_left_out(path)] == list(out)
