"""The power is cut at any sync: of files and folders only what was synced is left, all that was acknowledged is in it, nothing half."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from medium import Medium, medium_at

from batchyard.compute.local.journal import Intent, Journal
from batchyard.core.scheduling import Rules
from batchyard.engine.engine import Engine, Options
from batchyard.main.listeners import KEY_FILE, kept_secret
from batchyard.model.capacity import Resources
from batchyard.simulate import scenario as scenarios
from batchyard.simulate import simulator
from batchyard.simulate.world import FalseWorld
from batchyard.store import objects_keys as keys
from batchyard.store import objects_uploads as uploads
from batchyard.store import objects_versions as versions
from batchyard.store.logs import frame, group_path, make_group, open_segment, segment_path
from batchyard.store.logs_book import LogGroup
from batchyard.store.logs_store import LogStore
from batchyard.store.objects import ObjectStore
from batchyard.store.objects_bodies import BodyFolder
from batchyard.store.objects_listing import list_versions
from batchyard.store.objects_records import Bucket, Piece, Traits
from batchyard.store.shelf import Place, Shelf
from batchyard.store.sql import Store

SEEDS = range(4)


@pytest.fixture
def medium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Medium]:
    with medium_at(tmp_path / "data", monkeypatch) as medium:
        yield medium


# --- objects ---


def bucket_of(index: apsw.Connection) -> Bucket:
    bucket = keys.find_bucket(index, "bucket")
    assert bucket is not None
    return bucket


def objects_in(folder: Path) -> Any:
    store = ObjectStore(folder / "objects")
    try:
        return contents_of(store, folder / "objects")
    finally:
        store.close()


def contents_of(store: ObjectStore, root: Path) -> Any:
    """Every version with its bytes, and every upload with its parts'."""

    def look(index: apsw.Connection) -> Any:
        bucket = bucket_of(index)
        found = uploads.list_uploads(index, bucket, "", "", "", "", 1000).uploads
        parts = [(upload.id, upload.key, keys.pieces_of(index, upload.manifest)) for upload in found]
        return list_versions(index, bucket, "", "", "", None, 1000).versions, parts

    records, parts = store.ask(look)
    shown = []
    for record in records:
        content = None
        if not record.is_marker:
            reader = store.open_found(lambda _, record=record: record)
            assert reader is not None
            with reader:
                content = reader.read(0, record.size)
        shown.append((record.key, record.version, record.is_latest, record.size, content))
    path_of = BodyFolder(root / "bodies").path
    return shown, [(id, key, [(p.number, path_of(p.body).read_bytes() if p.body else b"") for p in pieces]) for id, key, pieces in parts]


class Uploader:
    """What clients of the object store do, one step at a time."""

    def __init__(self, store: ObjectStore, dice: random.Random) -> None:
        self.store = store
        self.dice = dice
        self.uploads: list[tuple[str, str]] = []
        self.steps: list[Callable[[], object]] = [self.put, self.put, self.delete, self.delete_version, self.begin, self.part, self.part]
        self.steps += [self.complete, self.abort]

    def change(self, change: Callable[[apsw.Connection], Any]) -> Any:
        return self.store.change(change).result(60)

    def body(self, number: int) -> Piece:
        writer = self.store.new_body()
        writer.write(self.dice.randbytes(self.dice.choice((0, 10, 70_000))))
        written = writer.finish()
        return Piece(number, written.body, written.size, written.md5, 1, {})

    def put(self) -> None:
        piece, manifest, key = self.body(1), self.store.next_manifest(), f"{self.dice.randrange(5)}"
        self.change(lambda index: versions.put_object(index, manifest, bucket_of(index), key, piece.etag, Traits(), [piece], 1))

    def delete(self) -> None:
        key = f"{self.dice.randrange(5)}"
        self.change(lambda index: versions.delete_latest(index, bucket_of(index), key, 1))

    def delete_version(self) -> None:
        found = self.store.ask(lambda index: list_versions(index, bucket_of(index), "", "", "", None, 100).versions)
        if found:
            record = self.dice.choice(found)
            self.change(lambda index: versions.delete_version(index, bucket_of(index), record.key, record.version))

    def begin(self) -> None:
        id, key, manifest = self.dice.randbytes(8).hex(), f"{self.dice.randrange(5)}", self.store.next_manifest()
        self.change(lambda index: uploads.add_upload(index, manifest, id, bucket_of(index).id, key, Traits(), 1))
        self.uploads.append((key, id))

    def part(self) -> None:
        if self.uploads:
            (key, id), piece = self.dice.choice(self.uploads), self.body(self.dice.randrange(1, 4))

            def enter(index: apsw.Connection) -> None:
                upload = uploads.find_upload(index, bucket_of(index), key, id)
                assert upload is not None
                keys.put_piece(index, upload.manifest, piece)

            self.change(enter)

    def complete(self) -> None:
        if self.uploads:
            key, id = self.uploads.pop(self.dice.randrange(len(self.uploads)))

            def end(index: apsw.Connection) -> None:
                upload = uploads.find_upload(index, bucket_of(index), key, id)
                assert upload is not None
                first, *unused = [*keys.pieces_of(index, upload.manifest)] or [Piece(1, 0, 0, "", 1, {})]
                uploads.complete_upload(index, upload, [piece.number for piece in unused], first.size, first.etag, Traits(parts=1), 1)

            self.change(end)

    def abort(self) -> None:
        if self.uploads:
            key, id = self.uploads.pop()

            def end(index: apsw.Connection) -> None:
                upload = uploads.find_upload(index, bucket_of(index), key, id)
                assert upload is not None
                uploads.abort_upload(index, upload)

            self.change(end)


