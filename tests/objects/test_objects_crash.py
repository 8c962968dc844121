"""The server is killed with SIGKILL in the midst of uploads: what was acknowledged is there, what is there is whole."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from s3_serving import body_files, client, open_store

from batchyard.store import objects_keys as keys
from batchyard.store.objects import ObjectStore
from batchyard.store.objects_listing import list_page, list_versions

SERVER = """
import sys, time
from pathlib import Path
from s3_serving import open_store, served
with served(open_store(Path(sys.argv[1])), is_open=True) as url:
    print(url, flush=True)
    time.sleep(180)
"""
PART = bytes(5 * 1024 * 1024)
ROUNDS = 3


class Clients:
    """Three clients that upload until the server is gone; `acknowledged` maps keys to the MD5 of their bytes."""

    def __init__(self, url: str, round_number: int) -> None:
        self.url = url
        self.round_number = round_number
        self.acknowledged: dict[str, str] = {}
        self.has_parts = threading.Event()
        self.threads = [threading.Thread(target=self.put_small, args=(worker,)) for worker in range(2)]
        self.threads.append(threading.Thread(target=self.put_parts))

    def put_small(self, worker: int) -> None:
        """Small objects; every third one overwrites the key of one before."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        dice = random.Random(f"{self.round_number}-{worker}")
        for number in range(10_000):
            key = f"small/{self.round_number}/{worker}/{number - number % 3 if number % 3 == 2 else number}"
            content = dice.randbytes(dice.choice((0, 10, 3000, 300_000)))
            # from here on either content may be found at the key
            self.acknowledged.pop(key, None)
            try:
                connection.request("PUT", f"/bucket/{key}", body=content)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                return
            assert response.status == 200
            self.acknowledged[key] = hashlib.md5(content).hexdigest()

    def put_parts(self) -> None:
        """Objects of two parts."""
        s3 = client(self.url, connect_timeout=60, read_timeout=60)
        for number in range(10_000):
            key, tail = f"parts/{self.round_number}/{number}", os.urandom(1000)
            where = {"Bucket": "bucket", "Key": key}
            try:
                where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
                etags = [s3.upload_part(**where, PartNumber=part, Body=content)["ETag"] for part, content in ((1, PART), (2, tail))]
                parts = [{"PartNumber": at + 1, "ETag": etag} for at, etag in enumerate(etags)]
                s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
            except Exception:  # noqa: BLE001 - botocore has many names for a server that is gone
                return
            self.acknowledged[key] = hashlib.md5(PART + tail).hexdigest()
            self.has_parts.set()


def serve_and_kill(root: Path, round_number: int, after_s: float) -> dict[str, str]:
    """What was acknowledged before the server was killed. The first time that is not before an object of two parts was."""
    command = [sys.executable, "-c", SERVER, str(root)]
    paths = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}) as server:
        assert server.stdout is not None
        clients = Clients(server.stdout.readline().strip(), round_number)
        for thread in clients.threads:
            thread.start()
        time.sleep(after_s)
        deadline = time.monotonic() + 120
        while not round_number and not clients.has_parts.wait(0.1):
            assert time.monotonic() < deadline, "no object of two parts"
        server.send_signal(signal.SIGKILL)
        server.wait(60)
        for thread in clients.threads:
            thread.join()
    return clients.acknowledged


def contents(store: ObjectStore) -> dict[str, str]:
    """Key -> MD5 of the bytes, of every object; each is read to its end and compared with what the index says of it."""
    bucket = store.bucket("bucket")
    assert bucket is not None
    page = store.ask(lambda index: list_page(index, bucket, "", "", "", 100_000))
    found = {}
    for record in page.objects:
        reader = store.open("bucket", record.key)
        assert reader is not None
        with reader:
            content = reader.read(0, record.size)
        assert len(content) == record.size, record.key
        found[record.key] = hashlib.md5(content).hexdigest()
        if not record.traits.parts:
            assert found[record.key] == record.etag
    return found


@pytest.mark.parametrize("versioning", ["", "Enabled"])
def test_nothing_acknowledged_is_lost_and_nothing_half_is_found(tmp_path: Path, versioning: str) -> None:
    store = open_store(tmp_path)
    bucket = store.change(lambda index: keys.add_bucket(index, "bucket", "123456789012", "us-east-1", 1)).result()
    store.change(lambda index: keys.put_versioning(index, bucket.id, versioning)).result()
    store.close()
    acknowledged: dict[str, str] = {}
    for round_number in range(ROUNDS):
        acknowledged |= serve_and_kill(tmp_path, round_number, random.uniform(0.05, 0.9) if round_number else 1.2)
        store = open_store(tmp_path)
        found = contents(store)
        assert acknowledged.items() <= found.items()
        assert versions_are_whole(store) or not versioning
        store.close()
    store = open_store(tmp_path)
    deadline = time.monotonic() + 60
    while len(body_files(tmp_path)) != bodies_in_index(store):
        assert time.monotonic() < deadline, "what the crashes left is never swept"
        time.sleep(0.05)
    assert contents(store).items() >= acknowledged.items()
    assert any(key.startswith("parts/") for key in acknowledged)
    store.close()


def versions_are_whole(store: ObjectStore) -> int:
    """How many old versions there are; each is read, and each key has one latest version, which is its newest."""
    bucket = store.bucket("bucket")
    assert bucket is not None
    page = store.ask(lambda index: list_versions(index, bucket, "", "", "", None, 1_000_000))
    latest = [record.key for record in page.versions if record.is_latest]
    assert latest == sorted({record.key for record in page.versions})
    old = [record for record in page.versions if not record.is_latest]
    for record in old:
        reader = store.open_found(lambda _, record=record: record)  # type: ignore[misc]
        assert reader is not None
        with reader:
            assert len(reader.read(0, record.size)) == record.size
    return len(old)


def bodies_in_index(store: ObjectStore) -> int:
    query = "SELECT count(DISTINCT body) FROM piece WHERE body <> 0"
    return int(store.ask(lambda index: index.execute(query).fetchall())[0][0])
