"""The lifecycle chore is killed with SIGKILL in the midst of its work: each step is done or not done, and the next run does the rest."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from s3_serving import body_files, open_store

from batchyard.store import objects_keys as keys
from batchyard.store import objects_lifecycle
from batchyard.store import objects_versions as versions
from batchyard.store.objects_listing import list_versions
from batchyard.store.objects_records import Bucket, ObjectRecord, Piece, Traits

KEYS, VERSIONS, DAY_MS = 150, 4, 86_400_000
RULES = (
    '{"Rules": [{"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1},'
    ' "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}]}'
)
CHORE = """
import sys
from pathlib import Path
from s3_serving import open_store
from batchyard.store import objects_lifecycle
store = open_store(Path(sys.argv[1]))
objects_lifecycle.PAGE = 7
print("ready", flush=True)
objects_lifecycle.run_once(store, int(sys.argv[2]))
print("done", flush=True)
"""


def history(root: Path) -> list[ObjectRecord]:
    """All versions, each of whose contents is read; each key has exactly one latest version, its newest."""
    store = open_store(root)
    bucket = store.bucket("bucket")
    assert bucket is not None
    found = store.ask(lambda index: list_versions(index, bucket, "", "", "", None, 100_000)).versions
    for record in found:
        if not record.is_marker:
            reader = store.open_found(lambda _, record=record: record)  # type: ignore[misc]
            assert reader is not None
            with reader:
                assert reader.read(0, record.size) == record.key.encode()
    assert [record.key for record in found if record.is_latest] == sorted({record.key for record in found})
    store.close()
    return found


def fill(root: Path) -> Bucket:
    store = open_store(root)
    bucket = store.change(lambda index: keys.add_bucket(index, "bucket", "1", "us-east-1", 1)).result()
    store.change(lambda index: keys.put_versioning(index, bucket.id, "Enabled")).result()
    store.change(lambda index: keys.put_setting(index, bucket.id, "lifecycle", RULES)).result()
    kept = store.bucket("bucket")
    assert kept is not None
    for number in range(KEYS * VERSIONS):
        key = f"k{number % KEYS:04d}"
        writer = store.new_body()
        writer.write(key.encode())
        written = writer.finish()
        piece = Piece(1, written.body, written.size, written.md5, 1, {})
        store.change(
            lambda index, key=key, piece=piece: versions.put_object(  # type: ignore[misc]
                index, store.next_manifest(), kept, key, piece.etag, Traits(), [piece], 1
            )
        )
    store.close()
    return kept


def test_a_killed_run_leaves_nothing_half_done(tmp_path: Path) -> None:
    fill(tmp_path)
    assert len(history(tmp_path)) == KEYS * VERSIONS
    paths = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    for _ in range(4):
        command = [sys.executable, "-c", CHORE, str(tmp_path), str(3 * DAY_MS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}) as chore:
            assert chore.stdout is not None
            assert chore.stdout.readline() == "ready\n"
            time.sleep(random.uniform(0.0, 0.05))
            chore.send_signal(signal.SIGKILL)
            chore.wait(60)
        assert len(history(tmp_path)) >= KEYS
    store = open_store(tmp_path)
    objects_lifecycle.run_once(store, 3 * DAY_MS)
    store.close()
    found = history(tmp_path)
    # what was latest expired at 3 days and became old then: only its time as an old version has not come yet
    assert {record.key for record in found if record.is_latest and record.is_marker} == {f"k{number:04d}" for number in range(KEYS)}
    assert len(found) <= 2 * KEYS
    store = open_store(tmp_path)
    objects_lifecycle.run_once(store, 6 * DAY_MS)
    objects_lifecycle.run_once(store, 6 * DAY_MS)
    deadline = time.monotonic() + 60
    while body_files(tmp_path):
        assert time.monotonic() < deadline, "the bodies of what has expired are never removed"
        time.sleep(0.05)
    store.close()
    assert history(tmp_path) == []
