"""Reads what a request claims of who signed it: the parts of a signature, in a header or in the query string, not yet believed."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from batchyard.model.fault import Fault
from batchyard.wire.http import HttpRequest
from batchyard.wire.sigtimes import amz_date_of_http_date

ALGORITHM = "AWS4-HMAC-SHA256"

_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_FIELDS = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")


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


def is_signed(request: HttpRequest) -> bool:
    """Whether a request claims an identity at all, in a header or in its query string."""
    return "authorization" in request.headers or _is_presigned(request)


def _is_presigned(request: HttpRequest) -> bool:
    return "X-Amz-Credential=" in request.raw_query or "X-Amz-Signature=" in request.raw_query


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
        raise wrong_signature(service)
    token = request.headers.get("x-amz-security-token")
    return Signature(access_key_id, day, region, service, parts["SignedHeaders"], signature, date, None, token)


def _read_presigned(request: HttpRequest) -> Signature:
    query = dict(query_pairs(request.raw_query))
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
        raise wrong_signature(service)
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


def raw_pairs(raw_query: str) -> list[tuple[bytes, bytes]]:
    """Name and value of every parameter, percent-decoded."""
    pairs = []
    for pair in raw_query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            pairs.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return pairs


def query_pairs(raw_query: str) -> list[tuple[str, str]]:
    """The same as text, byte for byte."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw_pairs(raw_query)]


def wrong_signature(service: str) -> Fault:
    """The fault for a signature that is not the one we compute, in the words of the service."""
    text = "The request signature we calculated does not match the signature you provided. "
    if service == "s3":
        return Fault("SignatureDoesNotMatch", text + "Check your key and signing method.")
    return Fault(
        "InvalidSignatureException",
        text + "Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
    )


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