@pytest.mark.parametrize("versioning", ["", "Enabled", "Suspended"])
@pytest.mark.parametrize("seed", SEEDS)
def test_objects_versions_and_uploads(tmp_path: Path, medium: Medium, seed: int, versioning: str) -> None:
    dice = random.Random(seed)
    root = medium.root / "objects"
    store = ObjectStore(root)
    uploader = Uploader(store, dice)
    bucket = uploader.change(lambda index: keys.add_bucket(index, "bucket", "000000000000", "us-east-1", 1))
    uploader.put()
    uploader.change(lambda index: keys.put_versioning(index, bucket.id, versioning))
    states = [contents_of(store, root)]
    medium.begin()
    for _ in range(40):
        dice.choice(uploader.steps)()
        medium.acknowledged()
        states.append(contents_of(store, root))
    store.close()
    medium.check(states, objects_in, dice, tmp_path)


# --- documents, and what the node notes ---


def test_documents(tmp_path: Path, medium: Medium) -> None:
    place, dice = Place("ssm", "000000000000", "us-east-1"), random.Random(1)

    def entries(folder: Path) -> dict[str, Any]:
        shelf = Shelf(folder / "shelf.db")
        try:
            return dict(shelf.look(place, lambda drawer: drawer.entries("kind")))
        finally:
            shelf.close()

    shelf = Shelf(medium.root / "shelf.db")
    states: list[dict[str, Any]] = [{}]
    medium.begin()
    for number in range(60):
        name = f"{dice.randrange(9)}"
        if dice.randrange(3):
            shelf.change(place, lambda drawer, name=name, number=number: drawer.put("kind", name, {"n": number})).result(60)
            states.append({**states[-1], name: {"n": number}})
        else:
            shelf.change(place, lambda drawer, name=name: drawer.delete("kind", name)).result(60)
            states.append({kept: document for kept, document in states[-1].items() if kept != name})
        medium.acknowledged()
    shelf.close()
    medium.check(states, entries, dice, tmp_path)


def test_intents(tmp_path: Path, medium: Medium) -> None:
    def intents(folder: Path) -> set[str]:
        journal = Journal(folder / "journal", "boot 2")
        journal.close()
        return set(journal.intents)

    journal = Journal(medium.root / "journal", "boot")
    states: list[set[str]] = [set()]
    medium.begin()
    for number in range(60):
        journal.note(Intent(f"{number}"))
        if number % 20 == 19:
            journal.rewrite()
        journal.flush()
        states.append({*states[-1], f"{number}"})
        medium.acknowledged()
    journal.close()
    medium.check(states, intents, random.Random(1), tmp_path)


def test_the_key_of_webhooks(tmp_path: Path, medium: Medium) -> None:
    key = kept_secret(medium.root / KEY_FILE)
    medium.begin()
    medium.acknowledged()
    assert kept_secret(medium.lay_out(medium.cuts[-1], tmp_path / "left") / KEY_FILE) == key


# --- jobs ---


class Enough(Exception):
    """The simulation has gone on for long enough."""


