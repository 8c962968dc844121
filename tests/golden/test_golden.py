"""Data folders that the first release left, stopped and killed, opened by today's service: all is as it was, and it goes on."""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from make_golden import PART, described

from yard import Yard

HERE = Path(__file__).parent
# What a job that is not over may say otherwise a moment later.
MOVES = {"status", "statusReason", "startedAt", "stoppedAt", "attempts", "statusSummary", "exitCode", "reason", "logStreamName"}
MOVES |= {"taskArn", "containerInstanceArn", "statusSummaryLastUpdatedAt", "networkInterfaces"}


class Golden(Yard):
    """A yard on a copy of a golden folder, with what the release had answered before."""

    was: dict[str, Any]


@pytest.fixture(params=["stopped", "killed"])
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Golden]:
    tmp_path.chmod(0o711)
    with tarfile.open(HERE / f"first-{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="fully_trusted")
    yard = Golden(tmp_path / "data", "--vcpus", "4", "--memory-mib", "4096", "--runtime", "process")
    yard.was = json.loads((tmp_path / "answers.json").read_text())
    yard.start()
    yield yard
    yard.down()


def differences(was: Any, now: Any, *, but: frozenset[str] = frozenset(), path: str = "") -> Iterator[str]:
    """Where `now` does not say all that `was` said. It may say more."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key, value in was.items():
            if key not in but:
                yield from differences(value, now.get(key), but=but, path=f"{path}.{key}")
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, (before, after) in enumerate(zip(was, now, strict=True)):
            yield from differences(before, after, but=but, path=f"{path}[{number}]")
    elif was != now:
        yield f"{path}: was {was!r}, is {now!r}"


def test_a_folder_of_the_first_release_is_whole_and_goes_on(golden: Golden) -> None:
    names = golden.was.pop("names")
    jobs = names["jobs"]
    now = json.loads(json.dumps(described(golden.client, names)))
    over = {j["jobId"] for j in golden.was["jobs"] if j["status"] in ("SUCCEEDED", "FAILED")}
    for before, after in zip(golden.was.pop("jobs"), now.pop("jobs"), strict=True):
        but = frozenset() if before["jobId"] in over else frozenset(MOVES)
        assert list(differences(before, after, but=but, path=before["jobName"])) == []
    assert list(differences(golden.was, now, but=frozenset({"desiredvCpus"}))) == []  # what its jobs call for just now

    ends = {name: golden.until(id, patience_s=60) for name, id in jobs.items()}
    assert {name for name, job in ends.items() if job["status"] == "FAILED"} == {"failed", "doomed", "lost", "cancelled"}
    assert ends["lost"]["statusReason"].startswith("Host EC2 (instance i-")
    assert len(ends["resumed"]["attempts"]) == 2
    assert golden.logs(ends["waiting"]) == ["second hello"]
    assert golden.logs(golden.job(f"{jobs['half']}:3")) == ["child 3"]
    for name in ("half", "beside", "one-by-one"):
        assert ends[name]["arrayProperties"]["statusSummary"]["SUCCEEDED"] == ends[name]["arrayProperties"]["size"]
    again = golden.until(golden.submit("say:1"))
    assert (again["status"], golden.logs(again)) == ("SUCCEEDED", ["hello green"])


def test_objects_of_the_first_release_are_read_and_its_upload_is_completed(golden: Golden) -> None:
    s3 = golden.client("s3")
    bodies = {"nothing": b"", "dir/é +%.txt": b"text" * 1000, "twice": b"second", "whole": PART + b"tail"}
    assert {o["Key"] for o in s3.list_objects_v2(Bucket="golden")["Contents"]} == set(bodies)
    for key, body in bodies.items():
        assert s3.get_object(Bucket="golden", Key=key)["Body"].read() == body
    upload = golden.was["names"]["upload"]
    (known,) = s3.list_multipart_uploads(Bucket="golden")["Uploads"]
    assert (known["Key"], known["UploadId"]) == ("open", upload)
    more = s3.upload_part(Bucket="golden", Key="open", UploadId=upload, PartNumber=3, Body=b"unused")
    assert more["ETag"]
    parts = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in golden.was["parts"]]
    s3.complete_multipart_upload(Bucket="golden", Key="open", UploadId=upload, MultipartUpload={"Parts": parts})
    assembled = s3.get_object(Bucket="golden", Key="open")
    assert (assembled["Body"].read(), assembled["Metadata"]) == (PART + b"end", {"up": "load"})
    s3.put_bucket_versioning(Bucket="golden", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="golden", Key="twice", Body=b"third")
    versions = s3.list_object_versions(Bucket="golden", Prefix="twice")["Versions"]
    old = next(v["VersionId"] for v in versions if not v["IsLatest"])
    assert s3.get_object(Bucket="golden", Key="twice", VersionId=old)["Body"].read() == b"second"
    golden.client("logs").put_log_events(
        logGroupName="own",
        logStreamName="stream",
        logEvents=[{"timestamp": int(time.time() * 1000), "message": "line 3"}],  # what is older than 14 days is not taken
    )
    assert [e["message"][:6] for e in golden.client("logs").filter_log_events(logGroupName="own")["events"]] == [
        f"line {n}" for n in range(4)
    ]
