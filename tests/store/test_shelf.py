"""The shelf: transactions, snapshots, what survives kill -9, and secrets that a copy does not tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from batchyard.model.fault import Fault
from batchyard.store.opening import NewerStore
from batchyard.store.sealing import NotSealedHere, Sealer
from batchyard.store.shelf import Drawer, Place, Shelf

HERE = Place("iam", "1", "")
PATIENCE_S = 60

WRITER = """
import sys
from pathlib import Path
from batchyard.store.shelf import Place, Shelf
shelf = Shelf(Path(sys.argv[1]))
for n in range(10**9):
    def act(drawer):
        drawer.put("pair", f"{n}-a", {"n": n})
        drawer.put("pair", f"{n}-b", {"n": n})
    shelf.change(Place("iam", "1", ""), act).result()
    print(n, flush=True)
"""


def test_documents_come_back_by_name_and_in_order(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf.db", lambda: 42)

    def fill(drawer: Drawer) -> int:
        for name in ("b", "a/2", "a/1", "ä"):
            drawer.put("role", name, {"name": name, "at": drawer.now_ms})
        drawer.put("user", "a/1", {})
        return len(drawer.all("role"))

    assert shelf.change(HERE, fill).result(PATIENCE_S) == 4
    assert shelf.look(HERE, lambda d: [name for name, _ in d.entries("role")]) == ["a/1", "a/2", "b", "ä"]
    assert shelf.look(HERE, lambda d: d.entries("role", prefix="a/", after="a/1")) == [("a/2", {"name": "a/2", "at": 42})]
    assert shelf.look(HERE, lambda d: len(d.entries("role", limit=3))) == 3
    assert shelf.look(Place("iam", "2", ""), lambda d: d.all("role")) == []
    assert shelf.look(Place("ec2", "1", ""), lambda d: d.elsewhere(HERE).get("role", "b")) == {"name": "b", "at": 42}
    assert shelf.change(HERE, lambda d: (d.delete("role", "b"), d.delete("role", "b"))).result(PATIENCE_S) == (True, False)
    shelf.close()


def test_a_refused_change_leaves_nothing(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf.db")

    def refused(drawer: Drawer) -> None:
        drawer.put("role", "half", {})
        raise Fault("Refused", "no")

    before = shelf.version
    with pytest.raises(Fault):
        shelf.change(HERE, refused).result(PATIENCE_S)
    shelf.change(HERE, lambda d: d.put("role", "whole", {})).result(PATIENCE_S)
    assert [name for name, _ in shelf.look(HERE, lambda d: d.entries("role"))] == ["whole"]
    assert shelf.version > before
    shelf.close()


def test_who_hears_of_a_change_finds_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the thread that commits stands still right after it has told the one who waits."""
    told, invoke = threading.Event(), Future._invoke_callbacks  # type: ignore[attr-defined]

    def late(future: Future[object]) -> None:
        if threading.current_thread() is shelf._ledger._thread:
            told.wait(PATIENCE_S)
        invoke(future)

    shelf = Shelf(tmp_path / "shelf.db")
    before = shelf.version
    monkeypatch.setattr(Future, "_invoke_callbacks", late)
    try:
        shelf.change(HERE, lambda drawer: drawer.put("role", "r", {})).result(PATIENCE_S)
        assert shelf.version > before
    finally:
        told.set()
        shelf.close()


def test_what_was_acknowledged_survives_kill(tmp_path: Path) -> None:
    path = tmp_path / "shelf.db"
    said = 0
    for round_number in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(20 + 7 * round_number):
            said = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        said = max([said, *map(int, writer.stdout.read().split())])
        writer.wait(PATIENCE_S)
        shelf = Shelf(path)
        names = {name for name, _ in shelf.look(HERE, lambda d: d.entries("pair"))}
        shelf.close()
        assert {f"{said}-a", "0-b"} <= names
        assert {n[:-2] for n in names if n.endswith("-a")} == {n[:-2] for n in names if n.endswith("-b")}, "half a transaction"


def test_a_newer_shelf_is_refused(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf.db")
    shelf._ledger._writer.execute("PRAGMA user_version = 99")
    shelf.close()
    with pytest.raises(NewerStore, match="version 99; this Batchyard knows up to"):
        Shelf(tmp_path / "shelf.db")


def test_sealed_text_opens_for_its_own_context_only(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "key")
    for text in (b"", b"x", b"swordfish" * 100):
        sealed = sealer.seal(text, "ssm a")
        assert text == Sealer(tmp_path / "key").open(sealed, "ssm a")
        assert len(text) < 2 or text not in sealed
        for broken, context in ((sealed, "ssm b"), (sealed[:-1], "ssm a"), (b"", "ssm a"), (bytes([sealed[0] ^ 1]) + sealed[1:], "ssm a")):
            with pytest.raises(NotSealedHere):
                sealer.open(broken, context)
    assert sealer.seal(b"same", "c") != sealer.seal(b"same", "c")
    with pytest.raises(NotSealedHere):
        Sealer(tmp_path / "other").open(sealer.seal(b"x", "c"), "c")
