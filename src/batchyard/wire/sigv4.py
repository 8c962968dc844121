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
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

from batchyard.model.fault import Fault
from batchyard.wire.http import HttpRequest
from batchyard.wire.sigtimes import amz_date, amz_date_of_http_date, require_current, require_within_term

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~.-]*[A-Za-z0-9_~-])*/?")
_FIELDS = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")


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


class Signature(NamedTuple):
    """What a request claims: the parts of its signature, not yet believed."""

    access_key_id: str
    day: str
    region: str
    service: str
    signed_headers: str
    signature: str
    amz_date: str
    expires_s: int | None  # presigned only
    token: str | None


Lookup = Callable[[str, str | None], Credential | None]


def is_signed(request: HttpRequest) -> bool:
    """Whether a request claims an identity at all, in a header or in its query string."""
    return "authorization" in request.headers or _is_presigned(request)


def _is_presigned(request: HttpRequest) -> bool:
    return "X-Amz-Credential=" in request.raw_query or "X-Amz-Signature=" in request.raw_query


def verify(request: HttpRequest, lookup: Lookup, now_s: float, body: bytes = b"") -> Verified:
    """Who signed `request`. `body` is needed of every service but S3, whose bodies are checked as they stream.

    `lookup(access_key_id, token)` gives the credential or None. Raises a `Fault` as drawn at the top.
    """
    claim = read_signature(request)
    if claim.expires_s is None:
        require_current(claim.amz_date, now_s, is_s3=claim.service == "s3")
    else:
        require_within_term(claim.amz_date, claim.expires_s, now_s, is_s3=claim.service == "s3")
    credential = lookup(claim.access_key_id, claim.token)
    if credential is None or not _same_token(credential.session_token, claim.token):
        raise _unknown_key(claim, known=credential is not None)
    payload = _payload_of(request, claim, body)
    key = signing_key(credential.secret_access_key, claim.day, claim.region, claim.service)
    scope = f"{claim.day}/{claim.region}/{claim.service}/aws4_request"
    for path, query in _canonical_forms(request, claim):
        canonical = _canonical_request(request, claim, path, query, payload)
        if hmac.compare_digest(_sign_text(key, claim.amz_date, scope, canonical), claim.signature):
            return Verified(claim.access_key_id, credential, claim.region, claim.service, payload, claim.amz_date, claim.signature)
    raise _wrong_signature(claim.service)


# ---- reading the claim ------------------------------------------------------------------------------------------


