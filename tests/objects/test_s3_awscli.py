"""The AWS CLI against the object store, as people use it."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from s3_serving import ACCOUNT, KEYS

Aws = Callable[..., str]


@pytest.fixture(scope="module")
def aws(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    """Runs `aws` with these words; gives what it prints."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEYS[ACCOUNT].access_key_id,
        "AWS_SECRET_ACCESS_KEY": KEYS[ACCOUNT].secret_access_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    def run(*words: str | Path) -> str:
        command = [str(Path(sys.executable).parent / "aws"), *map(str, words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_tour(aws: Aws, tmp_path: Path) -> None:
    reads = tmp_path / "reads"
    (reads / "lane 1").mkdir(parents=True)
    big = os.urandom(17 * 1024 * 1024)  # beyond the CLI's threshold: three parts
    (reads / "big.bam").write_bytes(big)
    (reads / "lane 1" / "é.fastq").write_text("@r\n")
    (reads / "empty").touch()
    assert "make_bucket: tour" in aws("s3", "mb", "s3://tour")
    aws("s3", "sync", reads, "s3://tour/reads")
    assert aws("s3", "sync", reads, "s3://tour/reads") == ""
    listing = aws("s3", "ls", "--recursive", "s3://tour/")
    assert [line.split(maxsplit=3)[2:] for line in listing.splitlines()] == [
        [str(len(big)), "reads/big.bam"],
        ["0", "reads/empty"],
        ["3", "reads/lane 1/é.fastq"],
    ]
    aws("s3", "cp", "s3://tour/reads/big.bam", "s3://tour/copy.bam")
    aws("s3", "mv", "s3://tour/reads/lane 1/é.fastq", "s3://tour/moved")
    aws("s3", "sync", "s3://tour", tmp_path / "back")
    assert (tmp_path / "back" / "copy.bam").read_bytes() == big
    assert (tmp_path / "back" / "moved").read_text() == "@r\n"
    url = aws("s3", "presign", "s3://tour/moved").strip()
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"@r\n"
    aws("s3", "rm", "--recursive", "s3://tour/reads/")
    assert [line.split()[-1] for line in aws("s3", "ls", "--recursive", "s3://tour").splitlines()] == ["copy.bam", "moved"]
    aws("s3", "rb", "--force", "s3://tour")
    assert aws("s3", "ls") == ""
