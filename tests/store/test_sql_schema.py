"""Upgrades of the file: forward only, after a copy, and never of what a newer program has written."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest
from store_records import FULL_JOB, QUEUE, job, submitted, write

from batchyard.store import sql
from batchyard.store.opening import NewerStore, UnusableStore
from batchyard.store.sql import Store


@pytest.fixture
def newer_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The schema with one more step, as a later release would have it."""
    steps = tmp_path / "schema"
    shutil.copytree(sql.SCHEMA, steps)
    number = len(list(steps.glob("*.sql"))) + 1
    (steps / f"{number:04}.sql").write_text("ALTER TABLE jobs ADD COLUMN extra TEXT; UPDATE jobs SET extra = 'new';")
    monkeypatch.setattr(sql, "SCHEMA", steps)
    return steps


def version_of(path: Path) -> int:
    return int(next(iter(apsw.Connection(str(path)).execute("PRAGMA user_version")))[0])


def columns_of(path: Path) -> set[str]:
    return {name for _, name, *_ in apsw.Connection(str(path)).execute("PRAGMA table_info(jobs)")}


def old_file(path: Path) -> int:
    store = Store(path)
    write(store, submitted(job("j1")))
    store.close()
    return version_of(path)


def test_a_migration_keeps_the_data_and_a_copy_of_what_was(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / "jobs.db"
    before = old_file(path)
    request.getfixturevalue("newer_schema")
    store = Store(path)
    assert store.job("j1") == job("j1")
    store.close()
    assert version_of(path) == before + 1 and "extra" in columns_of(path)
    copy = Path(f"{path}.before-{before + 1}")
    assert version_of(copy) == before and "extra" not in columns_of(copy)
    assert next(iter(apsw.Connection(str(copy)).execute("SELECT id FROM jobs"))) == ("j1",)


def test_a_new_file_needs_no_copy(tmp_path: Path, newer_schema: Path) -> None:
    Store(tmp_path / "jobs.db").close()
    assert not list(tmp_path.glob("*.before-*"))
    Store(":memory:").close()


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / "jobs.db"
    before = old_file(path)
    steps: Path = request.getfixturevalue("newer_schema")
    last = sorted(steps.glob("*.sql"))[-1]
    last.write_text("ALTER TABLE jobs ADD COLUMN extra TEXT; SELECT no_such_function();")
    with pytest.raises(UnusableStore, match="no_such_function"):
        Store(path)
    assert version_of(path) == before and "extra" not in columns_of(path)
    last.write_text("ALTER TABLE jobs ADD COLUMN extra TEXT;")
    Store(path).close()
    assert version_of(path) == before + 1


def test_data_of_a_newer_program_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    known = old_file(path)
    with apsw.Connection(str(path)) as connection:
        connection.execute(f"PRAGMA user_version = {known + 1}")
    held = path.read_bytes()
    with pytest.raises(NewerStore, match=f"version {known + 1}; this Batchyard knows up to {known}"):
        Store(path)
    assert path.read_bytes() == held


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(UnusableStore, match=r"jobs\.db cannot be used"):
        Store(path)
    with pytest.raises(UnusableStore):
        Store(tmp_path / "no" / "such" / "folder.db")


def test_records_of_an_older_release_without_later_members(tmp_path: Path) -> None:
    """Members with defaults are left out of what is stored, so that new ones need no migration."""
    path = tmp_path / "jobs.db"
    old_file(path)
    body = next(iter(apsw.Connection(str(path)).execute("SELECT body FROM jobs")))[0]
    assert "waits_for" not in body and "is_cancelled" not in body
    assert FULL_JOB.waits_for and QUEUE
