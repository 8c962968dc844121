"""As root, jobs are users of their own: they see neither the data directory nor each other, and gain nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from compute_rig import AS_ROOT, LocalRig
from msgspec.structs import replace
from test_local_processes import PYTHON

from batchyard.compute.local import facts
from batchyard.compute.local.host import DEFAULT_UIDS
from batchyard.compute.local.link import LocalProvider
from batchyard.model.capacity import Resources
from batchyard.model.messages import Launch, StopAttempt

needs_root = pytest.mark.skipif(not AS_ROOT, reason="user ids of their own take root")


@needs_root
async def test_each_job_that_runs_has_a_user_id_of_its_own_and_no_groups_nor_capabilities(local: LocalRig) -> None:
    launches = [
        local.launch("sh", "-c", "grep -E 'Uid|Gid|Groups|Cap(Prm|Eff|Amb)|NoNewPrivs' /proc/self/status; sleep 600") for _ in range(2)
    ]
    local.provider.carry_out(launches)
    uids = set()
    for launch in launches:
        await local.eventually(lambda launch=launch: len(await_log(local, launch.attempt)) == 7, "it says who it is")
        told = {line.split(":")[0]: line.split()[1:] for line in local.log(launch.attempt)}
        uid = told["Uid"][0]
        assert int(uid) in DEFAULT_UIDS
        assert told["Uid"] == told["Gid"] == [uid] * 4
        assert told["Groups"] == []
        assert told["CapPrm"] == told["CapEff"] == told["CapAmb"] == ["0000000000000000"]
        assert told["NoNewPrivs"] == ["1"]
        uids.add(uid)
    assert len(uids) == 2


def await_log(local: LocalRig, attempt: str) -> list[str]:
    try:
        return local.log(attempt)
    except FileNotFoundError:
        return []


@needs_root
async def test_a_job_cannot_look_into_the_data_directory(local: LocalRig) -> None:
    secret = local.directory / "endpoint.json"
    secret.write_text("key")
    secret.chmod(0o644)
    (local.directory / "objects").mkdir(mode=0o755)
    await local.connect()  # a server that comes is a chance that files were left open
    d = local.directory
    _, lines = await local.run("sh", "-c", f"ls {d} {d}/objects {d}/logs {local.work}; cat {secret} {d}/node.id {d}/node.journal; true")
    assert len(lines) == 7
    assert all("ermission denied" in line for line in lines), lines


@needs_root
async def test_a_job_cannot_look_into_another_ones_directory_nor_signal_it_nor_the_node(local: LocalRig) -> None:
    victim = local.launch("sh", "-c", "echo secret > file; chmod 666 file; echo $$; sleep 600")
    local.provider.carry_out([victim])
    (pid,) = await local.says(victim.attempt)
    home = f"{local.work}/{victim.attempt}/home"
    script = (
        f"cat {home}/file; ls {home}; touch {home}/../x; kill -9 {pid}; kill -9 {local.provider.node_pid}; cat /proc/{pid}/environ; true"
    )
    _, lines = await local.run("sh", "-c", script)
    assert len(lines) == 6
    assert all("denied" in line or "not permitted" in line for line in lines), lines
    assert Path(f"/proc/{pid}").exists()


@needs_root
async def test_a_job_cannot_reach_the_nodes_socket(local: LocalRig) -> None:
    script = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect('{local.directory}/node.sock')"
    ended, lines = await local.run(PYTHON, "-c", script)
    assert ended.exit_code == 1
    assert "Permission denied" in lines[-1]


@needs_root
@pytest.mark.parametrize(
    ("user", "expected"),
    [("65534", "65534:65534"), ("nobody", None), ("12345:23456", "12345:23456"), ("nobody:65534", "65534:65534")],
)
async def test_a_job_may_ask_for_an_ordinary_user(local: LocalRig, user: str, expected: str | None) -> None:
    ended, lines = await local.run("sh", "-c", "echo $(id -u):$(id -g); touch $HOME/x $TMPDIR/y && echo ours", user=user)
    assert ended.exit_code == 0
    assert lines[-1] == "ours"
    assert expected is None or lines[0] == expected
    ended, lines = await local.run("sh", "-c", "id -u")
    assert int(lines[0]) in DEFAULT_UIDS


@needs_root
@pytest.mark.parametrize("user", ["root", "0", "0:0", "1000:0", "1", "daemon", str(DEFAULT_UIDS.start)])
async def test_a_job_may_not_ask_for_a_user_that_owns_the_machine_or_other_jobs(local: LocalRig, user: str) -> None:
    ended, lines = await local.run("id", user=user)
    assert ended.cause == "not-started"
    assert ended.reason.startswith(f'CannotStartContainerError: unable to find user "{user}": ')
    assert lines == [ended.reason]


@needs_root
@pytest.mark.parametrize("local", [["--allow-any-user"]], indirect=True)
async def test_unless_the_operator_allows_it(local: LocalRig) -> None:
    ended, lines = await local.run("id", "-u", user="root")
    assert (ended.exit_code, lines) == (0, ["0"])


@pytest.mark.parametrize("local", [["--same-user"]], indirect=True)
async def test_without_ids_of_their_own_jobs_are_our_user_and_that_is_said(local: LocalRig) -> None:
    _, lines = await local.run("id", "-u")
    assert lines == [str(os.geteuid())]
    assert local.provider.facts["uid_isolation"] is False
    assert any(
        "own this machine" in warning or "owns this machine" in warning or "trusted user" in warning
        for warning in local.provider.facts["warnings"]
    )


@needs_root
async def test_two_nodes_on_one_machine_share_no_user_id(local: LocalRig, tmp_path: Path) -> None:
    other = LocalRig(LocalProvider(tmp_path / "yard"), tmp_path / "yard")
    await other.connect()
    await other.up()
    assert str(other.work).startswith("/var/tmp/batchyard-"), "other users may not pass through pytest's directories"
    assert any("/var/tmp" in warning for warning in other.provider.facts["warnings"])
    first, second = local.launch("sh", "-c", "id -u; sleep 600"), other.launch("sh", "-c", "id -u; pwd; touch x; sleep 600")
    local.provider.carry_out([first])
    other.provider.carry_out([second])
    assert (await local.says(first.attempt))[0] != (await other.says(second.attempt))[0]
    await other.provider.shut_down(0.0)
    await other.eventually(lambda: not other.work.exists(), "its directory in /var/tmp is removed")


def test_facts_say_what_this_machine_gives(folder: Path) -> None:
    told = facts(folder)
    assert told["root"] is AS_ROOT
    assert told["uid_isolation"] is AS_ROOT
    assert told["isolation"] in ("cgroup v1", "cgroup v2", "watching")
    assert told["vcpus"] >= 1
    assert told["memory_mib"] > 100
    assert all(warning.endswith(".") for warning in told["warnings"])
    assert not list(folder.iterdir()), "asking changes nothing"
    assert facts(folder / "not" / "there")["vcpus"] == told["vcpus"]


@needs_root
@pytest.mark.parametrize("local", [["--uids", "60600-60601"]], indirect=True)  # of no other node: one that has had many jobs keeps many
async def test_attempts_wait_for_a_user_id_when_all_are_taken(local: LocalRig) -> None:
    launches = [local.launch("sh", "-c", "id -u; sleep 0.1") for _ in range(6)]
    local.provider.carry_out(launches)
    for launch in launches:
        assert (await local.ended(launch.attempt)).exit_code == 0
    assert {local.log(launch.attempt)[0] for launch in launches} == {"60600", "60601"}


@pytest.mark.parametrize("local", [["--gpus", "4", "6"]], indirect=True)
async def test_a_gpu_belongs_to_one_job_at_a_time(local: LocalRig) -> None:
    def wanting(gpus: int, then: str) -> Launch:
        launch = local.launch("sh", "-c", f"echo $NVIDIA_VISIBLE_DEVICES $CUDA_VISIBLE_DEVICES $BATCHYARD_GPUS; {then}")
        return replace(launch, needs=Resources(1, 64, gpus))

    first, second = wanting(1, "sleep 600"), wanting(1, "sleep 600")
    local.provider.carry_out([first, second])
    assert {(await local.says(launch.attempt))[0] for launch in (first, second)} == {"4 4 1", "6 6 1"}
    third = wanting(1, "true")
    local.provider.carry_out([third])
    assert "GPUs are wanted" in (await local.ended(third.attempt)).reason
    local.provider.carry_out([StopAttempt(first.attempt), StopAttempt(second.attempt)])
    for launch in (first, second):
        await local.ended(launch.attempt)
    both, none = wanting(2, "true"), wanting(0, "true")
    local.provider.carry_out([both, none])
    await local.ended(both.attempt)
    await local.ended(none.attempt)
    assert (local.log(both.attempt), local.log(none.attempt)) == (["4,6 4,6 2"], ["0"])
