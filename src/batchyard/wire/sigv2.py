"""S3's older presigned requests: what boto3 makes by default, whatever the endpoint, unless it is told `signature_version="s3v4"`.

Only the query string form, and only for S3. (S3 developer guide, "Signing and authenticating REST requests", query string request
authentication alternative)
"""

from __future__ import annotations

import base64
import hmac

from batchyard.model.fault import Fault
from batchyard.wire.http import HttpRequest
from batchyard.wire.sigclaims import query_pairs, wrong_signature
from batchyard.wire.sigv4 import UNSIGNED_PAYLOAD, Lookup, Verified, credential_of
from batchyard.wire.timestamps import iso8601

_WORDS = (
    "accelerate acl analytics cors defaultObjectAcl delete inventory lifecycle location logging metrics notification object-lock "
    "partNumber policy replication requestPayment restore select select-type storageClass tagging torrent uploadId uploads "
    "versionId versioning versions website response-cache-control response-content-disposition response-content-encoding "
    "response-content-language response-content-type response-expires"
)
_SUBRESOURCES = frozenset(_WORDS.split())


def is_presigned(request: HttpRequest) -> bool:
    """Whether `request` carries a signature of the older kind in its query string."""
    return "AWSAccessKeyId=" in request.raw_query


def verify(request: HttpRequest, lookup: Lookup, now_s: float) -> Verified:
    """Who made this presigned request. Its region is "", since such a signature names none. Raises S3's `Fault`s."""
    query = dict(query_pairs(request.raw_query))
    access_key_id, signature, expires = (query.get(name, "") for name in ("AWSAccessKeyId", "Signature", "Expires"))
    if not (access_key_id and signature and expires) or "authorization" in request.headers:
        raise Fault("AccessDenied", "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
    if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
        raise Fault("AccessDenied", f"Invalid date (should be seconds since epoch): {expires[:32]}")
    if now_s > int(expires):
        raise Fault("AccessDenied", "Request has expired", Expires=iso8601(int(expires)), ServerTime=iso8601(int(now_s)))
    token = query.get("x-amz-security-token") or request.headers.get("x-amz-security-token")
    credential = credential_of("s3", access_key_id, token, lookup)
    for text in _texts_to_sign(request, query, expires):
        wanted = base64.b64encode(hmac.digest(credential.secret_access_key.encode(), text.encode("latin-1"), "sha1"))
        if hmac.compare_digest(wanted, signature.encode("latin-1")):
            payload = request.headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD)
            return Verified(access_key_id, credential, "", "s3", payload)
    raise wrong_signature("s3")


def _texts_to_sign(request: HttpRequest, query: dict[str, str], expires: str) -> list[str]:
    """The text for path style, and for virtual-host style, where the bucket stands in the host's name."""
    headers = request.headers
    amz = {name: text for name, text in query.items() if name.startswith("x-amz-")}
    amz |= {name: text.strip() for name, text in headers.items() if name.startswith("x-amz-")}
    head = [
        request.method,
        headers.get("content-md5", query.get("content-md5", "")),
        headers.get("content-type", query.get("content-type", "")),
        expires,
        *(f"{name}:{amz[name]}" for name in sorted(amz)),
    ]
    chosen = sorted((name, value) for name, value in query_pairs(request.raw_query) if name in _SUBRESOURCES)
    bare = {part for part in request.raw_query.split("&") if "=" not in part}
    tail = "&".join(name if name in bare else f"{name}={value}" for name, value in chosen)
    bucket = headers.get("host", "").partition(".")[0]
    paths = (request.raw_path, f"/{bucket}{request.raw_path}")
    return ["\n".join((*head, path + (f"?{tail}" if tail else ""))) for path in paths]
