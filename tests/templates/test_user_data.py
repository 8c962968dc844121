"""The user data of the template runs in a clean Debian against a double of EC2.

It is read as cloud-init reads it, and the commands of its units are started as systemd would. systemd, dnf and Docker are stand-ins that
write down what they were asked; Batchyard, the file systems and the growing are real.
"""

from __future__ import annotations

import base64
import email
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import wheelhouse
from debian_root import World, debian, end, why_not
from ec2_rights import asked, policy_of_instances
from genomics_stack import load_template, resolve

from batchyard.core.policies import Question, Verdict, context_of, decide
from batchyard.core.policy_documents import read_policy
from yard import until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scratch"))

from ec2_double import Double
from ec2_volumes import Pace

PACKAGE = "s3://packages/batchyard.tar.gz"
GIVEN = {"Scratch": "auto", "ScratchPackage": PACKAGE, "ScratchInitialGiB": "1", "ScratchMaxGiB": "6", "ProjectTag": "reads & 'more'"}
LIBEXEC = "/usr/local/libexec/batchyard-scratch"
STANDS_IN = '#!/bin/sh\necho "${0##*/} $*" >>/var/log/asked\n'
AWS = '#!/bin/sh\necho "aws $*" >>/var/log/asked\n[ "$1 $2 $3" = "s3 cp --only-show-errors" ] && exec cp "/srv/buckets/${4#s3://}" "$5"\n'
WRITER = """
import os
open("/sys/fs/cgroup/ecstasks.slice/cgroup.procs", "w").write(str(os.getpid()))  # as a container of ECS is
block = os.urandom(1 << 20)
with open("/scratch/job", "wb", buffering=0) as out:
    for _ in range(2200):
        done = 0
        while done < len(block):
            done += out.write(block[done:])
print(os.path.getsize("/scratch/job") >> 20)
"""

