"""What an EC2 instance is told about itself: the instance metadata service, version 2 (a token first)."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from batchyard.scratch.provision import ScratchError

ENDPOINT = "http://169.254.169.254"
_TOKEN_S = "300"
_TIMEOUT_S = 2.0
_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Instance:
    """Where this machine is, in a cloud."""

    id: str
    zone: str
    region: str


def instance(*, limit_s: float = 20.0) -> Instance:
    """This machine. Asks again for `limit_s`, since the service may be late at boot; then raises."""
    endpoint = (os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or ENDPOINT).rstrip("/")
    deadline = time.monotonic() + limit_s
    while True:
        try:
            token = _ask(f"{endpoint}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": _TOKEN_S}, "PUT")
            headers = {"X-aws-ec2-metadata-token": token}
            about = f"{endpoint}/latest/meta-data"
            return Instance(
                _ask(f"{about}/instance-id", headers),
                _ask(f"{about}/placement/availability-zone", headers),
                _ask(f"{about}/placement/region", headers),
            )
        except (OSError, ValueError) as error:  # what urllib raises for an answer that is no success is an OSError, too
            if time.monotonic() + _PAUSE_S > deadline:
                raise ScratchError(
                    f"the instance metadata service at {endpoint} does not say which instance this is ({error}): EBS volumes need an EC2"
                    " instance with the service on (in a container: with a hop limit of 2)"
                ) from None
            time.sleep(_PAUSE_S)


def _ask(url: str, headers: dict[str, str], method: str = "GET") -> str:
    request = urllib.request.Request(url, headers=headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is link-local: a proxy would speak of itself
    with opener.open(request, timeout=_TIMEOUT_S) as answer:
        said = answer.read(4096).decode().strip()
    if not said:
        raise ValueError(f"{url} answers nothing")
    return str(said)
