"""`batchyard scratch` on an EC2 instance: the double is a process, as is the daemon, and all that leads to it is two variables."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cloud import Cloudy, cloudy
from ground import Plot, cgroup, needs, plot, writer

from batchyard.main.cli import batchyard
from batchyard.scratch import ebs, imds
from batchyard.scratch.ebs_disks import EbsDisks
from batchyard.scratch.ebs_kinds import Kind
from batchyard.scratch.ledger import Ledger, Volume, read
from batchyard.scratch.policy import GIB
from batchyard.scratch.provision import ScratchError

DOUBLE = Path(__file__).with_name("ec2_double.py")


class Process:
    """The double as a process."""

    def __init__(self, told: dict[str, str]) -> None:
        self.endpoint, self.instance_id = told["endpoint"], told["instance_id"]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**kept, "AWS_ENDPOINT_URL_EC2": self.endpoint, "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.endpoint}

    def seen(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.endpoint}/double", timeout=60) as answer:
            return json.load(answer)  # type: ignore[no-any-return]


@contextlib.contextmanager
def double(folder: Path) -> Iterator[Process]:
    argv = [sys.executable, str(DOUBLE), "--dir", str(folder), "--attach-s", "0.3"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Process(json.loads(process.stdout.readline()))
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def watching(place: Plot, cloud: Process, *options: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "batchyard.main", "scratch", "watch", "--mount", str(place.mount), "--store", str(place.store), *options]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=cloud.environment) as process:
        try:
            assert process.stderr is not None
            assert any(line.startswith("ready") for line in process.stderr)
            yield process
        finally:
            process.terminate()
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()


def run(cloud: Process, *args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "batchyard.main", "scratch", *args]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, env=cloud.environment)


@pytest.mark.timeout(700)  # it writes gigabytes to a disk to which others write, too
@pytest.mark.parametrize("mkfs", [pytest.param("mkfs.btrfs", marks=needs("mkfs.btrfs", "btrfs-progs"))])
def test_a_job_outgrows_its_first_volume_and_nothing_is_left_in_the_end(mkfs: str) -> None:
    """Also when the daemon is killed half-way: the next one goes on."""
    options = ["--backend", "ebs-btrfs", "--initial-gib", "1", "--max-gib", "4", "--tag", "project=p", "--volume-type", "gp3"]
    with plot() as place, double(place.root / "cloud") as cloud, cgroup() as group:
        options += ["--cgroup", str(group)]
        with watching(place, cloud, *options) as first:
            first.send_signal(signal.SIGKILL)
            first.wait(60)
        with watching(place, cloud, *options):
            with writer(place.mount, 3 * GIB // 2, group) as process:
                said, wrong = process.communicate("\n", timeout=500)
            assert process.returncode == 0, wrong
            assert said.split() == ["written", str(3 * GIB // 2)]
            status = json.loads(run(cloud, "status", "--store", str(place.store), "--json").stdout)
            assert (status["is_healthy"], status["capacity_bytes"]) == (True, sum(status["volumes"]))
        record, seen = read(place.store), cloud.seen()
        assert record is not None
        assert record.owner == cloud.instance_id
        assert sorted(volume["id"] for volume in seen["volumes"]) == sorted(one.id for one in record.volumes)
        assert sum(volume["size_gib"] for volume in seen["volumes"]) in (2, 3, 4)
        assert {volume["tags"]["project"] for volume in seen["volumes"]} == {"p"}
        assert set(seen["actions"]) <= set(ebs.ACTIONS)
        assert seen["metadata"][0] == "/latest/api/token"
        gone = run(cloud, "retire", "--store", str(place.store), "--yes")
        assert gone.returncode == 0, gone.stderr
        assert cloud.seen()["volumes"] == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--backend", "loop-btrfs", "--iops", "3000"], "is for the back ends ebs-btrfs and ebs-xfs"),
        (["--backend", "quota", "--tag", "a=b"], "--tag"),
        (["--backend", "ebs-btrfs", "--elastic"], "one volume that is made larger is --backend ebs-xfs"),
        (["--backend", "ebs-btrfs", "--tag", "a"], "'a' is not KEY=VALUE"),
        (["--backend", "ebs-btrfs", "--tag", "aws:a=b"], "the tag aws:a is not yours to set"),
        (["--backend", "ebs-btrfs", "--volume-type", "gp9"], "there are no EBS volumes of type gp9"),
        (["--backend", "ebs-btrfs", "--volume-type", "gp2", "--iops", "3000"], "the IOPS of a gp2 volume are not for choice"),
        (["--backend", "ebs-btrfs", "--volume-type", "io2"], "a io2 volume needs --iops"),
        (["--backend", "ebs-xfs", "--volume-type", "gp2", "--throughput-mib", "300"], "throughput of a gp2 volume"),
        (["--backend", "ebs-btrfs", "--kms-key-id", "k"], "add --encrypted"),
        (["--backend", "ebs-btrfs", "--volume-type", "st1"], "a st1 volume has 125 to 16384 whole GiB, not 1"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(options: list[str], says: str, tmp_path: Path) -> None:
    fixed = ["--mount", str(tmp_path / "m"), "--store", str(tmp_path / "s"), "--initial-gib", "1", "--max-gib", "8"]
    result = CliRunner().invoke(batchyard, ["scratch", "watch", *fixed, *options])
    assert result.exit_code != 0
    assert says in " ".join((result.output + str(getattr(result.exception, "message", result.exception))).split())
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "is_root", [pytest.param(True, marks=pytest.mark.skipif(os.geteuid() != 0, reason="the double makes loop devices"))]
)
def test_volumes_whose_instance_is_gone_are_deleted_for_an_operator(is_root: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        lost, young, alive, restored, foreign = volumes_of(place)
        listed = CliRunner().invoke(batchyard, ["scratch", "reap", "--older-than", "30m", "--region", "us-east-1"], input="n\n")
        assert lost in listed.output
        assert not any(other in listed.output for other in (young, alive, restored, foreign))
        assert lost in place.in_cloud()
        done = CliRunner().invoke(batchyard, ["scratch", "reap", "--older-than", "30m", "--region", "us-east-1", "--yes", "--json"])
        assert done.exit_code == 0, done.output
        assert [one["volumeId"] for one in json.loads(done.stdout)] == [lost]
        assert place.in_cloud() == sorted([young, alive, restored, foreign])
        assert "no duration" in CliRunner().invoke(batchyard, ["scratch", "reap", "--older-than", "soon"]).output


def test_an_operator_without_a_region_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    result = CliRunner().invoke(batchyard, ["scratch", "reap"])
    assert result.exit_code != 0
    assert "You must specify a region" in str(getattr(result.exception, "message", result.exception)) + result.output


def volumes_of(place: Cloudy) -> list[str]:
    """Of an instance that is gone; of one too, but young; of one that runs; restored from a snapshot, tags and all; somebody else's."""
    from ec2_volumes import Disk

    place.double.instances["i-gone"] = "terminated"
    made = []
    here = place.double.instance_id
    for name, owner, age_s in (("lost", "i-gone", 7200), ("young", "i-forgotten", 60), ("alive", here, 7200), ("restored", "i-gone", 7200)):
        tags = {"batchyard:scratch-instance": owner, "batchyard:scratch-volume": name}
        disk = Disk(f"vol-{name}", 1, "gp3", place.double.zone, "", {}, tags, time.time() - age_s, "available")
        disk.snapshot = "snap-1" if name == "restored" else ""
        place.double.volumes[disk.id] = disk
        made.append(disk.id)
    foreign = Disk("vol-foreign", 1, "gp3", place.double.zone, "", {}, {"Name": "mine"}, 0, "available")
    place.double.volumes[foreign.id] = foreign
    return [*made, foreign.id]


