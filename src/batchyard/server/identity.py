"""Turns what a request proves (or, with `--auth off`, merely claims) into the identity and the namespace it works in."""

from __future__ import annotations

import ipaddress

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.wire import sigclaims
from batchyard.wire.http import HttpRequest
from batchyard.wire.sigv4 import Credential, Verified

ANYBODY = "anybody"


def root_arn(account: str) -> str:
    """The ARN of an account's root identity."""
    return f"arn:aws:iam::{account}:root"


def job_arn(account: str, role: str, session: str) -> str:
    """The ARN that the temporary credentials of a job go by."""
    return f"arn:aws:sts::{account}:assumed-role/{role}/{session}"


def caller_of(verified: Verified, default_region: str, request_id: str) -> Caller:
    """Who signed. Any region of a credential scope is a namespace of its own, as on AWS; old signatures of S3 name none."""
    held = verified.credential
    region = verified.region or default_region
    return Caller(held.account, region, held.access_key_id, held.arn, held.user_id, request_id, held.is_job, held.session_policy)


def unproven_caller(request: HttpRequest, account: str, region: str, request_id: str) -> Caller:
    """With `--auth off`: the root identity, in the region that the request claims, else in `region`."""
    claimed_region, access_key_id = region, ANYBODY
    if sigclaims.is_signed(request):
        try:
            claim = sigclaims.read_signature(request)
        except Fault:
            pass  # whatever is wrong with a signature that nobody asks for
        else:
            claimed_region, access_key_id = claim.region, claim.access_key_id
    return Caller(account, claimed_region, access_key_id, root_arn(account), account, request_id)


def anonymous_caller(region: str, request_id: str) -> Caller:
    """Nobody in particular: only S3 has answers for such a caller, where a bucket says so."""
    return Caller("", region, "", "", "anonymous", request_id)


def root_credential(access_key_id: str, secret_access_key: str, account: str) -> Credential:
    """The credential of an account's root identity."""
    return Credential(access_key_id, secret_access_key, None, account, root_arn(account), account)


def refuse_web_pages(request: HttpRequest, known_hosts: frozenset[str]) -> None:
    """Without signatures, any page open in the user's browser could submit jobs to a server on loopback: directly, or through a
    name that its owner lets resolve to 127.0.0.1. Requests that a foreign page makes say so in `Origin` or `Sec-Fetch-Site`, and
    such a name stands in `Host`. Raises `Fault("AccessDeniedException")`."""
    headers = request.headers
    host = headers.get("host", "")
    if not _is_known_host(host, known_hosts):
        raise Fault(
            "AccessDeniedException",
            f"Without signatures this server answers only to an IP address or to localhost, not to {host[:128]!r}.",
        )
    origin = headers.get("origin")
    is_foreign = origin is not None and origin.partition("://")[2] != host
    if is_foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise Fault("AccessDeniedException", "Without signatures this server does not answer requests of web pages.")


def _is_known_host(host: str, known_hosts: frozenset[str]) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name in ("", "localhost") or name.endswith(".localhost") or name in known_hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
