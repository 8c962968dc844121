"""The store without HTTP: what is acknowledged stays, what is replaced goes, and readers keep what they opened."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest
from s3_serving import body_files, open_store

from batchyard.model.fault import Fault
from batchyard.store import objects_keys as keys
from batchyard.store import objects_uploads as uploads
from batchyard.store import objects_versions as versions
from batchyard.store.objects import ObjectStore, StoreInUse
from batchyard.store.objects_records import Bucket, Piece, Traits
from batchyard.store.opening import NewerStore

BUCKET = "reads"


def make_bucket(store: ObjectStore) -> Bucket:
    return store.change(lambda index: keys.add_bucket(index, BUCKET, "1", "us-east-1", 1)).result()


def write_piece(store: ObjectStore, content: bytes, number: int = 1) -> Piece:
    writer = store.new_body()
    writer.write(content)
    written = writer.finish()
    return Piece(number, written.body, written.size, written.md5, 1, {})


def put(store: ObjectStore, bucket: Bucket, key: str, content: bytes) -> None:
    piece = write_piece(store, content)
    manifest = store.next_manifest()
    store.change(lambda index: versions.put_object(index, manifest, bucket, key, piece.etag, Traits(), [piece], 1)).result()


def files(root: Path) -> int:
    return len(body_files(root))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_an_object_is_there_after_reopening(tmp_path: Path) -> None:
    with_store = open_store(tmp_path)
    put(with_store, make_bucket(with_store), "a/b", b"bytes")
    put(with_store, with_store.bucket(BUCKET) or pytest.fail("no bucket"), "empty", b"")
    with_store.close()
    again = open_store(tmp_path)
    assert again.read_bytes(BUCKET, "a/b") == b"bytes"
    assert again.read_bytes(BUCKET, "empty") == b""
    assert again.read_bytes(BUCKET, "a") is None
    assert again.read_bytes("other", "a/b") is None
    again.close()


def test_a_folder_serves_one_store_at_a_time(tmp_path: Path) -> None:
    first = open_store(tmp_path)
    with pytest.raises(StoreInUse, match="in use by another server"):
        open_store(tmp_path)
    first.close()
    open_store(tmp_path).close()


def test_an_index_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    index = apsw.Connection(str(tmp_path / "objects" / "index.sqlite"))
    index.execute("PRAGMA user_version = 99")
    index.close()
    with pytest.raises(NewerStore, match="Use a newer Batchyard"):
        open_store(tmp_path)


def test_overwritten_and_deleted_bodies_leave_the_disk(tmp_path: Path, store: ObjectStore) -> None:
    bucket = make_bucket(store)
    for content in (b"one", b"two", b"three"):
        put(store, bucket, "k", content)
    put(store, bucket, "other", b"four")
    eventually(lambda: files(tmp_path) == 2)
    assert store.read_bytes(BUCKET, "k") == b"three"
    store.change(lambda index: versions.delete_latest(index, bucket, "k", 1)).result()
    eventually(lambda: files(tmp_path) == 1)
    assert store.read_bytes(BUCKET, "k") is None
    assert store.read_bytes(BUCKET, "other") == b"four"


def test_a_reader_keeps_what_it_opened(tmp_path: Path, store: ObjectStore) -> None:
    bucket = make_bucket(store)
    put(store, bucket, "k", b"before" * 1000)
    reader = store.open(BUCKET, "k")
    assert reader is not None
    put(store, bucket, "k", b"after")
    put(store, bucket, "l", b"something else to clean up after")
    store.change(lambda index: versions.delete_latest(index, bucket, "l", 1)).result()
    eventually(lambda: files(tmp_path) == 2)  # the old body is held back, the third is gone
    assert reader.read(0, 6000) == b"before" * 1000
    reader.close()
    reader.close()
    assert store.read_bytes(BUCKET, "k") == b"after"


def test_a_shared_body_goes_with_its_last_object(tmp_path: Path, store: ObjectStore) -> None:
    bucket = make_bucket(store)
    put(store, bucket, "k", b"shared")
    [piece] = store.ask(lambda index: keys.pieces_of(index, store_manifest(index, bucket, "k")))
    copy = store.next_manifest()
    store.change(lambda index: versions.put_object(index, copy, bucket, "copy", piece.etag, Traits(), [piece], 1)).result()
    store.change(lambda index: versions.delete_latest(index, bucket, "k", 1)).result()
    assert store.read_bytes(BUCKET, "copy") == b"shared"
    time.sleep(0.2)  # long enough for the reaper to have done wrong
    assert store.read_bytes(BUCKET, "copy") == b"shared"
    store.change(lambda index: versions.delete_latest(index, bucket, "copy", 1)).result()
    eventually(lambda: files(tmp_path) == 0)


def store_manifest(index: apsw.Connection, bucket: Bucket, key: str) -> int:
    record = versions.find_object(index, bucket, key)
    assert record is not None
    return record.manifest


def test_what_a_crash_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    bucket = make_bucket(store)
    put(store, bucket, "kept", b"kept")
    write_piece(store, b"finished, but nothing refers to it")
    torn = store.new_body()
    torn.write(b"half of")
    store.close()
    assert files(tmp_path) == 3
    again = open_store(tmp_path)
    fresh = again.new_body()
    fresh.write(b"an upload that goes on while the sweep runs")
    eventually(lambda: files(tmp_path) == 2)
    assert again.read_bytes(BUCKET, "kept") == b"kept"
    assert fresh.finish().size == 43
    swept = "SELECT number FROM epoch WHERE swept = 1"
    eventually(lambda: again.ask(lambda index: index.execute(swept).fetchall()) == [(1,)])
    again.close()


def test_an_abandoned_body_leaves_nothing(tmp_path: Path, store: ObjectStore) -> None:
    writer = store.new_body(["CRC32", "SHA256"])
    writer.write(b"x" * 100_000)
    writer.abandon()
    writer.abandon()
    with pytest.raises(ValueError, match="abandoned"):
        writer.write(b"more")
    assert files(tmp_path) == 0


def test_changes_of_one_commit_do_not_undo_each_other(store: ObjectStore) -> None:
    """Many at once share commits; one that is refused takes only itself back."""
    bucket = make_bucket(store)
    gate = threading.Event()
    store.change(lambda _: gate.wait(60))

    def refuse(index: apsw.Connection) -> None:
        keys.put_setting(index, bucket.id, "refused", "{}")
        raise Fault("AccessDenied", "no")

    futures = []
    for number in range(20):
        futures.append(store.change(refuse))
        futures.append(
            store.change(lambda index, kind=f"k{number}": keys.put_setting(index, bucket.id, kind, "{}"))  # type: ignore[misc]
        )
    gate.set()
    for refused, done in zip(futures[::2], futures[1::2], strict=True):
        with pytest.raises(Fault):
            refused.result(60)
        done.result(60)
    assert store.ask(lambda index: keys.setting(index, bucket.id, "refused")) is None
    assert all(store.ask(lambda index, k=k: keys.setting(index, bucket.id, f"k{k}")) for k in range(20))  # type: ignore[misc]


def test_a_question_that_was_left_half_read_does_not_answer_the_next_one(store: ObjectStore) -> None:
    """A cursor that lives on, however it does, keeps its snapshot of the index only for itself."""
    bucket = make_bucket(store)
    for kind in ("a", "b"):
        store.change(lambda index, kind=kind: keys.put_setting(index, bucket.id, kind, "{}")).result(60)  # type: ignore[misc]
    kept = []

    def half_read(index: apsw.Connection) -> object:
        kept.append(index.execute("SELECT kind FROM bucket_setting"))
        return next(kept[0])

    assert store.ask(half_read) == ("a",)
    store.change(lambda index: keys.put_setting(index, bucket.id, "c", "{}")).result(60)
    assert store.ask(lambda index: keys.setting(index, bucket.id, "c")) == "{}"


def test_a_failed_commit_is_told_to_everyone_in_it(store: ObjectStore) -> None:
    def break_it(index: apsw.Connection) -> None:
        index.execute("ROLLBACK")

    gate = threading.Event()
    store.change(lambda _: gate.wait(60))
    broken = store.change(break_it)
    other = store.change(lambda index: keys.add_bucket(index, "lost", "1", "r", 1))
    gate.set()
    for future in (broken, other):
        with pytest.raises(apsw.Error):
            future.result(60)
    assert store.bucket("lost") is None
    make_bucket(store)
    assert store.bucket(BUCKET) is not None


def test_parts_become_an_object_without_moving_a_byte(tmp_path: Path, store: ObjectStore) -> None:
    bucket = make_bucket(store)
    manifest = store.next_manifest()
    store.change(lambda index: uploads.add_upload(index, manifest, "u1", bucket.id, "k", Traits(), 1)).result()
    for number, content in ((1, b"old"), (1, b"AAAA"), (2, b"unused"), (7, b"BB")):
        piece = write_piece(store, content, number)
        store.change(lambda index, piece=piece: keys.put_piece(index, manifest, piece)).result()  # type: ignore[misc]
    eventually(lambda: files(tmp_path) == 3)
    before = {path.name: path.stat().st_mtime_ns for path in body_files(tmp_path)}

    def complete(index: apsw.Connection) -> None:
        upload = uploads.find_upload(index, bucket, "k", "u1")
        assert upload is not None
        uploads.complete_upload(index, upload, [2], 6, "etag-2", Traits(parts=2), 2)

    store.change(complete).result()
    eventually(lambda: files(tmp_path) == 2)
    after = {path.name: path.stat().st_mtime_ns for path in body_files(tmp_path)}
    assert after.items() <= before.items()
    reader = store.open(BUCKET, "k")
    assert reader is not None
    with reader:
        assert reader.read(0, 6) == b"AAAABB"
        assert reader.read(3, 2) == b"AB"
        assert reader.read(5, 100) == b"B"
        assert reader.read(6, 1) == b""
    assert store.ask(lambda index: uploads.find_upload(index, bucket, "k", "u1")) is None
    assert store.ask(lambda index: uploads.completed_upload(index, bucket, "k", "u1")) == ("etag-2", manifest)


def test_a_bucket_goes_with_its_uploads_and_settings(tmp_path: Path, store: ObjectStore) -> None:
    bucket = make_bucket(store)
    manifest = store.next_manifest()
    store.change(lambda index: uploads.add_upload(index, manifest, "u1", bucket.id, "k", Traits(), 1)).result()
    piece = write_piece(store, b"part")
    store.change(lambda index: keys.put_piece(index, manifest, piece)).result()
    store.change(lambda index: keys.put_setting(index, bucket.id, "tagging", "{}")).result()
    store.change(lambda index: keys.remove_bucket(index, bucket.id)).result()
    eventually(lambda: files(tmp_path) == 0)
    again = make_bucket(store)
    assert store.ask(lambda index: keys.setting(index, again.id, "tagging")) is None


def test_everything_on_the_way_to_a_body_is_synced_before_it_is_referred_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut may take any folder entry and any byte that was not synced."""
    synced: list[Path] = []
    sync = os.fsync

    def recording(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        sync(handle)

    monkeypatch.setattr(os, "fsync", recording)
    store = open_store(tmp_path)
    bucket = make_bucket(store)
    piece = write_piece(store, b"bytes")
    [body] = body_files(tmp_path)
    way = list(body.parents)
    needed = {body, *way[: way.index(tmp_path) + 1]}
    assert needed <= set(synced)
    assert synced.index(body) < len(synced) - 1 - synced[::-1].index(body.parent)
    manifest = store.next_manifest()
    store.change(lambda index: versions.put_object(index, manifest, bucket, "k", piece.etag, Traits(), [piece], 1)).result()
    assert store.ask(lambda index: (index.pragma("synchronous"), index.pragma("journal_mode"))) == (2, "wal")
    store.close()


def test_a_forgotten_reader_lets_go(tmp_path: Path, store: ObjectStore) -> None:
    bucket = make_bucket(store)
    put(store, bucket, "k", b"bytes")
    reader = store.open(BUCKET, "k")
    assert reader is not None
    assert reader.read(0, 2) == b"by"
    del reader
    store.change(lambda index: versions.delete_latest(index, bucket, "k", 1)).result()
    eventually(lambda: files(tmp_path) == 0)


def test_a_closed_reader_reads_no_more(store: ObjectStore) -> None:
    put(store, make_bucket(store), "k", b"bytes")
    reader = store.open(BUCKET, "k")
    assert reader is not None
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read(0, 1)


def test_empty_folders_of_earlier_starts_go_too(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    bucket = make_bucket(store)
    put(store, bucket, "k", b"bytes")
    store.close()
    store = open_store(tmp_path)
    put(store, bucket, "k", b"newer bytes")
    bodies = tmp_path / "objects" / "bodies"
    eventually(lambda: [path.name for path in bodies.iterdir()] == ["2"])
    store.close()


def test_the_first_body_and_a_new_upload_do_not_wait_for_each_other(store: ObjectStore) -> None:
    """The first body needs a commit, and a change in the commit before it may need a number for an upload."""
    begun = threading.Event()

    def change(_: object) -> int:
        begun.set()
        time.sleep(0.2)  # until the first body waits for the next commit
        return store.next_manifest()

    numbered = store.change(change)
    assert begun.wait(60)
    written = ThreadPoolExecutor(1).submit(store.new_body)
    assert numbered.result(60) > 0
    written.result(60).abandon()
