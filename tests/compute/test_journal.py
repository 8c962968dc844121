"""The journal: what was noted is there after any crash, up to the last sound record."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchyard.compute.local import journal
from batchyard.compute.local.journal import Epoch, Intent, Journal, Outcome
from batchyard.model.messages import AttemptEnded


def ended(attempt: str) -> AttemptEnded:
    return AttemptEnded(attempt, 5, "exited", 3, True, "why", 1.5, 2.5, 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / journal.NAME


def test_what_was_noted_is_read_back(path: Path) -> None:
    written = Journal(path, "boot")
    written.note(Epoch(4))
    written.note(Epoch(2))
    for attempt in ("a", "b", "c", "d"):
        written.note(Intent(attempt))
    written.note_begun("b", 77, 1234, 60706)
    written.note_begun("unknown", 78, 1234, -1)
    written.note(Outcome(ended("c")))
    written.note(Outcome(ended("d")))
    written.forget(["d", "e"])
    written.close()
    for _ in range(2):
        back = Journal(path, "boot")
        assert back.epoch == 4
        assert back.intents == {"a": None, "b": journal.Begun("b", 77, 1234, 60706, "boot")}
        assert back.outcomes == {"c": ended("c")}
        back.close()


def test_what_was_not_flushed_is_not_there(path: Path) -> None:
    written = Journal(path, "boot")
    written.note(Intent("a"))
    assert "a" not in Journal(path, "boot").intents


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400), noise=st.binary(max_size=40))
def test_a_torn_end_hides_only_what_is_torn(path: Path, cut: int, noise: bytes) -> None:
    path.unlink(missing_ok=True)
    written = Journal(path, "boot")
    sizes = []
    for number in range(8):
        written.note(Intent(f"attempt-{number}"))
        written.flush()
        sizes.append(written._end)
    written.close()
    content = path.read_bytes()
    at = min(cut, sizes[-1])
    path.write_bytes(content[:at] + noise + content[at + len(noise) :])
    back = Journal(path, "boot")
    whole = [f"attempt-{number}" for number, size in enumerate(sizes) if size <= at]
    assert list(back.intents)[: len(whole)] == whole
    back.note(Intent("later"))
    back.close()
    assert "later" in Journal(path, "boot").intents


def test_it_does_not_grow_with_its_history(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_sync", lambda descriptor: None)  # thousands of them take minutes where others write to the disk
    monkeypatch.setattr(journal, "_REWRITE_ABOVE", 20_000)
    written = Journal(path, "boot")
    written.note(Intent("stays"))
    for number in range(2000):
        written.note(Intent(f"a-{number}"))
        written.note(Outcome(ended(f"a-{number}")))
        written.forget([f"a-{number}"])
        written.flush()
    written.close()
    assert path.stat().st_size < 20_000 + 2 * journal._AHEAD
    back = Journal(path, "boot")
    assert (list(back.intents), back.outcomes) == (["stays"], {})


def test_a_full_disk_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Journal(path, "boot")
    real = os.pwrite

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    for attempt in ("a", "b"):
        written.note(Intent(attempt))
        with pytest.raises(OSError, match="No space"):
            written.flush()
    monkeypatch.setattr(os, "pwrite", real)
    written.flush()
    written.close()
    assert list(Journal(path, "boot").intents) == ["a", "b"]


def test_every_flush_of_an_intent_is_synced_and_others_are_not(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Journal(path, "boot")
    synced: list[int] = []
    monkeypatch.setattr(journal, "_sync", synced.append)
    written.flush()
    written.note_begun("a", 1, 2, 3)
    written.forget(["b"])
    written.flush()
    assert not synced
    written.note(Intent("a"))
    written.note(Intent("b"))
    written.flush()
    written.flush()
    assert len(synced) == 1, "one sync for all that came together"
