"""A disk of its own that tests can fill, and what callers are told then."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError


@contextlib.contextmanager
def small_disk_at(place: Path, size_mib: int = 32) -> Iterator[Path]:
    """A disk of its own, mounted at `place`, which is made."""
    place.mkdir()
    place.chmod(0o711)
    options = f"size={size_mib}m,mode=711"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True, timeout=60)
    if mounted.returncode:
        pytest.skip(f"a disk of its own cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=60)


def fill(disk: Path, leaving_bytes: int = 0) -> Path:
    """A file that takes all room that is left, but for `leaving_bytes`."""
    path = disk / "fill"
    out = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(out, bytes(4096))
    if leaving_bytes:
        os.ftruncate(out, max(0, os.fstat(out).st_size - leaving_bytes))
    os.close(out)
    return path


def refusal(call: Callable[[], Any]) -> tuple[str, str]:
    """(code, message) of a refusal that SDKs try again after."""
    with pytest.raises(ClientError) as refused:
        call()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500, "to be tried again"
    return refused.value.response["Error"]["Code"], refused.value.response["Error"]["Message"]
