"""EC2's instance metadata, as far as a job may want it: which instance this is, where, and whether it will be taken away.

Both versions of the service are spoken, the one with a token and the one without. There are no credentials of the machine, and no user
data: a job has its own role's, at another door.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Mapping

from batchyard.compute.local.doors.listener import Request, Response
from batchyard.model.messages import Launch

ADDRESS = "127.0.0.1"  # of every instance here, as DescribeInstances says it
TOKEN_S_MOST = 21600
_TOKEN, _TTL = "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"
_TEXT = "text/plain"
_VERSIONS = ("2021-07-15", "2022-09-24", "latest")
_secret = os.urandom(32)  # of this node: its tokens die with it

Tree = Mapping[str, "str | Tree"]


def answer(launch: Launch, key: str, path: str, request: Request, notice_of: Callable[[str], str]) -> Response:
    """The answer for the instance of an attempt. `path` begins with the version of the metadata."""
    version, _, rest = path[1:].partition("/")
    if version not in _VERSIONS:
        return _listed(_VERSIONS) if not version else _missing()
    if rest == "api/token":
        return _token(key, request)
    if request.method != "GET":
        return Response(405)
    token = request.headers.get(_TOKEN)
    if token is not None and not _is_good(token, key):
        return Response(401, b"", _TEXT)
    found = _found(_tree(launch, notice_of(launch.instance)), rest)
    if found is None:
        return _missing()
    if isinstance(found, str):
        return Response(200, found.encode(), _TEXT)
    return _listed([name if isinstance(below, str) else f"{name}/" for name, below in found.items()])


def _found(tree: Tree, path: str) -> str | Tree | None:
    """What lies at a path, with or without a slash at its end."""
    here: str | Tree = tree
    for step in path.removesuffix("/").split("/") if path else ():
        if isinstance(here, str) or step not in here:
            return None
        here = here[step]
    return here


def _tree(launch: Launch, notice: str) -> Tree:
    facts = launch.facts
    assert facts is not None  # or no path would lead here
    placement = {"availability-zone": facts.zone, "availability-zone-id": facts.zone_id, "region": launch.region}
    about: dict[str, str | Tree] = {
        "ami-id": facts.machine_image,
        "hostname": "localhost",
        "instance-action": "none",
        "instance-id": launch.instance,
        "instance-life-cycle": "spot" if facts.is_spot else "on-demand",
        "instance-type": facts.instance_type,
        "local-hostname": "localhost",
        "local-ipv4": ADDRESS,
        "placement": {name: value for name, value in placement.items() if value},
        "reservation-id": "r-" + launch.instance.removeprefix("i-"),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
    }
    if notice:
        about["spot"] = {"instance-action": json.dumps({"action": "terminate", "time": notice}), "termination-time": notice}
    return {"dynamic": {"instance-identity": {"document": _identity(launch)}}, "meta-data": about}


def _identity(launch: Launch) -> str:
    facts = launch.facts
    assert facts is not None
    document = {
        "accountId": launch.account,
        "architecture": facts.architecture,
        "availabilityZone": facts.zone,
        "billingProducts": None,
        "devpayProductCodes": None,
        "marketplaceProductCodes": None,
        "imageId": facts.machine_image,
        "instanceId": launch.instance,
        "instanceType": facts.instance_type,
        "kernelId": None,
        "pendingTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(facts.instance_at_ms / 1000)),
        "privateIp": ADDRESS,
        "ramdiskId": None,
        "region": launch.region,
        "version": "2017-09-30",
    }
    return json.dumps(document, indent=2)


# --- tokens ---


def _token(key: str, request: Request) -> Response:
    """A session token (IMDSv2). It says itself until when it is good, and for which attempt."""
    if request.method != "PUT":
        return Response(405)
    if "x-forwarded-for" in request.headers:  # a proxy's: somebody outside may be asking
        return Response(403, b"", _TEXT)
    wanted = request.headers.get(_TTL, "")
    if not (wanted.isascii() and wanted.isdecimal() and len(wanted) < 6 and 1 <= int(wanted) <= TOKEN_S_MOST):
        return Response(400, b"", _TEXT)
    until = int(time.time()) + int(wanted)
    content = base64.urlsafe_b64encode(until.to_bytes(8) + _seal(key, until))
    return Response(200, content, _TEXT, (("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", wanted),))


def _is_good(token: str, key: str) -> bool:
    try:
        content = base64.urlsafe_b64decode(token)
    except ValueError:
        return False
    until = int.from_bytes(content[:8])
    return hmac.compare_digest(content[8:], _seal(key, until)) and until > time.time()


def _seal(key: str, until: int) -> bytes:
    return hmac.digest(_secret, f"{key}:{until}".encode(), hashlib.sha256)


def _listed(names: list[str] | tuple[str, ...]) -> Response:
    return Response(200, "\n".join(names).encode(), _TEXT)


def _missing() -> Response:
    """What EC2 says to a path that it does not know."""
    return Response(404, b"404 - Not Found\n", _TEXT)
