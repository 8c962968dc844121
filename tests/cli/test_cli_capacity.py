"""What queues, compute, reclaim and doctor show, and that the reference page says what the commands say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_service import FakeService, Refuse
from click.testing import CliRunner, Result

from batchyard.compute.local import protocol
from batchyard.compute.local.cgroups import Groups
from batchyard.compute.local.doors.link_local import sentence
from batchyard.main.cli import COMMANDS, batchyard
from batchyard.main.commands import checks
from batchyard.main.commands.reference import page

Call = Callable[..., Result]
ARN = "arn:aws:batch:r:123456789012:compute-environment/"
REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "command-line.md"


def queue(name: str, priority: int, **members: Any) -> dict[str, Any]:
    order = [{"order": 2, "computeEnvironment": ARN + "base"}, {"order": 1, "computeEnvironment": ARN + "spot"}]
    return {"jobQueueName": name, "priority": priority, "state": "ENABLED", "status": "VALID", "computeEnvironmentOrder": order, **members}


def test_queues_come_by_priority_with_what_waits_and_runs(call: Call, service: FakeService) -> None:
    pages = {None: [queue("low", 1)], "2": [queue("high", 10, status="INVALID", statusReason="no environment")]}
    service.answers["DescribeJobQueues"] = lambda params: {
        "jobQueues": pages[params.get("nextToken")],
        **({} if params.get("nextToken") else {"nextToken": "2"}),
    }
    many = {"jobSummaryList": [{}] * 100, "nextToken": "more"}
    service.answers["ListJobs"] = lambda params: many if params["jobStatus"] == "RUNNABLE" else {"jobSummaryList": [{}]}
    header, first, second = call("queues").stdout.splitlines()
    assert header.split() == ["QUEUE", "PRIORITY", "STATE", "STATUS", "WAITING", "RUNNING", "ENVIRONMENTS", "REASON"]
    assert first.split()[:6] == ["high", "10", "ENABLED", "INVALID", "102+", "2"]
    assert "no environment" in first
    assert "spot > base" in second
    listed = json.loads(call("queues", "--no-counts", "--json").stdout)["jobQueues"]
    assert [found["jobQueueName"] for found in listed] == ["high", "low"]
    assert "jobs" not in listed[0]


def environment() -> dict[str, Any]:
    resources = {"type": "SPOT", "minvCpus": 0, "desiredvCpus": 4, "maxvCpus": 16, "instanceTypes": ["c5", "optimal"]}
    return {
        "computeEnvironmentName": "spot",
        "computeEnvironmentArn": ARN + "spot",
        "state": "ENABLED",
        "status": "VALID",
        "computeResources": resources,
    }


def test_compute_shows_environments_and_their_instances(call: Call, service: FakeService) -> None:
    service.answers["DescribeComputeEnvironments"] = lambda params: {"computeEnvironments": [environment()]}
    instance = {
        "id": "i-0abc",
        "environment": "spot",
        "typeName": "c5.xlarge",
        "vcpus": 4.0,
        "memoryMiB": 8192,
        "spot": True,
        "state": "running",
    }
    instance |= {"jobs": ["j1", "j2"], "pricePerHour": 0.17, "reclaimAt": None}
    service.answers["own:instances"] = lambda params: {"instances": [instance]}
    shown = call("compute").stdout
    assert "c5 optimal" in shown
    assert "c5.xlarge (Spot)  4      8192 MiB  running  0.1700  j1 j2" in shown
    assert json.loads(call("compute", "--json").stdout)["instances"] == [instance]
    service.answers["own:instances"] = lambda params: {"instances": []}
    assert "No instances now" in call("compute").stderr


def test_compute_elsewhere_says_where_instances_are_seen(call: Call, service: FakeService) -> None:
    service.answers["DescribeComputeEnvironments"] = lambda params: {"computeEnvironments": [environment()]}
    result = call("compute")
    assert result.exit_code == 0
    assert "ECS" in result.stderr
    assert json.loads(call("compute", "--json").stdout)["instances"] is None


def test_reclaim_names_the_instance_and_the_notice(call: Call, service: FakeService) -> None:
    service.answers["own:reclaim"] = lambda params: {"reclaimAt": 1_700_000_000_000}
    assert "i-0abc is taken away: 2023-11-1" in call("reclaim", "i-0abc", "--notice", "5").stderr
    assert call("reclaim", "i-0abc").exit_code == 0
    assert service.named("own:reclaim") == [{"instance": "i-0abc", "noticeSeconds": 5.0}, {"instance": "i-0abc"}]

    def refuse(params: dict[str, Any]) -> dict[str, Any]:
        raise Refuse(400, "ClientException", "i-0abc is no Spot instance")

    service.answers["own:reclaim"] = refuse
    result = call("reclaim", "i-0abc")
    assert (result.exit_code, "is no Spot instance" in result.stderr) == (1, True)


def test_what_aws_cannot_do_is_said_without_asking_it(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_ENDPOINT_URL", "https://batch.eu-west-1.amazonaws.com")
    bare.setenv("AWS_ACCESS_KEY_ID", "AKID")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    result = CliRunner().invoke(batchyard, ["reclaim", "i-0abc"])
    assert result.exit_code == 2
    assert "cannot take an instance away" in result.stderr
    assert "Fault Injection" in result.stderr


def test_doctor_tells_each_finding_and_fails_only_for_what_must_be_mended(
    call: Call, service: FakeService, bare: pytest.MonkeyPatch
) -> None:
    result = call("doctor", "--json")
    document = json.loads(result.stdout)
    found = {check["subject"]: check for check in document["checks"]}
    subjects = {"Python", "SQLite", "Memory", "Disk", "Folder", "Machine", "Link-local", "Clock", "Ports", "Server", "Node"}
    assert subjects <= set(found)
    assert found["Server"]["result"] == "ok"
    assert found["Node"]["result"] == "warn"
    assert document["ok"] == (result.exit_code == 0)
    bare.setattr(checks, "SQLITE", (99, 0, 0))
    result = call("doctor")
    assert result.exit_code == 1
    assert "fail  SQLite" in result.stdout
    assert "pip install --upgrade apsw" in result.stdout


def test_doctor_names_a_port_that_somebody_else_holds(folder: Path, service: FakeService, bare: pytest.MonkeyPatch) -> None:
    def findings() -> dict[str, checks.Finding]:
        return {finding.subject: finding for check in (checks.ports, checks.server) for finding in check(folder)}

    bare.setattr(checks, "_healthz", lambda host, port: ("other", "HTTP 404 to /healthz", None))
    assert (findings()["Ports"].result, findings()["Server"].result) == ("fail", "warn")
    bare.setattr(checks, "_healthz", lambda host, port: ("batchyard", "", 0.0))
    assert (findings()["Ports"].result, findings()["Clock"].result) == ("ok", "fail")
    service.close()
    bare.undo()
    assert "free" in findings()["Ports"].found


def test_doctor_finds_a_full_disk_and_a_folder_that_cannot_be_written(tmp_path: Path, bare: pytest.MonkeyPatch) -> None:
    bare.setattr(checks, "DISK_FAIL_MIB", 1 << 40)

    def no_room(**where: Any) -> None:
        raise OSError(30, "Read-only file system")

    bare.setattr(checks.tempfile, "TemporaryFile", no_room)
    found = list(checks.disk(tmp_path / "not" / "there"))
    assert [finding.result for finding in found] == ["fail", "fail"]
    assert "Read-only" in found[1].found


def test_doctor_tells_what_is_lost_without_root_and_cgroups(tmp_path: Path, bare: pytest.MonkeyPatch) -> None:
    seen = {
        "uid_isolation": False,
        "isolation": "watching",
        "controllers": [],
        "bubblewrap": False,
        "vcpus": 2,
        "memory_mib": 900,
        "gpus": 0,
        "warnings": ["Lost."],
    }
    bare.setattr("batchyard.compute.local.facts", lambda directory: seen)
    assert [(finding.subject, finding.result) for finding in checks.isolation(tmp_path)] == [("Machine", "ok"), ("Isolation", "warn")]
    seen |= {"uid_isolation": True, "isolation": "cgroup v2", "controllers": ["memory", "pids"], "bubblewrap": True, "warnings": []}
    assert {finding.result for finding in checks.isolation(tmp_path)} == {"ok"}


def test_doctor_says_whether_jobs_can_ask_at_the_addresses_that_are_built_in(tmp_path: Path, bare: pytest.MonkeyPatch) -> None:
    def found() -> str:
        (finding,) = checks.link_local(tmp_path)
        assert finding.result == "ok", "nobody has to have that"
        return finding.found

    bare.setattr("batchyard.compute.local.cgroups.usable_groups", lambda: Groups(2, {}))
    bare.setattr("batchyard.compute.local.doors.link_local.why_not", lambda: "")
    assert found() == "--link-local on is possible: jobs would be answered at 169.254.170.2 and 169.254.169.254"
    bare.setattr("batchyard.compute.local.doors.link_local.why_not", lambda: sentence("it needs root"))
    assert found().startswith("--link-local on is not possible: it needs root. Without it, jobs find the same by the variables")
    bare.setattr("batchyard.compute.local.cgroups.usable_groups", lambda: Groups(0, {}, "no cgroup can be made here"))
    assert "who asks is known by its cgroup, and no cgroup can be made here" in found()
    (tmp_path / protocol.LINK_LOCAL).touch()
    assert "not possible" in found(), "the node that had them is gone"
    bare.setattr(checks, "node_answers", lambda folder: True)
    assert found() == "jobs of this service are answered at 169.254.170.2 and 169.254.169.254"


def test_doctor_finds_programs_that_the_users_of_jobs_cannot_start(tmp_path: Path, bare: pytest.MonkeyPatch) -> None:
    closed, open_ = tmp_path / "closed", tmp_path / "open"
    for folder in (closed, open_):
        folder.mkdir()
        (folder / "interpreter").write_text("")
    closed.chmod(0o700)
    for name in checks.JOB_PROGRAMS:
        (open_ / name).write_text(f"#!{open_}/interpreter -x\n")
        (open_ / name).chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):  # the way there: as far as it is ours
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o001)
    bare.setenv("PATH", str(open_))
    bare.setattr("batchyard.compute.local.facts", lambda directory: {"uid_isolation": True})
    assert [finding.result for finding in checks.programs(tmp_path)] == ["ok"]
    (open_ / "aws").write_text(f"#!{closed}/interpreter\n")
    (open_ / "python3").unlink()
    (open_ / "python3").symlink_to(closed / "interpreter")
    (closed / "interpreter").chmod(0o755)
    [finding] = checks.programs(tmp_path)
    assert (finding.result, finding.found.count(str(closed))) == ("warn", 2)
    bare.setattr("batchyard.compute.local.facts", lambda directory: {"uid_isolation": False})
    assert list(checks.programs(tmp_path)) == []


def test_compute_shows_how_the_scratch_space_stands(call: Call, service: FakeService) -> None:
    stands = {
        "isKnown": True,
        "isHealthy": True,
        "whyNot": "",
        "capacityMiB": 102400,
        "promisedMiB": 1536,
        "unpromisedMiB": 0,
        "freeMiB": 9,
    }
    service.answers["DescribeComputeEnvironments"] = lambda params: {"computeEnvironments": [environment()]}
    service.answers["own:instances"] = lambda params: {"instances": []}
    service.answers["own:machine"] = lambda params: {"scratch": stands}
    shown = call("compute").stdout
    assert [line.split(maxsplit=0) for line in shown.partition("Scratch space\n")[2].splitlines()] == [
        ["Can be promised          100.0 GiB"],
        ["Promised to jobs         1.5 GiB"],
        ["Taken without a promise  0 MiB"],
        ["Free                     9 MiB"],
    ]
    assert json.loads(call("compute", "--json").stdout)["scratch"] == stands
    stands |= {"isHealthy": False, "whyNot": "a device is lost"}
    assert "a device is lost: no job starts" in call("compute").stdout
    stands["isKnown"] = False
    assert "Scratch" not in call("compute").stdout


def test_the_reference_page_says_what_the_commands_say() -> None:
    told = "python -m batchyard.main.commands.reference > docs/reference/command-line.md"
    assert REFERENCE.read_text() == page(), f"the page is stale; write it anew: {told}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(batchyard, [command, "--help"])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 4
