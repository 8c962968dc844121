"""(d) What SubmitJob's callers feel while two large uploads run: times to the answer at a steady rate, without and with them."""

from __future__ import annotations

import http.client
import multiprocessing
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlsplit

from bench import scratch, targets
from bench.load import paced
from bench.report import Line, percentile, show
from bench.targets import Target

UPLOADS = 2
PER_SECOND = 100.0
MIB = 2**20


def run(*, is_quick: bool) -> None:
    """Measure and print. The uploads are plain PUTs that leave the body unsigned, so that the clients cost little."""
    size = 64 * MIB if is_quick else 1024 * MIB
    source = scratch.folder() / "upload"
    fill(source, size)
    with targets.full_batchyard() as (_yard, target):
        s3 = target.client("s3")
        s3.create_bucket(Bucket="bench")
        seconds = 1.0 if is_quick else 5.0
        alone = paced(target.address, target.submissions(int(seconds * PER_SECOND), "alone"), PER_SECOND)
        beside, upload_s = _beside_uploads(target, s3, source, size)
        for number in range(UPLOADS):
            assert s3.head_object(Bucket="bench", Key=f"upload-{number}")["ContentLength"] == size
    measured = (("alone", alone.latencies_s), (f"beside {UPLOADS} uploads of {size // MIB} MiB", beside))
    lines = [Line(f"{name}, p{p * 100:g}", [percentile(found, p) * 1000], "ms") for name, found in measured for p in (0.5, 0.99)]
    lines.append(Line("the uploads together", [UPLOADS * size / MIB / upload_s], "MiB/s"))
    show(f"(d) SubmitJob at {PER_SECOND:g}/s on one connection, time to the answer", lines)


def _beside_uploads(target: Target, s3: object, source: Path, size: int) -> tuple[list[float], float]:
    """(times to the answer while all uploads were running, seconds that the uploads took)."""
    done = multiprocessing.Event()
    urls = [s3.generate_presigned_url("put_object", {"Bucket": "bench", "Key": f"upload-{n}"}) for n in range(UPLOADS)]  # type: ignore[attr-defined]
    clients = [multiprocessing.Process(target=_upload, args=(url, source, size, done)) for url in urls]
    requests = target.submissions(int(120 * PER_SECOND), "beside")
    started = time.perf_counter()
    for client in clients:
        client.start()
    latencies: list[float] = []
    while not done.is_set() and requests:
        now, requests = requests[:20], requests[20:]
        latencies += paced(target.address, now, PER_SECOND).latencies_s
    for client in clients:
        client.join()
    assert all(client.exitcode == 0 for client in clients), "an upload failed"
    return latencies, time.perf_counter() - started


def _upload(url: str, source: Path, size: int, done: Event) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=600, blocksize=MIB)
    with open(source, "rb") as body:
        connection.request("PUT", f"{parts.path}?{parts.query}", body, {"Content-Length": str(size)})
        answer = connection.getresponse()
        said = answer.read()
    done.set()
    assert answer.status == 200, said


def fill(path: Path, size: int) -> None:
    """Make a file of that size, a multiple of 1 MiB."""
    block = bytes(range(256)) * 4096
    with path.open("wb") as out:
        for _ in range(size // len(block)):
            out.write(block)