def read_signature(request: HttpRequest) -> Signature:
    """What `request` claims. Raises a `Fault` when it claims nothing or claims it badly."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        if _is_presigned(request):
            return _read_presigned(request)
        raise Fault("MissingAuthenticationTokenException", "Missing Authentication Token")
    if _is_presigned(request):
        raise Fault(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter "
            "or the Authorization header should be specified",
        )
    scheme, _, rest = authorization.partition(" ")
    if scheme != ALGORITHM:
        raise _unsupported_scheme(scheme, rest)
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not parts.get(name)]
    date = request.headers.get("x-amz-date") or amz_date_of_http_date(request.headers.get("date"))
    if missing or not date:
        raise _incomplete(missing, date, "/s3/" in rest)
    access_key_id, day, region, service = _read_scope(parts["Credential"], "Credential")
    _require_day(day, date, service)
    signature = parts["Signature"]
    if not _SIGNATURE.fullmatch(signature):
        raise _wrong_signature(service)
    token = request.headers.get("x-amz-security-token")
    return Signature(access_key_id, day, region, service, parts["SignedHeaders"], signature, date, None, token)


def _read_presigned(request: HttpRequest) -> Signature:
    query = dict(_query_pairs(request.raw_query))
    missing = [name for name in _FIELDS if not query.get(name)]
    is_s3 = "/s3/" in query.get("X-Amz-Credential", "/s3/")
    if missing:
        needed = "X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires"
        if is_s3:
            raise Fault(
                "AuthorizationQueryParametersError",
                f"Query-string authentication version 4 requires the {needed} parameters.",
            )
        raise Fault("IncompleteSignatureException", f"AWS query-string parameters must include {', '.join(missing)}.")
    if query["X-Amz-Algorithm"] != ALGORITHM:
        raise _unsupported_scheme(query["X-Amz-Algorithm"], query["X-Amz-Credential"])
    access_key_id, day, region, service = _read_scope(query["X-Amz-Credential"], "X-Amz-Credential")
    date = query["X-Amz-Date"]
    _require_day(day, date, service)
    if not _SIGNATURE.fullmatch(query["X-Amz-Signature"]):
        raise _wrong_signature(service)
    return Signature(
        access_key_id,
        day,
        region,
        service,
        query["X-Amz-SignedHeaders"],
        query["X-Amz-Signature"],
        date,
        _read_term(query["X-Amz-Expires"]),
        query.get("X-Amz-Security-Token"),
    )


def _read_term(text: str) -> int:
    problem = None
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        problem = "X-Amz-Expires should be a number"
    elif int(text) < 0:
        problem = "X-Amz-Expires must be non-negative"
    elif int(text) > 604800:
        problem = "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"
    if problem:
        raise Fault("AuthorizationQueryParametersError", problem)
    return int(text)


def _read_scope(credential: str, name: str) -> tuple[str, str, str, str]:
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request" or not all(parts):
        is_s3 = "/s3/" in credential
        if is_s3:
            code = "AuthorizationHeaderMalformed" if name == "Credential" else "AuthorizationQueryParametersError"
            raise Fault(
                code,
                f'The authorization is malformed; the {name} is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
            )
        raise Fault(
            "IncompleteSignatureException",
            f"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential[:160]}'",
        )
    return parts[0], parts[1], parts[2], parts[3]


def _require_day(day: str, date: str, service: str) -> None:
    if date[:8] == day:
        return
    if service == "s3":
        raise Fault(
            "AuthorizationHeaderMalformed",
            f'The authorization header is malformed; Invalid credential date "{day}". This date is not the same as '
            f'X-Amz-Date: "{date[:8]}".',
        )
    raise Fault(
        "InvalidSignatureException",
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
        f"'{day}' != '{date[:8]}', from '{date}'.",
    )


# ---- the canonical request --------------------------------------------------------------------------------------


def _payload_of(request: HttpRequest, claim: Signature, body: bytes) -> str:
    """The last line of the canonical request."""
    stated = request.headers.get("x-amz-content-sha256")
    if claim.service == "s3":
        if stated is None:
            if claim.expires_s is None:
                raise Fault("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
            return dict(_query_pairs(request.raw_query)).get("X-Amz-Content-Sha256", UNSIGNED_PAYLOAD)
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
        (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in _raw_pairs(raw_query) if not skip or name != skip.encode()
    ]
    pairs.sort()
    return "&".join(f"{name}={value}" for name, value in pairs)


def _raw_pairs(raw_query: str) -> list[tuple[bytes, bytes]]:
    pairs = []
    for pair in raw_query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            pairs.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return pairs


def _query_pairs(raw_query: str) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in _raw_pairs(raw_query)]


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


# ---- refusals ---------------------------------------------------------------------------------------------------


def _same_token(held: str | None, given: str | None) -> bool:
    if held is None:
        return given is None or given == ""
    return hmac.compare_digest(held.encode(), (given or "").encode("utf-8", "replace"))


def _unknown_key(claim: Signature, *, known: bool) -> Fault:
    if claim.service != "s3":
        return Fault("UnrecognizedClientException", "The security token included in the request is invalid.")
    if known:
        return Fault("InvalidToken", "The provided token is malformed or otherwise invalid.")
    return Fault(
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
        AWSAccessKeyId=claim.access_key_id,
    )


def _wrong_signature(service: str) -> Fault:
    text = "The request signature we calculated does not match the signature you provided. "
    if service == "s3":
        return Fault("SignatureDoesNotMatch", text + "Check your key and signing method.")
    return Fault(
        "InvalidSignatureException",
        text + "Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
    )


def _not_signed(claim: Signature, shown: str, name: str) -> Fault:
    if claim.service == "s3":
        return Fault("AccessDenied", "There were headers present in the request which were not signed", HeadersNotSigned=name)
    return Fault("InvalidSignatureException", f"'{shown}' must be a 'SignedHeader' in the AWS Authorization.")


def _unsupported_scheme(scheme: str, rest: str) -> Fault:
    if "/s3/" in rest or scheme == "AWS":
        text = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        return Fault("InvalidRequest", text)
    return Fault("IncompleteSignatureException", f"Unsupported AWS 'algorithm': '{scheme[:64]}'. Use {ALGORITHM}.")


def _incomplete(missing: list[str], date: str | None, is_s3: bool) -> Fault:
    if is_s3 and not missing:
        return Fault("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    wants = [f"Authorization header requires '{name}' parameter." for name in missing]
    if not date:
        wants.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if is_s3:
        return Fault("AuthorizationHeaderMalformed", f"The authorization header is malformed; {' '.join(wants)}")
    return Fault("IncompleteSignatureException", " ".join(wants))


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