def test_who_is_no_instance_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ScratchError, match=r"metadata service at http://127\.0\.0\.1:9 does not say which instance this is"):
        imds.instance(limit_s=0.1)


@pytest.mark.parametrize(
    "is_root", [pytest.param(True, marks=pytest.mark.skipif(os.geteuid() != 0, reason="the double makes loop devices"))]
)
def test_the_instance_is_known_by_a_token(is_root: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        seen = imds.instance()
        assert seen == imds.Instance(place.double.instance_id, "us-east-1a", "us-east-1")
        with (
            pytest.raises(urllib.error.HTTPError, match="401"),
            no_proxy().open(f"{place.double.endpoint}/latest/meta-data/instance-id", timeout=60),
        ):
            pass


def no_proxy() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def test_disks_are_found_by_name_where_there_is_no_nvme(tmp_path: Path) -> None:
    """Instances on Xen show a volume under the name that was asked for."""
    ledger = Ledger(tmp_path / "store")
    (tmp_path / "dev").mkdir()
    (tmp_path / "loop9").touch()
    (tmp_path / "dev" / "xvdbb").symlink_to(tmp_path / "loop9")
    disks = EbsDisks(ledger, Kind(), by_id=tmp_path / "none", devices=tmp_path / "dev", where=imds.Instance("i-1", "z", "r"))
    assert disks.device_of(Volume("n", GIB, id="vol-1", attached_as="/dev/xvdbb")) == str(tmp_path / "loop9")
    assert disks.device_of(Volume("n", GIB, id="vol-2", attached_as="/dev/xvdbc")) is None
    assert disks.device_of(Volume("n", GIB)) is None
    ledger.close()
