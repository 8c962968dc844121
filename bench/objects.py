"""(s) S3: one large object put and fetched beside SeaweedFS, the memory that it takes, and what SubmitJob's callers feel meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from bench import peers, scratch, targets
from bench.load import paced
from bench.report import Line, compare, percentile, show, want
from bench.uploads import MIB, PER_SECOND, fill

PART_BYTES = 64 * MIB
CONNECTIONS = 4
KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
MEMORY_PART = 0.1  # of the peer's peak, at most
SHAPES = ("put, one request", f"put, parts of {PART_BYTES // MIB} MiB on {CONNECTIONS} connections", "get, one request")


@dataclass(frozen=True, slots=True)
class Place:
    """A server with a bucket `bench`."""

    name: str
    s3: Any
    pid: int

    def presigned(self, operation: str, **params: Any) -> str:
        """A URL that anybody may use once: what it costs to sign is not measured."""
        return str(self.s3.generate_presigned_url(operation, {"Bucket": "bench", **params}))


def run(alternations: int, *, is_quick: bool) -> None:
    """Measure and print."""
    size = (64 if is_quick else 2048) * MIB
    source = scratch.folder() / "object"
    fill(source, size)
    rates: dict[tuple[str, str], list[float]] = {}
    peaks: dict[str, list[float]] = {}
    why_not = ""
    for number in range(alternations):
        for opened in (_batchyard, _seaweedfs):
            try:
                with opened() as place:
                    for shape, seconds in zip(SHAPES, _transfers(place, source, size, f"{number}"), strict=True):
                        rates.setdefault((place.name, shape), []).append(size / MIB / seconds)
                    peaks.setdefault(place.name, []).append(_peak_mib(place.pid))
            except peers.NotRun as reason:
                why_not = str(reason)
    lines = []
    for shape in SHAPES:
        ours = Line(f"Batchyard, {shape}", rates["Batchyard", shape], "MiB/s")
        theirs = Line("SeaweedFS", rates.get(("SeaweedFS", shape), []), "MiB/s", why_not=why_not)
        compare(ours, theirs, at_least=1)
        lines += [ours, theirs]
    memory = Line("Batchyard, peak memory of the server", peaks["Batchyard"], "MiB")
    peer_memory = Line("SeaweedFS", peaks.get("SeaweedFS", []), "MiB", why_not=why_not)
    if peer_memory.figures:
        ratio = memory.median / peer_memory.median
        memory.compared = f"{ratio:.2f} x SeaweedFS"
        want(memory, f"<= {MEMORY_PART:g} x SeaweedFS", ratio <= MEMORY_PART)
    show(f"(s) S3, an object of {size // MIB} MiB", [*lines, memory, peer_memory])
    show(f"(s) SubmitJob at {PER_SECOND:g}/s on one connection, time to the answer", _felt(source, size, is_quick))


@contextlib.contextmanager
def _batchyard() -> Iterator[Place]:
    with targets.running_yard("--vcpus", "1", "--memory-mib", "1024") as yard:
        assert yard.process is not None
        yield _with_bucket(Place("Batchyard", yard.client("s3"), yard.process.pid))


@contextlib.contextmanager
def _seaweedfs() -> Iterator[Place]:
    with peers.seaweedfs(KEY_ID, SECRET) as (url, pid):
        config = Config(signature_version="s3v4", s3={"addressing_style": "path"})
        made = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET, config=config
        )
        yield _with_bucket(Place("SeaweedFS", made, pid))


def _with_bucket(place: Place) -> Place:
    """The place once it takes objects: SeaweedFS answers before it has room for any."""
    deadline = time.monotonic() + 60
    while True:
        try:
            place.s3.create_bucket(Bucket="bench")
            place.s3.put_object(Bucket="bench", Key="first", Body=b"x")
            return place
        except Exception as failure:
            if time.monotonic() > deadline:
                raise peers.NotRun(f"{place.name} takes no objects: {failure}") from failure
            time.sleep(0.3)


def _transfers(place: Place, source: Path, size: int, mark: str) -> list[float]:
    """Seconds of each of `SHAPES`; what comes back is as long as what was sent."""
    whole, parts = f"whole-{mark}", f"parts-{mark}"
    taken = [_in_a_process(put, place.presigned("put_object", Key=whole), source, 0, size)]
    upload = place.s3.create_multipart_upload(Bucket="bench", Key=parts)["UploadId"]
    offsets = range(0, size, PART_BYTES)
    urls = [place.presigned("upload_part", Key=parts, UploadId=upload, PartNumber=number) for number, _ in enumerate(offsets, 1)]
    started = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        lengths = [min(PART_BYTES, size - offset) for offset in offsets]
        etags = list(pool.map(put, urls, [source] * len(urls), offsets, lengths))
    listed = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    place.s3.complete_multipart_upload(Bucket="bench", Key=parts, UploadId=upload, MultipartUpload={"Parts": listed})
    taken.append(time.perf_counter() - started)
    taken.append(_in_a_process(get, place.presigned("get_object", Key=whole), size))
    assert place.s3.head_object(Bucket="bench", Key=parts)["ContentLength"] == size
    return taken


def put(url: str, source: Path, offset: int, size: int) -> str:
    """Send a piece of a file; the ETag."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=600, blocksize=MIB)
    with open(source, "rb") as body:
        body.seek(offset)
        connection.putrequest("PUT", f"{parts.path}?{parts.query}")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        left = size
        while left:
            chunk = body.read(min(MIB, left))
            connection.send(chunk)
            left -= len(chunk)
        answer = connection.getresponse()
        said = answer.read()
    assert answer.status == 200, said
    return str(answer.headers["ETag"])


def get(url: str, size: int) -> None:
    """Fetch an object to its end and keep nothing of it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=600)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    room, found = bytearray(MIB), 0
    while count := answer.readinto(room):
        found += count
    assert found == size


def _in_a_process(work: Callable[..., Any], *arguments: Any) -> float:
    """Seconds that `work` takes in a process of its own."""
    process = multiprocessing.Process(target=work, args=arguments)
    started = time.perf_counter()
    process.start()
    process.join()
    assert process.exitcode == 0, "a transfer failed"
    return time.perf_counter() - started


def _peak_mib(pid: int) -> float:
    """The most memory that a process has held so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise peers.NotRun("this system does not say how much memory a process has held")


def _felt(source: Path, size: int, is_quick: bool) -> list[Line]:
    """SubmitJob alone, beside a put and beside a get."""
    with targets.full_batchyard() as (_yard, target):
        place = _with_bucket(Place("Batchyard", target.client("s3"), 0))
        seconds = 1.0 if is_quick else 5.0
        found = {"alone": paced(target.address, target.submissions(int(seconds * PER_SECOND), "alone"), PER_SECOND).latencies_s}
        urls = {"beside a put": (put, place.presigned("put_object", Key="k"), source, 0, size)}
        urls["beside a get"] = (get, place.presigned("get_object", Key="k"), size)
        for name, (work, *arguments) in urls.items():
            process = multiprocessing.Process(target=work, args=tuple(arguments))
            requests = target.submissions(int(60 * PER_SECOND), name.replace(" ", "-"))
            latencies: list[float] = []
            process.start()
            while process.is_alive() and requests:
                now, requests = requests[:20], requests[20:]
                latencies += paced(target.address, now, PER_SECOND).latencies_s
            process.join()
            assert process.exitcode == 0, "a transfer failed"
            found[name] = latencies
    return [Line(f"{name}, p{p * 100:g}", [percentile(times, p) * 1000], "ms") for name, times in found.items() for p in (0.5, 0.99)]
