"""The ground under the jobs of a service: where they write grows under them, and is gone when the service is down."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from served import INITIAL_MIB, KINDS, on, served, writer

from batchyard.compute.local.scratching.kinds import Wanted, candidates
from batchyard.main.settings import Settings, SettingsError

MIB = 1024 * 1024


@pytest.mark.timeout(700)  # it writes gigabytes to a disk to which others write, too
@pytest.mark.parametrize("kind", KINDS)
def test_a_job_writes_twenty_times_what_there_was_and_nothing_is_left_after_down(kind: str) -> None:
    """The place where jobs write is the place that grows: the job itself says how large it is there, before and after."""
    with served(*on(kind, 48 * INITIAL_MIB[kind])) as one:
        yard = one.start()
        df = yard.definition_of("df", "df", "-m", "--output=size,target", ".")
        small = yard.until(yard.submit(df))
        size_mib, target = yard.logs(small)[1].split()
        assert Path(target).is_relative_to(one.work)
        assert int(size_mib) <= INITIAL_MIB[kind]

        one.rests()  # before the first byte of the next one, its watcher is awake
        job = yard.until(yard.submit(writer(yard, "writer", 20 * INITIAL_MIB[kind])), patience_s=500)
        assert job["status"] == "SUCCEEDED", f"{yard.logs(job)}\n{one.story()}"
        word, size_mib, home = yard.logs(job)[-1].split()
        assert word == "written"
        assert int(size_mib) > 20 * INITIAL_MIB[kind]
        assert Path(home).is_relative_to(one.work)
        yard.down()
        one.nothing_is_left()


@pytest.mark.parametrize("kind", [KINDS[0]])
def test_status_of_a_service(kind: str) -> None:
    with served(*on(kind)) as one:
        yard = one.start()
        yard.until(yard.submit(yard.definition_of("ok", "true")))
        said = json.loads(yard.cli("scratch", "status", "--data", str(yard.data), "--json").stdout)
        assert (said["kind"], said["is_healthy"], said["is_watched"]) == (kind, True, True)
        assert said["place"] == str(one.work)
        assert said["cap_bytes"] == 6144 * MIB
        told = yard.cli("scratch", "status", "--data", str(yard.data)).stderr
        assert "healthy; watched" in told and "loop-btrfs" in told
        yard.down()
        assert yard.cli("scratch", "status", "--data", str(yard.data), check=False).returncode == 3


def test_the_cap_sticks_to_the_folder_and_a_directory_needs_no_watcher() -> None:
    with served("--scratch", "directory", "--scratch-gib", "3") as one:
        yard = one.start()
        assert json.loads((one.store / "cap.json").read_text())["cap_bytes"] == 3072 * MIB
        yard.down()
        one.yard.options = tuple(word for word in one.yard.options if word not in ("--scratch-gib", "3"))
        yard.start()
        job = yard.until(yard.submit(yard.definition_of("ok", "sh", "-c", "echo x > x")))
        assert job["status"] == "SUCCEEDED"
        said = json.loads(yard.cli("scratch", "status", "--data", str(yard.data), "--json").stdout)
        assert (said["kind"], said["cap_bytes"], said["is_healthy"]) == ("directory", 3072 * MIB, True)
        assert one.watchers() == []
        yard.down()
        one.nothing_is_left()


def test_without_root_what_needs_it_is_refused_and_auto_takes_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SettingsError, match="needs root"):
        Settings(scratch="loop-btrfs").check()
    assert candidates(Wanted("auto", 100 * 1024 * MIB, 1024 * MIB)) == ["directory"]
    assert candidates(Wanted("loop-xfs", 100 * 1024 * MIB, 1024 * MIB)) == ["loop-xfs"], "what was named is not exchanged"


def test_auto_takes_a_directory_where_little_can_be_had() -> None:
    assert candidates(Wanted("auto", 512 * MIB, 256 * MIB)) == ["directory"]
    assert candidates(Wanted("auto", 100 * 1024 * MIB, 1024 * MIB))[-1] == "directory"
    with pytest.raises(SettingsError, match="must not be more than"):
        Settings(scratch_gib=1.0, scratch_initial_gib=2.0).check()
