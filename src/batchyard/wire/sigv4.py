"""AWS Signature Version 4: says whose a request is, and signs requests of our own.

    verify
      header      Authorization: AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...
      presigned   the same as X-Amz-* query parameters, with a term of at most seven days
    sign          what the command line, the bench and the tests send

Bodies that stream are not hashed here: `Verified.payload` says how the body is to be read (see `payload.py`).

    Fault
      MissingAuthenticationTokenException   nothing is signed
      IncompleteSignatureException          a part of the signature is missing or malformed
      UnrecognizedClientException           unknown key or token
      InvalidSignatureException             wrong signature, or a clock that is off
      S3 has its own: AuthorizationHeaderMalformed, AuthorizationQueryParametersError, InvalidAccessKeyId, InvalidToken,
      SignatureDoesNotMatch, RequestTimeTooSkewed, AccessDenied (presigned term over, headers not signed)
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes, urlsplit

from batchyard.model.fault import Fault
from batchyard.wire.http import HttpRequest
from batchyard.wire.sigclaims import ALGORITHM, Signature, query_pairs, raw_pairs, read_signature, wrong_signature
from batchyard.wire.sigtimes import amz_date, require_current, require_within_term

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~.-]*[A-Za-z0-9_~-])*/?")


@dataclass(frozen=True, slots=True)
class Credential:
    """A key pair and whose it is. `session_token` is set for temporary credentials; those of jobs have `is_job`."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None
    account: str
    arn: str
    user_id: str
    is_job: bool = False
    session_policy: str = ""  # narrows what a session of a role may do


@dataclass(frozen=True, slots=True)
class Verified:
    """A signature that holds. `payload` is the x-amz-content-sha256 that was signed (a hash, UNSIGNED-PAYLOAD or STREAMING-...),
    the rest is what chunk signatures go on from."""

    access_key_id: str
    credential: Credential
    region: str
    service: str
    payload: str
    amz_date: str = ""
    signature: str = ""

    @property
    def scope(self) -> str:
        """`20261122/us-east-1/s3/aws4_request`."""
        return f"{self.amz_date[:8]}/{self.region}/{self.service}/aws4_request"

    def chunk_signature(self, kind: str, previous: str, *hashes: str) -> str:
        """The signature of one chunk or trailer: `kind` is PAYLOAD or TRAILER."""
        text = "\n".join((f"{ALGORITHM}-{kind}", self.amz_date, self.scope, previous, *hashes))
        key = signing_key(self.credential.secret_access_key, self.amz_date[:8], self.region, self.service)
        return hmac.digest(key, text.encode(), "sha256").hex()


Lookup = Callable[[str, str | None], Credential | None]


def verify(request: HttpRequest, lookup: Lookup, now_s: float, body: bytes = b"") -> Verified:
    """Who signed `request`. `body` is needed of every service but S3, whose bodies are checked as they stream.

    `lookup(access_key_id, token)` gives the credential or None. Raises a `Fault` as drawn at the top.
    """
    claim = read_signature(request)
    if claim.expires_s is None:
        require_current(claim.amz_date, now_s, is_s3=claim.service == "s3")
    else:
        require_within_term(claim.amz_date, claim.expires_s, now_s, is_s3=claim.service == "s3")
    credential = credential_of(claim.service, claim.access_key_id, claim.token, lookup)
    payload = _payload_of(request, claim, body)
    key = signing_key(credential.secret_access_key, claim.day, claim.region, claim.service)
    scope = f"{claim.day}/{claim.region}/{claim.service}/aws4_request"
    for path, query in _canonical_forms(request, claim):
        canonical = _canonical_request(request, claim, path, query, payload)
        if hmac.compare_digest(_sign_text(key, claim.amz_date, scope, canonical), claim.signature):
            return Verified(claim.access_key_id, credential, claim.region, claim.service, payload, claim.amz_date, claim.signature)
    raise wrong_signature(claim.service)


def credential_of(service: str, access_key_id: str, token: str | None, lookup: Lookup) -> Credential:
    """The credential that a key and token stand for. Raises the service's `Fault` when there is none."""
    credential = lookup(access_key_id, token)
    if credential is not None and _same_token(credential.session_token, token):
        return credential
    if service != "s3":
        raise Fault("UnrecognizedClientException", "The security token included in the request is invalid.")
    if credential is not None:
        raise Fault("InvalidToken", "The provided token is malformed or otherwise invalid.")
    text = "The AWS Access Key Id you provided does not exist in our records."
    raise Fault("InvalidAccessKeyId", text, AWSAccessKeyId=access_key_id)


def _same_token(held: str | None, given: str | None) -> bool:
    if held is None:
        return given is None or given == ""
    return hmac.compare_digest(held.encode(), (given or "").encode("utf-8", "replace"))


# ---- the canonical request --------------------------------------------------------------------------------------