pytestmark = [
    pytest.mark.system("debootstrap, btrfs-progs, xfsprogs"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(1200),  # the first time makes the Debian
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("wheels") / "batchyard.tar.gz"
    wheelhouse.make(made)
    return made


@pytest.fixture
def double(tmp_path: Path) -> Iterator[Double]:
    with Double(tmp_path / "cloud", by_id=tmp_path / "by-id", pace=Pace(0.1, 0.1, 0.1, 0.1, 0.1)) as made:
        yield made


@pytest.fixture
def world(double: Double) -> Iterator[World]:
    keys = {name: value for name, value in double.environment.items() if name.startswith("AWS_")}
    with debian(double.by_id, keys) as made:
        for name in ("systemctl", "dnf", "modprobe", "docker"):
            made.program(f"/usr/bin/{name}", STANDS_IN)
        made.program("/usr/bin/aws", AWS)
        yield made


def user_data(given: dict[str, str]) -> bytes:
    """As the launch template of the stack has it."""
    launch = resolve(load_template(), given).properties("InstanceLaunchTemplate")["LaunchTemplateData"]
    return base64.b64decode(launch["UserData"])


def boot(world: World, double: Double, given: dict[str, str]) -> None:
    """What cloud-init does with user data: ask the metadata service for it, take it apart, run the scripts in order."""
    double.user_data = user_data(given)
    told = email.message_from_bytes(_metadata(double, "/latest/user-data"))
    for number, part in enumerate(told.walk()):
        if part.get_content_maintype() == "multipart":
            continue
        assert part.get_content_type() == "text/x-shellscript"
        script = part.get_payload(decode=True)
        assert isinstance(script, bytes) and script.startswith(b"#!")
        world.program(f"/root/part-{number:03}", script.decode())
        code, said = world.run(f"/root/part-{number:03}", timeout_s=60)
        assert (code, said) == (0, "")


def _metadata(double: Double, path: str) -> bytes:
    token = urllib.request.Request(
        f"{double.endpoint}/latest/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    )
    with urllib.request.urlopen(token, timeout=60) as answer:
        header = {"X-aws-ec2-metadata-token": answer.read().decode()}
    with urllib.request.urlopen(urllib.request.Request(double.endpoint + path, headers=header), timeout=60) as answer:
        return bytes(answer.read())


def unit(world: World, name: str) -> dict[str, list[str]]:
    """The settings of a unit's file, by name."""
    found: dict[str, list[str]] = {}
    for line in world.path(f"/etc/systemd/system/{name}").read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found.setdefault(key, []).append(value)
    return found


def asked_for(world: World) -> list[str]:
    path = world.path("/var/log/asked")
    return path.read_text().splitlines() if path.exists() else []


def is_ready(world: World) -> bool:
    return world.run(LIBEXEC, "ready")[0] == 0


@pytest.mark.parametrize("backend", ["auto", "ebs-xfs"])
def test_an_instance_comes_up_with_scratch_space_that_grows_under_a_writer(
    world: World, double: Double, archive: Path, backend: str
) -> None:
    (world.buckets / "packages").mkdir()
    (world.buckets / "packages" / "batchyard.tar.gz").write_bytes(archive.read_bytes())
    world.run("mkdir", "/etc/docker")
    world.path("/etc/docker/daemon.json").write_text('{"userland-proxy": false}\n')  # as the ECS image has it
    boot(world, double, GIVEN | {"Scratch": backend})
    assert asked_for(world) == [
        "systemctl daemon-reload",
        "systemctl enable batchyard-scratch.service batchyard-scratch-gate.service",
        "systemctl start --no-block batchyard-scratch.service batchyard-scratch-gate.service",
    ]
    assert not double.calls, "nothing was done yet that may fail"
    agent = unit(world, "ecs.service.d/batchyard-scratch.conf")
    may_start = agent["ExecStartPre"][0].split()
    assert world.run(*may_start)[0] == 1, "the agent does not start"

    daemon = unit(world, "batchyard-scratch.service")
    assert daemon["Restart"] == ["always"] and daemon["StartLimitIntervalSec"] == ["0"]
    code, said = world.run(*daemon["ExecStartPre"][0].split(), timeout_s=300)
    assert code == 0, said
    assert world.run(*daemon["ExecStartPre"][0].split())[0] == 0, "and again at each restart, at once"
    assert [line for line in asked_for(world) if line.startswith("aws ")] == [
        f"aws s3 cp --only-show-errors {PACKAGE} /opt/batchyard/wheels.tar.gz"
    ]
    gate = world.begin(*unit(world, "batchyard-scratch-gate.service")["ExecStart"][0].split())
    watching = world.begin(*daemon["ExecStart"][0].split())
    try:
        until(lambda: is_ready(world) or watching.poll(), "the scratch space to be healthy", 180)
        assert watching.poll() is None, end(watching)
        until(lambda: world.run(*may_start)[0] == 0 or None, "the agent to be let in", 120)
        until(lambda: asked_for(world)[-1] == "systemctl start --no-block ecs.service" or None, "the agent to be started", 60)
        docker = json.loads(world.path("/etc/docker/daemon.json").read_text())
        assert docker == {"userland-proxy": False, "data-root": "/scratch/docker", "storage-driver": "overlay2"}
        kind = "xfs" if backend == "ebs-xfs" else "btrfs"
        assert re.search(rf"^\S+ /scratch {kind} ", world.run("grep", " /scratch ", "/proc/mounts")[1], re.MULTILINE)

        code, said = world.run("python3", "-c", WRITER, timeout_s=240)
        assert (code, said) == (0, "2200\n"), "1 GiB at first, and more than 2 were written"
        until(lambda: all(one.goes_with_instance for one in double.alive()) or None, "a grow that goes on to come to its end", 120)
        volumes = double.alive()
        assert 2 < sum(one.size_gib for one in volumes) <= 6
        assert all(one.tags["Project"] == GIVEN["ProjectTag"] for one in volumes)
        assert all(one.asked["Encrypted"] for one in volumes)

        status = world.path("/var/lib/batchyard-scratch/status.json")
        _kill(watching)
        end(watching)
        last_ns = status.stat().st_mtime_ns
        watching = world.begin(*daemon["ExecStart"][0].split())
        until(lambda: (status.stat().st_mtime_ns > last_ns and is_ready(world)) or None, "the daemon to be back", 120)
        assert world.run("stat", "-c", "%s", "/scratch/job") == (0, f"{2200 << 20}\n")
        assert [one.id for one in double.alive()][: len(volumes)] == [one.id for one in volumes]
    finally:
        said = end(watching) + end(gate)
    assert "Traceback" not in said, said
    _all_was_allowed(double)


def _kill(entered: subprocess.Popen[str]) -> None:
    """kill -9 of the program that was entered with."""
    (pid,) = Path(f"/proc/{entered.pid}/task/{entered.pid}/children").read_text().split()
    os.kill(int(pid), signal.SIGKILL)
    entered.wait(60)


def _all_was_allowed(double: Double) -> None:
    """By the policy that the same template gives the instance."""
    policy = read_policy(policy_of_instances(GIVEN))
    tags = {disk.id: disk.tags for disk in double.volumes.values()}
    for call in double.calls:
        for question in asked(call["action"], call["params"], tags, by=double.instance_id):
            assert decide(policy, Question(question.action, question.resource, context_of(question.context))) is Verdict.ALLOWED, call


def test_an_instance_whose_package_is_missing_boots_and_takes_no_job(world: World, double: Double) -> None:
    boot(world, double, GIVEN)
    world.program("/usr/local/bin/sleep", "#!/bin/sh\n")  # the pause before the next attempt
    code, said = world.run(*unit(world, "batchyard-scratch.service")["ExecStartPre"][0].split())
    assert code == 1 and "cp: cannot stat '/srv/buckets/packages/batchyard.tar.gz'" in said
    assert not is_ready(world) and world.run("test", "-e", "/run/batchyard-scratch/ready")[0] == 1
    assert not double.calls


def test_an_image_that_has_no_python_and_no_dnf_is_told_so(world: World, double: Double) -> None:
    """Amazon Linux 2 has yum, and no package of Python 3.11."""
    boot(world, double, GIVEN)
    world.program("/usr/local/bin/sleep", "#!/bin/sh\n")
    world.run("rm", "/usr/bin/dnf", "/usr/bin/python3.11")
    code, said = world.run(*unit(world, "batchyard-scratch.service")["ExecStartPre"][0].split())
    assert (code, said) == (1, "no python3.11, and no dnf: Amazon Linux 2023, or an image with Batchyard, is needed\n")


def test_an_image_without_a_socket_of_docker_moves_it_too(world: World, double: Double) -> None:
    """And Docker does not start before the place is there, whenever the moving was broken off."""
    boot(world, double, GIVEN)
    world.program("/usr/bin/systemctl", STANDS_IN + '[ "$*" != "stop docker.socket" ] || { echo "not loaded" >&2; exit 5; }\n')
    world.run("mkdir", "-p", "/opt/batchyard/bin", "/scratch", "/etc/docker")
    world.program("/opt/batchyard/bin/batchyard", "#!/bin/sh\n")
    world.program("/opt/batchyard/bin/python", '#!/bin/sh\n[ "$1" != -m ] || exit 0\nexec python3 "$@"\n')
    assert world.run(LIBEXEC, "gate") == (0, "")
    asked = asked_for(world)
    assert asked.index("systemctl stop ecs.service docker.service") < asked.index("systemctl start docker.service")
    assert world.path("/etc/systemd/system/docker.service.d/batchyard-scratch.conf").read_text().endswith("mountpoint -q /scratch\n")
    assert [path.name for path in world.path("/etc/docker").iterdir()] == ["daemon.json"]
    world.path("/etc/docker/daemon.json").unlink()  # broken off before that
    assert world.run(LIBEXEC, "gate") == (0, "")
    assert json.loads(world.path("/etc/docker/daemon.json").read_text())["data-root"] == "/scratch/docker"


def test_without_a_package_the_image_must_have_batchyard(world: World, double: Double) -> None:
    boot(world, double, GIVEN | {"ScratchPackage": "", "ImageId": "ami-0123456789abcdef0"})
    world.program("/usr/local/bin/sleep", "#!/bin/sh\n")
    code, said = world.run(LIBEXEC, "install")
    assert (code, said) == (1, "no ScratchPackage, and the machine image has none\n")
    world.run("mkdir", "-p", "/opt/batchyard/bin")
    world.program("/opt/batchyard/bin/batchyard", STANDS_IN)
    assert world.run(LIBEXEC, "install") == (0, "")
    world.run(LIBEXEC, "watch")
    assert asked_for(world)[-1].startswith(
        "batchyard scratch watch --mount /scratch --backend ebs-btrfs --store /var/lib/batchyard-scratch"
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze missing")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    script = email.message_from_bytes(user_data(GIVEN)).get_payload(0).get_payload()  # type: ignore[union-attr]
    assert isinstance(script, str)
    names = []
    for name, text in re.findall(r"cat >\$units/(\S+) <<'END'\n(.*?\n)END\n", script, re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace(LIBEXEC, "/usr/bin/true"))
        names += [name] if name.endswith(".service") else []
    (tmp_path / "ecs.service").write_text("[Unit]\nAfter=cloud-final.service\n[Service]\nExecStart=/usr/bin/true\n")
    command = ["systemd-analyze", "verify", *(str(tmp_path / name) for name in (*names, "ecs.service"))]
    told = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}, check=False
    )
    assert names == ["batchyard-scratch.service", "batchyard-scratch-gate.service"]
    assert not [line for line in told.stderr.splitlines() if str(tmp_path) in line or "batchyard" in line], told.stderr


def test_it_fits_into_what_ec2_takes_with_room_for_what_batch_adds() -> None:
    assert len(user_data(GIVEN)) < 12_000
