"""Access logs of a service that is killed, and of one that is stopped: every request is in them, and none twice."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yard import Yard, until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "objects"))

from access_log_lines import logged, policy


def spooled(service: Yard, key: str) -> bool | None:
    """Whether a request about that key is in the spool."""
    files = list((service.data / "access-logs").iterdir())
    return any(f" {key} ".encode() in path.read_bytes() for path in files) or None


def puts(s3: Any, prefix: str) -> Counter[str]:
    return Counter(record["key"] for record in logged(s3, "logs", prefix) if record["operation"] == "REST.PUT.OBJECT")


def test_no_request_is_missing_and_none_twice(new_yard: Callable[..., Yard]) -> None:
    service = new_yard("--log-delivery", "600")
    account = service.client("sts").get_caller_identity()["Account"]
    s3 = service.client("s3")
    for name in ("results", "logs"):
        s3.create_bucket(Bucket=name)
    s3.put_bucket_policy(Bucket="logs", Policy=json.dumps(policy("logs", "s3-access/", account)))
    enabled = {"TargetBucket": "logs", "TargetPrefix": "s3-access/"}
    s3.put_bucket_logging(Bucket="results", BucketLoggingStatus={"LoggingEnabled": enabled})
    for number in range(20):
        s3.put_object(Bucket="results", Key=f"killed/{number}", Body=b"x")
    until(lambda: spooled(service, "killed/19"), "the last request to be in the spool")
    service.kill()
    s3 = service.start().client("s3")
    s3.put_object(Bucket="results", Key="stopped/0", Body=b"x")
    assert service.stop() == 0
    assert not list((service.data / "access-logs").iterdir())
    s3 = service.start().client("s3")
    assert puts(s3, "s3-access/") == Counter([f"killed/{number}" for number in range(20)] + ["stopped/0"])
    figures = service.client("s3").meta.endpoint_url + "/metrics"
    assert "batchyard_access_log_records_total" in _page(figures)


def test_an_operator_is_told_what_goes_lost(new_yard: Callable[..., Yard]) -> None:
    service = new_yard("--log-delivery", "0.2")
    s3 = service.client("s3")
    for name in ("results", "closed"):
        s3.create_bucket(Bucket=name)
    enabled = {"TargetBucket": "closed", "TargetPrefix": ""}
    s3.put_bucket_logging(Bucket="results", BucketLoggingStatus={"LoggingEnabled": enabled})
    s3.put_object(Bucket="results", Key="a", Body=b"x")

    def told() -> dict[str, str] | None:
        checks = json.loads(service.cli("doctor", "--json", "--data", str(service.data), check=False).stdout)["checks"]
        return next((check for check in checks if check["subject"] == "Access logs"), None)

    found = until(told, "doctor to tell")
    assert found["result"] == "warn" and "(AccessDenied)" in found["found"] and "logging.s3.amazonaws.com" in found["fix"]
    assert "the access logs of results are dropped: closed does not take them" in service.log()


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())