def rows_of(path: Path) -> Any:
    """All that the engine's store holds, but the number of times that it was opened."""
    with contextlib.closing(apsw.Connection(str(path))) as reader:
        tables = [name for (name,) in reader.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")]
        found = {name: sorted(reader.execute(f"SELECT * FROM {name}"), key=repr) for name in tables}
    found["meta"] = [row for row in found["meta"] if row[0] != "epoch"]
    return found


@pytest.mark.parametrize("name", ["calm", "crashes", "gangs"])
def test_what_the_engine_decided(tmp_path: Path, medium: Medium, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = medium.root / "batchyard.db"
    states: list[Any] = []

    class OnDisk(Store):
        def __init__(self, _chance: object) -> None:
            super().__init__(path)
            states.append(rows_of(path))
            medium.begin()

        def commit(self) -> None:
            super().commit()
            medium.acknowledged()
            states.append(rows_of(path))
            if len(states) > 150:
                raise Enough

    monkeypatch.setattr(simulator, "ShakyStore", OnDisk)
    simulation = simulator.Simulation(3, scenarios.load(name))
    with pytest.raises(Enough):
        simulation.run()
    simulation.store.close()

    def rows_in(folder: Path) -> Any:
        store = Store(folder / "batchyard.db")
        Engine(store, FalseWorld(7, Resources(8, 16384)), Options(Rules(pass_impossible=True, idle_s=20)))  # which takes it up
        store.close()
        return rows_of(folder / "batchyard.db")

    medium.check(states, rows_in, random.Random(7), tmp_path)


# --- logs ---

NAMESPACE = ("000000000000", "us-east-1")
GROUPS = ["/aws/batch/job", "group", "/Long/" + "ü" * 80]


def logs_in(folder: Path) -> Any:
    logs = LogStore(folder / "logs", lambda: 9)
    try:
        return logs_of(logs)
    finally:
        logs.close()


def logs_of(logs: LogStore) -> Any:
    """Every group with its settings, and its streams with their events."""
    return [
        (group, [(s.name, [(e.timestamp_ms, e.message) for e in s.after(s.gap_at(0), None, 1000, 10**9)]) for s in found])
        for group in logs.groups(NAMESPACE)
        for found in [logs.streams(NAMESPACE, group.name)]
    ]


class Logger:
    """What clients, and a node, do with logs, one step at a time."""

    def __init__(self, logs: LogStore, dice: random.Random) -> None:
        self.logs = logs
        self.dice = dice
        self.number = 0
        self.steps = [self.create, self.stream, self.put, self.put, self.put, self.found, self.write, self.write, self.retain]
        self.steps += [self.delete_stream, self.delete_group]

    @property
    def where(self) -> tuple[tuple[str, str], str]:
        return NAMESPACE, self.dice.choice(GROUPS)

    def create(self) -> None:
        namespace, name = self.where
        self.logs.create_group(namespace, LogGroup(name, self.number))

    def stream(self) -> None:
        namespace, group = self.where
        if self.logs.group(namespace, group) is not None:
            self.logs.create_stream(namespace, group, f"put/{self.dice.randrange(3)}")

    def put(self) -> None:
        namespace, group = self.where
        if self.logs.group(namespace, group) is not None:
            self.logs.put(
                namespace, group, f"put/{self.dice.randrange(3)}", [(self.number, b"%d" % self.number), (self.number, b"x" * 9000)]
            )

    def found(self) -> None:
        namespace, group = self.where
        make_group(group_path(self.logs.root, *namespace, group), group, self.number)

    def write(self) -> None:
        """A job's output, which the node does not sync: that its bytes reached the disk by themselves is done here."""
        namespace, group = self.where
        if not group_path(self.logs.root, *namespace, group).exists():
            return
        stream = f"job/{self.dice.randrange(3)}"
        descriptor = open_segment(self.logs.root, *namespace, group, stream, self.number)
        os.write(descriptor, frame(self.number, b"%d" % self.number))
        os.fsync(descriptor)
        os.close(descriptor)
        folder = os.open(segment_path(self.logs.root, *namespace, group, stream).parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def retain(self) -> None:
        namespace, group = self.where
        days = self.dice.choice((None, 1, 7))
        self.logs.change_group(namespace, group, lambda noted: LogGroup(noted.name, noted.created_at_ms, days))

    def delete_stream(self) -> None:
        self.logs.delete_stream(*self.where, self.dice.choice(("put", "job")) + f"/{self.dice.randrange(3)}")

    def delete_group(self) -> None:
        self.logs.delete_group(*self.where)


@pytest.mark.parametrize("seed", range(8))
def test_log_groups_streams_and_events(tmp_path: Path, medium: Medium, seed: int) -> None:
    dice = random.Random(seed)
    logs = LogStore(medium.root / "logs", lambda: 9)
    logger = Logger(logs, dice)
    states = [logs_of(logs)]
    medium.begin()
    for number in range(60):
        logger.number = number
        dice.choice(logger.steps)()
        medium.acknowledged()
        states.append(logs_of(logs))
    logs.close()
    medium.check(states, logs_in, dice, tmp_path)
