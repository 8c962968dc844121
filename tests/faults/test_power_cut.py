"""The power is cut at a random moment: of files and folders only what was synced is left, and all that was acknowledged is in it."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from batchyard.compute.local.journal import Intent, Journal
from batchyard.store import objects_keys as keys
from batchyard.store import objects_versions as versions
from batchyard.store.objects import ObjectStore
from batchyard.store.objects_records import Piece, Traits
from batchyard.store.shelf import Place, Shelf


class Medium:
    """What a power cut leaves: of a file the bytes at its last sync, of a folder the names at its last sync."""

    def __init__(self) -> None:
        self.contents: dict[int, bytes] = {}
        self.names: dict[int, dict[str, int]] = {}
        self.folders: set[int] = set()

    def sync(self, path: str) -> None:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            self.names[status.st_ino] = {entry.name: entry.inode() for entry in os.scandir(path)}
            self.folders |= {entry.inode() for entry in os.scandir(path) if entry.is_dir()}
        else:
            self.contents[status.st_ino] = Path(path).read_bytes()

    def left(self, root: Path, to: Path) -> Path:
        """The folder `root` as it is found after the cut, laid out at `to`."""
        self._lay_out(root.stat().st_ino, to)
        return to

    def _lay_out(self, folder: int, to: Path) -> None:
        to.mkdir()
        for name, inode in self.names.get(folder, {}).items():
            if inode in self.folders:
                self._lay_out(inode, to / name)
            elif not name.endswith("-shm"):
                (to / name).write_bytes(self.contents.get(inode, b""))


class Disk(apsw.VFS):
    """SQLite's way to the medium."""

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        super().__init__("medium", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        return File(self.medium, name, flags)


class File(apsw.VFSFile):
    """An open file of SQLite; the unix VFS syncs the folder with the first sync of a write-ahead log."""

    def __init__(self, medium: Medium, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self.medium = medium
        self.path = str(name.filename() if hasattr(name, "filename") else name or "")

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        if self.path:
            self.medium.sync(self.path)
            self.medium.sync(str(Path(self.path).parent))


@pytest.fixture
def medium(monkeypatch: pytest.MonkeyPatch) -> Iterator[Medium]:
    medium = Medium()
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)

        def noted(handle: int, real: Any = real) -> None:
            real(handle)
            medium.sync(str(Path(f"/proc/self/fd/{handle}").readlink()))

        monkeypatch.setattr(os, name, noted)
    disk = Disk(medium)
    yield medium
    disk.unregister()


def put(store: ObjectStore, key: str, content: bytes) -> None:
    bucket = store.bucket("bucket")
    assert bucket is not None
    writer = store.new_body()
    writer.write(content)
    body = writer.finish()
    piece = Piece(1, body.body, body.size, body.md5, 1, {})
    manifest = store.next_manifest()
    store.change(lambda index: versions.put_object(index, manifest, bucket, key, piece.etag, Traits(), [piece], 1)).result(20)


@pytest.mark.parametrize("seed", range(4))
def test_objects_documents_and_intents_that_were_acknowledged_outlive_a_power_cut(tmp_path: Path, medium: Medium, seed: int) -> None:
    dice = random.Random(seed)
    data = tmp_path / "data"
    data.mkdir()
    place = Place("ssm", "000000000000", "us-east-1")
    objects, shelf, journal = ObjectStore(data / "objects"), Shelf(data / "shelf.db"), Journal(data / "journal", "boot")
    objects.change(lambda index: keys.add_bucket(index, "bucket", "000000000000", "us-east-1", 1)).result(20)
    bodies: dict[str, bytes] = {}
    documents: dict[str, dict[str, Any]] = {}
    attempts: set[str] = set()
    for number in range(dice.randrange(1, 60)):
        name = f"{dice.randrange(20)}"
        match dice.randrange(3):
            case 0:
                content = dice.randbytes(dice.choice((0, 10, 70_000)))
                put(objects, name, content)
                bodies[name] = content
            case 1:
                shelf.change(place, lambda drawer, name=name, number=number: drawer.put("kind", name, {"n": number})).result(20)
                documents[name] = {"n": number}
            case _:
                journal.note(Intent(f"{number}"))
                journal.flush()
                attempts.add(f"{number}")
    left = medium.left(data, tmp_path / "left")
    for open_one in (journal, objects, shelf):
        open_one.close()
    objects, shelf, journal = ObjectStore(left / "objects"), Shelf(left / "shelf.db"), Journal(left / "journal", "boot 2")
    assert {name: objects.read_bytes("bucket", name) for name in bodies} == bodies
    assert dict(shelf.look(place, lambda drawer: drawer.entries("kind"))) == documents
    assert set(journal.intents) == attempts
    for open_one in (journal, objects, shelf):
        open_one.close()