def _payload_of(request: HttpRequest, claim: Signature, body: bytes) -> str:
    """The last line of the canonical request."""
    stated = request.headers.get("x-amz-content-sha256")
    if claim.service == "s3":
        if stated is None:
            if claim.expires_s is None:
                raise Fault("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
            return dict(query_pairs(request.raw_query)).get("X-Amz-Content-Sha256", UNSIGNED_PAYLOAD)
        return stated
    computed = hashlib.sha256(body).hexdigest()
    # Another service's client may say that it did not sign the body only where AWS lets it, and that is in S3 alone.
    return computed if stated in (None, computed) else "mismatch"


def _canonical_forms(request: HttpRequest, claim: Signature) -> list[tuple[str, str]]:
    """(path, query) as AWS canonicalizes them; for S3 also as sent, for clients that sign their own encoding."""
    skip = "X-Amz-Signature" if claim.expires_s is not None else ""
    query = canonical_query(request.raw_query, skip) if request.raw_query else ""
    if claim.service != "s3":
        return [(canonical_path(request.raw_path), query)]
    encoded = quote(unquote_to_bytes(request.raw_path), safe="/-_.~") or "/"
    forms = [(encoded, query)]
    if encoded != request.raw_path:
        forms.append((request.raw_path, query))
    return forms


@lru_cache(maxsize=1024)
def canonical_path(raw_path: str) -> str:
    """The path of every service but S3: dots and empty segments resolved, then encoded once more."""
    if _PLAIN_PATH.fullmatch(raw_path) and "//" not in raw_path:
        return raw_path or "/"
    kept: list[str] = []
    for segment in raw_path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    ends_open = raw_path.endswith("/") and kept
    return "/" + quote("/".join(kept).encode("latin-1", "replace"), safe="/~") + ("/" if ends_open else "")


def canonical_query(raw_query: str, skip: str = "") -> str:
    """Parameters encoded alike and sorted, `skip` left out."""
    pairs = [
        (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in raw_pairs(raw_query) if not skip or name != skip.encode()
    ]
    pairs.sort()
    return "&".join(f"{name}={value}" for name, value in pairs)


def _canonical_request(request: HttpRequest, claim: Signature, path: str, query: str, payload: str) -> bytes:
    headers = request.headers
    signed = _signed_names(claim.signed_headers)
    if "host" not in signed:
        raise _not_signed(claim, "Host", "host")
    for name in headers:
        if name.startswith("x-amz-") and name not in signed:
            raise _not_signed(claim, name, name)
    lines = [request.method, path, query]
    for name in signed:
        text = headers.get(name, "")
        lines.append(f"{name}:{' '.join(text.split())}" if "  " in text else f"{name}:{text.strip()}")
    lines += ("", claim.signed_headers, payload)
    return "\n".join(lines).encode("latin-1", "replace")


@lru_cache(maxsize=512)
def _signed_names(signed_headers: str) -> dict[str, None]:
    return dict.fromkeys(signed_headers.split(";"))


def _sign_text(key: bytes, date: str, scope: str, canonical: bytes) -> str:
    text = f"{ALGORITHM}\n{date}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}"
    return hmac.digest(key, text.encode("latin-1", "replace"), "sha256").hex()


@lru_cache(maxsize=4096)
def signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """The key of one secret for one day, region and service; remembered, since a day has many requests."""
    key = hmac.digest(f"AWS4{secret}".encode(), day.encode("latin-1", "replace"), "sha256")
    for part in (region, service, "aws4_request"):
        key = hmac.digest(key, part.encode("latin-1", "replace"), "sha256")
    return key


def _not_signed(claim: Signature, shown: str, name: str) -> Fault:
    if claim.service == "s3":
        return Fault("AccessDenied", "There were headers present in the request which were not signed", HeadersNotSigned=name)
    return Fault("InvalidSignatureException", f"'{shown}' must be a 'SignedHeader' in the AWS Authorization.")


# ---- signing ----------------------------------------------------------------------------------------------------


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    credential: Credential,
    region: str,
    service: str,
    now_s: float,
    payload: str | None = None,
) -> dict[str, str]:
    """`headers` (lower-case names) with what makes them signed: host, x-amz-date, authorization and, where needed, the token
    and the payload hash. `url`'s path and query go as they will be sent. `payload` replaces the hash of `body` (S3)."""
    parts = urlsplit(url)
    date = amz_date(now_s)
    signed = {name.lower(): text for name, text in headers.items()} | {"host": parts.netloc, "x-amz-date": date}
    payload = payload or (hashlib.sha256(body).hexdigest() if body else EMPTY_SHA256)
    if credential.session_token:
        signed["x-amz-security-token"] = credential.session_token
    if service == "s3":
        signed["x-amz-content-sha256"] = payload
    names = sorted(name for name in signed if name not in ("user-agent", "expect", "transfer-encoding", "connection"))
    path = parts.path or "/"
    lines = [method, path if service == "s3" else canonical_path(path), canonical_query(parts.query)]
    lines += [f"{name}:{' '.join(signed[name].split())}" for name in names]
    lines += ["", ";".join(names), payload]
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    key = signing_key(credential.secret_access_key, date[:8], region, service)
    signature = _sign_text(key, date, scope, "\n".join(lines).encode())
    signed["authorization"] = (
        f"{ALGORITHM} Credential={credential.access_key_id}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return signed
