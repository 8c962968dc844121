"""`batchyard image`: images for jobs on a machine without a registry, with Docker and with Podman."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

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
    assert "'Upper:1' cannot be the name of an image" in refused(shared_daemon, "build", tmp_path, "-t", "Upper:1")
    assert "--build-arg" in refused(shared_daemon, "build", tmp_path, "-t", "x", "--build-arg", "novalue")


@pytest.mark.parametrize("yard", [NEVER], indirect=True)
def test_a_dockerfile_may_lie_elsewhere_and_what_cannot_be_packed_is_left_out(shared_daemon: Daemon, yard: Yard, tmp_path: Path) -> None:
    context = tmp_path / "context with spaces"
    (context / "sub").mkdir(parents=True)
    (context / "sub" / "naïve.txt").write_text("naïve")
    (context / "dangling").symlink_to("/nowhere/at/all")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{context}/sub/s")
        for place in (tmp_path / "elsewhere", context / "sub" / "inside"):
            place.write_text('FROM busybox:latest\nCOPY . /here\nCMD ["cat","/here/sub/naïve.txt"]\n')
            done(shared_daemon, "build", context, "-t", f"{place.name}:1", "--file", place)
            assert said(yard, f"{place.name}:1") == ["naïve"]
    assert "There is no nowhere in" in refused(shared_daemon, "build", context, "-t", "x:1", "--file", "nowhere")


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
    before = set(shared_daemon.temporary.iterdir())
    assert done(shared_daemon, "load", source, "-t", name, "--change", 'CMD ["cat","/etc/made-by"]', given=given) == f"{name}\n"
    assert set(shared_daemon.temporary.iterdir()) == before, "no copy of the archive is left"
    assert said(yard, name) == ["hand"]


def saved(daemon: Daemon, name: str) -> bytes:
    """What `docker save NAME` writes; without a name in it if NAME is an id."""
    status, content = daemon.call("GET", f"/v1.40/images/{name}/get")
    assert status == 200
    return bytes(content)


def layout(archive: bytes, name: str = "", other: str = "") -> bytes:
    """The image of a saved archive as an OCI layout, as `buildx build -o type=oci` writes it: below an index of what was built for each
    kind of machine. `name`: its annotation. `other`: of another kind of machine."""
    blobs: dict[str, bytes] = {}

    def blob(kind: str, content: bytes, **more: Any) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        blobs[digest] = content
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": len(content), **more}

    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:

        def read(path: str) -> bytes:
            content = tar.extractfile(path)
            assert content is not None
            return content.read()

        (told,) = json.loads(read("manifest.json"))
        config = blob("config.v1+json", read(told["Config"]))
        layers = [blob("layer.v1.tar+gzip", gzip.compress(read(path), 1)) for path in told["Layers"]]
    manifest = json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    proof = blob("manifest.v1+json", b'{"schemaVersion": 2, "layers": []}', platform={"os": "unknown", "architecture": "unknown"})
    made = blob("manifest.v1+json", manifest, platform={"os": "linux", "architecture": other or machine})
    index = blob("index.v1+json", json.dumps({"schemaVersion": 2, "manifests": [proof, made]}).encode())
    index["annotations"] = {"org.opencontainers.image.ref.name": name.rpartition(":")[2]} | (
        {"io.containerd.image.name": name} if name else {}
    )
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [index]}).encode(),
    }
    files |= {f"blobs/{digest.replace(':', '/')}": content for digest, content in blobs.items()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize("yard", [NEVER], indirect=True)
def test_a_saved_image_is_loaded_with_its_name_or_another(shared_daemon: Daemon, yard: Yard, tmp_path: Path) -> None:
    shared_daemon.load("carried", 'CMD ["echo","carried"]')
    (id,) = {one["Id"] for one in shared_daemon.listed() if any("carried" in tag for tag in one["RepoTags"] or ())}
    plain, nameless = saved(shared_daemon, "carried:latest"), saved(shared_daemon, id)
    done(shared_daemon, "rm", "carried:latest")
    (tmp_path / "carried.tar").write_bytes(plain)
    assert done(shared_daemon, "load", tmp_path / "carried.tar") == "carried:latest\n"
    assert said(yard, "carried") == ["carried"]
    done(shared_daemon, "rm", "carried:latest")
    (tmp_path / "carried.tar.gz").write_bytes(gzip.compress(plain, 1))
    assert done(shared_daemon, "load", tmp_path / "carried.tar.gz", "-t", "lab/renamed:3") == "lab/renamed:3\n"
    assert not any("carried" in line for line in done(shared_daemon, "list").splitlines()), "that is not what it was to be called"
    assert said(yard, "lab/renamed:3") == ["carried"]
    assert "Leave out --change" in refused(shared_daemon, "load", tmp_path / "carried.tar", "--change", "CMD x")
    assert "Give it one with --name" in refused(shared_daemon, "load", "-", given=nameless)
    assert done(shared_daemon, "load", "-", "--name", "baptized:1", given=nameless) == "baptized:1\n"
    assert said(yard, "baptized:1") == ["carried"]


@pytest.mark.parametrize("yard", [NEVER], indirect=True)
def test_an_oci_layout_is_loaded_whatever_the_daemon_makes_of_it(shared_daemon: Daemon, yard: Yard, tmp_path: Path) -> None:
    shared_daemon.load("laid", 'CMD ["echo","laid out"]')
    plain = saved(shared_daemon, "laid:latest")
    assert done(shared_daemon, "load", "-", given=layout(plain, "docker.io/lab/laid:4")) == "lab/laid:4\n"
    assert said(yard, "lab/laid:4") == ["laid out"]
    assert "Give it one with --name" in refused(shared_daemon, "load", "-", given=layout(plain))
    (tmp_path / "folder").mkdir()
    with tarfile.open(fileobj=io.BytesIO(layout(plain))) as tar:
        tar.extractall(tmp_path / "folder", filter="data")
    assert done(shared_daemon, "load", tmp_path / "folder", "-t", "from-folder:1") == "from-folder:1\n"
    assert said(yard, "from-folder:1") == ["laid out"]
    told = refused(shared_daemon, "load", "-", given=layout(plain, "lab/laid:5", other="s390x"))
    assert "only for linux/s390x" in told
    (blob,) = [path for path in (tmp_path / "folder" / "blobs" / "sha256").iterdir() if path.stat().st_size > 100_000]
    blob.unlink()
    assert f"it has no blobs/sha256/{blob.name}" in refused(shared_daemon, "load", tmp_path / "folder", "-t", "from-folder:2")


def test_what_cannot_be_loaded_is_said_in_a_sentence(shared_daemon: Daemon, tmp_path: Path) -> None:
    plain = saved(shared_daemon, "busybox:latest")
    for content, told in (
        (b"noise" * 1000, "no tar archive"),
        (b"", "it is empty"),
        (plain[:700_000], "cut off"),
        (gzip.compress(plain, 1)[:300_000], "not whole"),
    ):
        (tmp_path / "odd").write_bytes(content)
        assert told in refused(shared_daemon, "load", tmp_path / "odd", "--name", "x:1")
    for name in ("Upper:1", "two words", "a:b:c", "tool:", f"x@sha256:{'0' * 64}"):
        assert "cannot be the name of an image" in refused(shared_daemon, "load", "-", "--name", name, given=plain)


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
