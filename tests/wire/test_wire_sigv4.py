"""Signatures against botocore's signer: what it signs is believed, what anybody changes afterwards is not."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_oracle import request

from batchyard.model.fault import Fault
from batchyard.wire import sigv2, sigv4
from batchyard.wire.http import HttpRequest
from batchyard.wire.sigv4 import Credential

NOW = datetime(2026, 11, 22, 14, 15, 0, tzinfo=UTC).timestamp()
ROOT = Credential("AKIAEXAMPLEEXAMPLE00", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None, "123456789012", "arn:root", "1")
JOB = Credential("ASIAEXAMPLEEXAMPLE00", "job/secret", "tok+en/==", "123456789012", "arn:job", "2", True)
KNOWN = {credential.access_key_id: credential for credential in (ROOT, JOB)}


def lookup(access_key_id: str, token: str | None) -> Credential | None:
    return KNOWN.get(access_key_id)


class FrozenClock(datetime):
    @classmethod
    def now(cls, tz: object = None) -> datetime:
        return datetime.fromtimestamp(NOW, UTC)

    @classmethod
    def utcnow(cls) -> datetime:
        return datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)


def botocore_signs(
    method: str,
    url: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    credential: Credential = ROOT,
    region: str = "us-east-1",
    service: str = "batch",
    presign_s: int | None = None,
) -> HttpRequest:
    """The request as botocore signs it at NOW."""
    keys = botocore.credentials.Credentials(credential.access_key_id, credential.secret_access_key, credential.session_token)
    is_s3 = service == "s3"
    if presign_s is None:
        signer = (botocore.auth.S3SigV4Auth if is_s3 else botocore.auth.SigV4Auth)(keys, service, region)
    else:
        kind = botocore.auth.S3SigV4QueryAuth if is_s3 else botocore.auth.SigV4QueryAuth
        signer = kind(keys, service, region, expires=presign_s)
    unsigned = botocore.awsrequest.AWSRequest(method, url, data=body, headers=headers or {})
    with patch("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)):
        signer.add_auth(unsigned)
    prepared = unsigned.prepare()
    parts = urlsplit(prepared.url)
    sent = {name.lower(): value.decode() if isinstance(value, bytes) else str(value) for name, value in prepared.headers.items()}
    sent.setdefault("host", parts.netloc)
    return request(method, parts.path, parts.query, sent)


def refused(signed: HttpRequest, body: bytes = b"", now_s: float = NOW) -> Fault:
    with pytest.raises(Fault) as caught:
        sigv4.verify(signed, lookup, now_s, body)
    return caught.value


TEXT = st.text("abcXYZ019-_.~ /:=+&%äé€😀*'()!$,;@?#", max_size=12)
NAMES = st.sampled_from(["x-amz-meta-a", "content-type", "x-custom", "x-amz-acl"])
HEADERS = st.dictionaries(NAMES, st.text("abc 019-_/;=", max_size=12).map(lambda t: f"v{t}v"), max_size=3)


def url_of(path: str, query: dict[str, str]) -> str:
    from urllib.parse import quote

    text = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items())
    return "http://127.0.0.1:8000/" + quote(path, safe="/~") + (f"?{text}" if text else "")


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    TEXT,
    st.dictionaries(TEXT, TEXT, max_size=3),
    HEADERS,
    st.binary(max_size=40),
    st.sampled_from([ROOT, JOB]),
    st.sampled_from(["batch", "logs", "sts", "s3"]),
    st.sampled_from(["us-east-1", "eu-central-2", "laptop"]),
)
def test_what_botocore_signs_is_believed(
    method: str, path: str, query: dict, headers: dict, body: bytes, credential: Credential, service: str, region: str
) -> None:
    url = url_of(path, query)
    signed = botocore_signs(method, url, body, headers, credential=credential, region=region, service=service)
    verified = sigv4.verify(signed, lookup, NOW, body)
    assert (verified.credential, verified.region, verified.service) == (credential, region, service)


@settings(max_examples=80, deadline=None)
@given(
    TEXT.filter(lambda path: not path.startswith("/") and "//" not in path and "./" not in f"{path}/"),
    st.dictionaries(TEXT, TEXT, max_size=3),
    HEADERS,
    st.binary(max_size=40),
    st.sampled_from([ROOT, JOB]),
    st.sampled_from(["batch", "logs", "s3"]),
)
def test_our_own_signature_is_botocores(path: str, query: dict, headers: dict, body: bytes, credential: Credential, service: str) -> None:
    url = url_of(path, query)
    theirs = botocore_signs("POST", url, body, headers, credential=credential, service=service)
    ours = sigv4.sign("POST", url, headers, body, credential, "us-east-1", service, NOW)
    assert ours["authorization"] == theirs.headers["authorization"]
    parts = urlsplit(url)
    assert sigv4.verify(request("POST", parts.path, parts.query, ours), lookup, NOW, body).credential is credential


@settings(max_examples=60, deadline=None)
@given(TEXT, st.dictionaries(TEXT, TEXT, max_size=2), st.sampled_from([ROOT, JOB]), st.sampled_from(["s3", "sts"]))
def test_presigned_requests_are_believed(path: str, query: dict, credential: Credential, service: str) -> None:
    signed = botocore_signs("GET", url_of(path, query), credential=credential, service=service, presign_s=3600)
    assert sigv4.verify(signed, lookup, NOW + 3500).credential is credential
    assert sigv4.verify(signed, lookup, NOW - 600).credential is credential


BODY = b'{"jobName": "a"}'


def good() -> HttpRequest:
    return botocore_signs(
        "POST",
        "http://127.0.0.1:8000/v1/submitjob?b=2&a=1",
        BODY,
        {"content-type": "application/json", "x-amz-target": "A.B"},
        credential=JOB,
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda r: setattr(r, "method", "PUT"),
        lambda r: setattr(r, "raw_path", "/v1/canceljob"),
        lambda r: setattr(r, "raw_query", "b=2&a=2"),
        lambda r: setattr(r, "raw_query", "b=2"),
        lambda r: r.headers.update({"content-type": "text/plain"}),
        lambda r: r.headers.update({"host": "elsewhere"}),
        lambda r: r.headers.update({"x-amz-target": "A.C"}),
        lambda r: r.headers.update({"x-amz-date": "20261122T141501Z"}),
        lambda r: r.headers.pop("content-type"),
        lambda r: r.headers.update(
            {"authorization": r.headers["authorization"][:-1] + ("0" if r.headers["authorization"][-1] != "0" else "1")}
        ),
        lambda r: r.headers.update({"authorization": r.headers["authorization"].replace("us-east-1", "us-east-2")}),
        lambda r: r.headers.update({"authorization": r.headers["authorization"].replace("/batch/", "/logs/")}),
        lambda r: r.headers.update({"authorization": r.headers["authorization"].replace("content-type;", "")}),
        lambda r: r.headers.update({"authorization": r.headers["authorization"].replace("host;", "")}),
        lambda r: r.headers.update({"authorization": r.headers["authorization"].replace(";x-amz-target", "")}),
        lambda r: r.headers.update({"authorization": re.sub("Signature=.*", "Signature=" + "A" * 64, r.headers["authorization"])}),
        lambda r: r.headers.update({"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}),
        lambda r: r.headers.update({"x-amz-security-token": JOB.session_token + "x"}),
        lambda r: r.headers.pop("x-amz-security-token"),
    ],
)
def test_nothing_that_is_signed_can_be_changed(change: object) -> None:
    sigv4.verify(good(), lookup, NOW, BODY)
    signed = good()
    change(signed)  # type: ignore[operator]
    assert refused(signed, BODY).code in ("InvalidSignatureException", "UnrecognizedClientException")


def test_the_body_is_signed_too() -> None:
    fault = refused(good(), BODY + b" ")
    assert fault.code == "InvalidSignatureException"
    assert fault.message == (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing "
        "method. Consult the service documentation for details."
    )


@pytest.mark.parametrize(("drift_s", "ok"), [(0, True), (899, True), (-899, True), (901, False), (-901, False), (10**6, False)])
def test_a_clock_may_be_off_by_a_quarter_of_an_hour(drift_s: int, ok: bool) -> None:
    s3 = botocore_signs("GET", "http://127.0.0.1:8000/b/k", service="s3")
    if ok:
        sigv4.verify(good(), lookup, NOW + drift_s, BODY)
        sigv4.verify(s3, lookup, NOW + drift_s)
        return
    assert re.match(
        r"Signature (expired|not yet current): 20261122T141500Z is (now earlier|still later) than",
        refused(good(), BODY, NOW + drift_s).message,
    )
    fault = refused(s3, b"", NOW + drift_s)
    assert fault.code == "RequestTimeTooSkewed"
    assert fault.fields["MaxAllowedSkewMilliseconds"] == "900000"


def test_late_signatures_are_told_in_awss_words() -> None:
    assert refused(good(), BODY, NOW + 3600).message == (
        "Signature expired: 20261122T141500Z is now earlier than 20261122T150000Z (20261122T151500Z - 15 min.)"
    )
    assert refused(good(), BODY, NOW - 3600).message == (
        "Signature not yet current: 20261122T141500Z is still later than 20261122T133000Z (20261122T131500Z + 15 min.)"
    )


def test_unknown_keys_and_tokens() -> None:
    stranger = Credential("AKIASTRANGER", "x", None, "", "", "")
    fault = refused(botocore_signs("POST", "http://h/", credential=stranger))
    assert (fault.code, fault.message) == ("UnrecognizedClientException", "The security token included in the request is invalid.")
    fault = refused(botocore_signs("GET", "http://h/b", credential=stranger, service="s3"))
    assert (fault.code, fault.fields) == ("InvalidAccessKeyId", {"AWSAccessKeyId": "AKIASTRANGER"})
    without = Credential(JOB.access_key_id, JOB.secret_access_key, None, "", "", "")
    assert refused(botocore_signs("POST", "http://h/", credential=without)).code == "UnrecognizedClientException"
    assert refused(botocore_signs("GET", "http://h/b", credential=without, service="s3")).code == "InvalidToken"
    surplus = Credential(ROOT.access_key_id, ROOT.secret_access_key, "not needed", "", "", "")
    assert refused(botocore_signs("POST", "http://h/", credential=surplus)).code == "UnrecognizedClientException"


def header(authorization: str, **others: str) -> HttpRequest:
    headers = {"host": "h", "x-amz-date": "20261122T141500Z", "authorization": authorization}
    return request("POST", "/v1/submitjob", "", headers | {name.replace("_", "-"): text for name, text in others.items()})


CREDENTIAL = f"Credential={ROOT.access_key_id}/20261122/us-east-1/batch/aws4_request"
HALVES = f"{CREDENTIAL}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"


@pytest.mark.parametrize(
    ("signed", "code", "part"),
    [
        (request(), "MissingAuthenticationTokenException", "Missing Authentication Token"),
        (header(""), "IncompleteSignatureException", "algorithm"),
        (header("Bearer abc"), "IncompleteSignatureException", "Unsupported AWS 'algorithm': 'Bearer'"),
        (header("AWS AKID:c2ln"), "InvalidRequest", "Please use AWS4-HMAC-SHA256"),
        (header(f"AWS4-ECDSA-P256-SHA256 {HALVES}"), "IncompleteSignatureException", "AWS4-ECDSA-P256-SHA256"),
        (header("AWS4-HMAC-SHA256 "), "IncompleteSignatureException", "requires 'Credential' parameter"),
        (header(f"AWS4-HMAC-SHA256 {CREDENTIAL}"), "IncompleteSignatureException", "requires 'Signature' parameter"),
        (header("AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=y"), "IncompleteSignatureException", "exactly 5"),
        (header("AWS4-HMAC-SHA256 Credential=a/b/c/s3/d, SignedHeaders=host, Signature=y"), "AuthorizationHeaderMalformed", "expecting"),
        (header(f"AWS4-HMAC-SHA256 {HALVES}", x_amz_date="yesterday"), "InvalidSignatureException", "Date in Credential scope"),
        (header(f"AWS4-HMAC-SHA256 {HALVES}", x_amz_date="20261122Tyesterday"), "IncompleteSignatureException", "Date must be in ISO-8601"),
        (header(f"AWS4-HMAC-SHA256 {HALVES}", x_amz_date="20261199T000000Z"), "InvalidSignatureException", "does not match"),
        (header(f"AWS4-HMAC-SHA256 {HALVES}"), "InvalidSignatureException", "does not match the signature you provided"),
        (header(f"AWS4-HMAC-SHA256 {HALVES}\xff"), "InvalidSignatureException", "does not match the signature you provided"),
        (header(f"AWS4-HMAC-SHA256 {HALVES.replace('us-east-1', chr(0xFF))}"), "InvalidSignatureException", "does not match"),
    ],
)
def test_broken_signatures_are_told_what_is_broken(signed: HttpRequest, code: str, part: str) -> None:
    fault = refused(signed)
    assert fault.code == code
    assert part in fault.message


def test_a_missing_date_is_missed() -> None:
    signed = header(f"AWS4-HMAC-SHA256 {HALVES}")
    del signed.headers["x-amz-date"]
    assert "'X-Amz-Date' or a 'Date' header" in refused(signed).message
    signed = header(f"AWS4-HMAC-SHA256 {HALVES}".replace("/batch/", "/s3/"))
    del signed.headers["x-amz-date"]
    assert refused(signed).code == "AccessDenied"


def test_the_date_header_will_do() -> None:
    signed = botocore_signs("GET", "http://h/b/k", service="s3", headers={"date": "Sun, 22 Nov 2026 14:15:00 GMT"})
    assert "x-amz-date" not in signed.headers
    assert sigv4.verify(signed, lookup, NOW).credential is ROOT


def presigned(**changes: str | None) -> HttpRequest:
    signed = botocore_signs("GET", "http://h/b/k", service="s3", presign_s=3600)
    pairs = dict(pair.partition("=")[::2] for pair in signed.raw_query.split("&"))
    for name, value in changes.items():
        key = "X-Amz-" + name.replace("_", "-")
        if value is None:
            del pairs[key]
        else:
            pairs[key] = value
    signed.raw_query = "&".join(f"{name}={value}" for name, value in pairs.items())
    return signed


@pytest.mark.parametrize(
    ("signed", "now_s", "code", "message"),
    [
        (presigned(), NOW + 3601, "AccessDenied", "Request has expired"),
        (presigned(), NOW - 3600, "AccessDenied", "Request is not valid yet"),
        (presigned(Expires="604801"), NOW, "AuthorizationQueryParametersError", "must be less than a week"),
        (presigned(Expires="-1"), NOW, "AuthorizationQueryParametersError", "must be non-negative"),
        (presigned(Expires="soon"), NOW, "AuthorizationQueryParametersError", "should be a number"),
        (presigned(Expires="9" * 40), NOW, "AuthorizationQueryParametersError", "should be a number"),
        (presigned(Expires="7200"), NOW, "SignatureDoesNotMatch", "Check your key and signing method."),
        (presigned(Expires=None), NOW, "AuthorizationQueryParametersError", "requires the X-Amz-Algorithm"),
        (presigned(Signature=None), NOW, "AuthorizationQueryParametersError", "requires the X-Amz-Algorithm"),
        (presigned(Signature="0" * 64), NOW, "SignatureDoesNotMatch", "Check your key"),
        (presigned(Signature="%00"), NOW, "SignatureDoesNotMatch", "Check your key"),
        (presigned(Algorithm="AWS4-ECDSA-P256-SHA256"), NOW, "InvalidRequest", "Please use AWS4-HMAC-SHA256"),
        (presigned(Credential="x"), NOW, "IncompleteSignatureException", "exactly 5"),
        (presigned(Date="20261122"), NOW, "AuthorizationQueryParametersError", "ISO8601 Long Format"),
        (presigned(Date="20250101T000000Z"), NOW, "AuthorizationHeaderMalformed", "Invalid credential date"),
    ],
)
def test_presigned_requests_end_and_cannot_be_changed(signed: HttpRequest, now_s: float, code: str, message: str) -> None:
    fault = refused(signed, b"", now_s)
    assert fault.code == code
    assert message in fault.message


def test_a_presigned_request_cannot_be_given_another_object_or_header() -> None:
    signed = presigned()
    signed.raw_path = "/b/other"
    assert refused(signed).code == "SignatureDoesNotMatch"
    signed = presigned()
    signed.raw_query += "&versionId=1"
    assert refused(signed).code == "SignatureDoesNotMatch"
    signed = presigned()
    signed.headers["x-amz-acl"] = "public-read"
    fault = refused(signed)
    assert (fault.code, fault.fields) == ("AccessDenied", {"HeadersNotSigned": "x-amz-acl"})
    signed = presigned()
    signed.headers["authorization"] = "AWS4-HMAC-SHA256 x"
    assert refused(signed).code == "InvalidArgument"


def test_s3_wants_the_hash_of_the_body_stated_and_does_not_encode_twice() -> None:
    signed = botocore_signs("PUT", "http://h/b/a%20b%2Bc%C3%A9", b"x", service="s3")
    assert sigv4.verify(signed, lookup, NOW).payload == signed.headers["x-amz-content-sha256"]
    # the same object, its name encoded differently on the way
    signed.raw_path = "/b/a%20b+c%c3%a9"
    assert sigv4.verify(signed, lookup, NOW).credential is ROOT
    del signed.headers["x-amz-content-sha256"]
    assert refused(signed).code == "InvalidRequest"


def test_signing_keys_are_those_of_awss_example() -> None:
    # AWS General Reference, "Examples of how to derive a signing key for Signature Version 4"
    key = sigv4.signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam")
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(max_codepoint=255), max_size=200), st.text(st.characters(max_codepoint=255), max_size=200))
def test_no_authorization_breaks_the_door(authorization: str, query: str) -> None:
    for signed in (
        request("GET", "/b/k", query, {"host": "h", "authorization": authorization, "x-amz-date": "20261122T141500Z"}),
        request("GET", "/b/k", f"X-Amz-Credential={query}", {"host": "h"}),
        request("GET", "/b/k", "", {"host": "h", "authorization": f"AWS4-HMAC-SHA256 {authorization}", "date": authorization}),
    ):
        refused(signed)


# ---- the older presigned requests of S3 -------------------------------------------------------------------------


def old_presigned(**changes: str) -> HttpRequest:
    """`GET /b/k` as boto3 presigns it by default, with parameters changed."""
    keys = botocore.credentials.Credentials(JOB.access_key_id, JOB.secret_access_key, JOB.session_token)
    unsigned = botocore.awsrequest.AWSRequest("GET", "http://h/b/k?versionId=a%20b&uploads&x-id=GetObject", headers={"content-type": "a/b"})
    unsigned.context["auth_path"] = None
    with patch("botocore.auth.time.time", lambda: NOW):
        botocore.auth.HmacV1QueryAuth(keys, expires=60).add_auth(unsigned)
    parts = urlsplit(unsigned.url)
    query = parts.query
    for name, value in changes.items():
        query = re.sub(f"(^|&){name}=[^&]*", rf"\1{name}={value}" if value else r"\1", query)
    return request("GET", parts.path, query, {"host": "h"})


def test_boto3s_older_presigned_requests_are_believed_in_path_and_host_style() -> None:
    verified = sigv2.verify(old_presigned(), lookup, NOW + 59)
    assert (verified.credential, verified.region, verified.payload) == (JOB, "", "UNSIGNED-PAYLOAD")
    in_host = old_presigned()
    in_host.raw_path = "/k"
    in_host.headers["host"] = "b.localhost:8000"
    assert sigv2.verify(in_host, lookup, NOW).credential is JOB


@pytest.mark.parametrize(
    ("changes", "now_s", "code", "part"),
    [
        ({}, NOW + 61, "AccessDenied", "Request has expired"),
        ({"Expires": "tomorrow"}, NOW, "AccessDenied", "Invalid date"),
        ({"Expires": "9999999999"}, NOW, "SignatureDoesNotMatch", "Check your key"),
        ({"Signature": "%FF"}, NOW, "SignatureDoesNotMatch", "Check your key"),
        ({"Signature": ""}, NOW, "AccessDenied", "requires the Signature"),
        ({"versionId": "other"}, NOW, "SignatureDoesNotMatch", "Check your key"),
        ({"content-type": "x"}, NOW, "SignatureDoesNotMatch", "Check your key"),
        ({"AWSAccessKeyId": "AKIASTRANGER"}, NOW, "InvalidAccessKeyId", "does not exist"),
        ({"x-amz-security-token": "stale"}, NOW, "InvalidToken", "malformed"),
    ],
)
def test_older_presigned_requests_end_and_cannot_be_changed(changes: dict[str, str], now_s: float, code: str, part: str) -> None:
    with pytest.raises(Fault) as caught:
        sigv2.verify(old_presigned(**changes), lookup, now_s)
    assert caught.value.code == code
    assert part in caught.value.message


def test_older_presigned_requests_take_no_header_that_was_not_signed() -> None:
    for name, text in (("x-amz-acl", "public-read"), ("content-md5", "x"), ("content-type", "other")):
        signed = old_presigned()
        signed.headers[name] = text
        with pytest.raises(Fault, match="does not match"):
            sigv2.verify(signed, lookup, NOW)


def test_presigned_requests_of_other_services_end_too() -> None:
    signed = botocore_signs("GET", "http://h/?Action=GetCallerIdentity", service="sts", presign_s=60)
    assert "Request has expired" in refused(signed, b"", NOW + 61).message
    assert "Request is not valid yet" in refused(signed, b"", NOW - 3600).message
    signed.raw_query = signed.raw_query.replace("X-Amz-Algorithm=AWS4-HMAC-SHA256&", "")
    assert refused(signed).code == "IncompleteSignatureException"


def test_s3_dates_that_are_none() -> None:
    for date in ("Sun, 99 Nov 2026 14:15:00 GMT", "nonsense", "20261122T141500Z"):
        signed = header(f"AWS4-HMAC-SHA256 {HALVES}".replace("/batch/", "/s3/"), date=date)
        del signed.headers["x-amz-date"]
        assert refused(signed).code in ("AccessDenied", "InvalidRequest")
    assert refused(header(f"AWS4-HMAC-SHA256 {HALVES}".replace("/batch/", "/s3/"), x_amz_date="20261122T141560Z")).code in (
        "AccessDenied",
        "InvalidRequest",
    )
