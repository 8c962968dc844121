"""Bodies as S3 clients send them: framed, signed chunk by chunk, with checksums before or after; and every way to get them wrong."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_oracle import request

from batchyard.model.fault import Fault
from batchyard.wire import checksums
from batchyard.wire.awschunked import SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER
from batchyard.wire.http import HttpRequest
from batchyard.wire.payload import open_body
from batchyard.wire.sigv4 import Credential, Verified, verify

# Amazon S3 API reference, "Signature calculations for the authorization header: transferring payload in multiple chunks" and
# "... including trailing headers": the published keys, dates, chunks and signatures.
EXAMPLE = Credential("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None, "1", "arn", "1")
EXAMPLE_S = datetime(2013, 5, 24, tzinfo=UTC).timestamp()
CHUNKS = (b"a" * 65536, b"a" * 1024)
SIGNATURES = (
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
)
TRAILER_SIGNATURES = (
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
)
TRAILER = (
    b"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
)


def example_request(*, trailer: bool) -> HttpRequest:
    credential = "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
    headers = {
        "host": "s3.amazonaws.com",
        "x-amz-date": "20130524T000000Z",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-decoded-content-length": "66560",
        "content-encoding": "aws-chunked",
    }
    if trailer:
        headers |= {"x-amz-content-sha256": SIGNED_TRAILER, "x-amz-trailer": "x-amz-checksum-crc32c"}
        names = "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer"
        seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
    else:
        headers |= {"x-amz-content-sha256": SIGNED, "content-length": "66824"}
        names = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class"
        seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    headers["authorization"] = f"AWS4-HMAC-SHA256 {credential},SignedHeaders={names},Signature={seed}"
    return request("PUT", "/examplebucket/chunkObject.txt", "", headers)


def framed(chunks: tuple[bytes, ...], signatures: tuple[str, ...]) -> bytes:
    parts = [
        b"%x;chunk-signature=%s\r\n%s\r\n" % (len(chunk), signature.encode(), chunk)
        for chunk, signature in zip((*chunks, b""), signatures, strict=True)
    ]
    return b"".join(parts)


def framed_with_trailer() -> bytes:
    return framed(CHUNKS, TRAILER_SIGNATURES)[:-2] + TRAILER


def unsigned(chunks: tuple[bytes, ...], trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


def received(sent: HttpRequest, body: bytes, verified: Verified | None = None, size: int = 1 << 20) -> bytes:
    """What the storing side gets of `body` when it arrives in pieces of `size`."""

    async def collect() -> bytes:
        sent.body = pieces(body, size)
        sent.body = open_body(sent, verified)
        return b"".join([piece async for piece in sent.body])

    return asyncio.run(collect())


def refused(sent: HttpRequest, body: bytes, verified: Verified | None = None) -> Fault:
    with pytest.raises(Fault) as caught:
        received(sent, body, verified)
    return caught.value


def put(**headers: str) -> HttpRequest:
    return request("PUT", "/b/k", "", {name.replace("_", "-"): text for name, text in headers.items()})


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@pytest.mark.parametrize("size", [1, 7, 1000, 65536, 1 << 20])
def test_signed_chunks_of_the_published_example(size: int) -> None:
    sent = example_request(trailer=False)
    verified = verify(sent, lambda key, token: EXAMPLE, EXAMPLE_S)
    body = framed(CHUNKS, SIGNATURES)
    assert len(body) == 66824
    assert received(sent, body, verified, size) == b"".join(CHUNKS)


@pytest.mark.parametrize("size", [1, 13, 1 << 20])
def test_signed_chunks_and_trailer_of_the_published_example(size: int) -> None:
    sent = example_request(trailer=True)
    verified = verify(sent, lambda key, token: EXAMPLE, EXAMPLE_S)
    assert received(sent, framed_with_trailer(), verified, size) == b"".join(CHUNKS)
    assert sent.trailers == {"x-amz-checksum-crc32c": "sOO8/Q=="}


@pytest.mark.parametrize("at", [3, 30, 200, 65700, 65800, 66700, 66800])
def test_any_changed_byte_of_signed_chunks_is_found(at: int) -> None:
    sent = example_request(trailer=False)
    verified = verify(sent, lambda key, token: EXAMPLE, EXAMPLE_S)
    body = bytearray(framed(CHUNKS, SIGNATURES))
    body[at] ^= 1
    assert refused(sent, bytes(body), verified).code in ("SignatureDoesNotMatch", "InvalidRequest", "IncompleteBody")


def test_a_changed_or_missing_trailer_is_found() -> None:
    for before, after, code in (
        (b"sOO8/Q==", b"sOO8/A==", "SignatureDoesNotMatch"),
        (b"d81f82", b"d81f83", "SignatureDoesNotMatch"),
        (b"x-amz-trailer-signature:d8", b"x-else:d8", "SignatureDoesNotMatch"),
    ):
        sent = example_request(trailer=True)
        verified = verify(sent, lambda key, token: EXAMPLE, EXAMPLE_S)
        assert refused(sent, framed_with_trailer().replace(before, after), verified).code == code


def test_chunks_left_out_or_swapped_are_found() -> None:
    sent = example_request(trailer=False)
    verified = verify(sent, lambda key, token: EXAMPLE, EXAMPLE_S)
    first, second, last = SIGNATURES
    assert refused(sent, framed(CHUNKS[:1], (first, last)), verified).code == "SignatureDoesNotMatch"
    assert refused(sent, framed(CHUNKS[::-1], (second, first, last)), verified).code == "SignatureDoesNotMatch"
    assert refused(sent, framed(CHUNKS, SIGNATURES)[:-20], verified).code == "IncompleteBody"
    assert refused(sent, framed(CHUNKS, SIGNATURES)[: 65536 + 100], verified).code == "IncompleteBody"
    assert refused(sent, framed(CHUNKS, SIGNATURES) + b"x", verified).code == "InvalidRequest"


UNSIGNED = {"x_amz_content_sha256": UNSIGNED_TRAILER, "x_amz_trailer": "x-amz-checksum-crc32"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.integers(1, 400))
def test_unsigned_chunks_with_a_trailing_checksum(chunks: list[bytes], size: int) -> None:
    whole = b"".join(chunks)
    crc = b64(zlib.crc32(whole).to_bytes(4, "big"))
    sent = put(**UNSIGNED, x_amz_decoded_content_length=str(len(whole)))
    assert received(sent, unsigned(tuple(chunks), b"x-amz-checksum-crc32:%s\r\n" % crc.encode()), None, size) == whole
    assert sent.trailers == {"x-amz-checksum-crc32": crc}


CRC_OF_A = b64(zlib.crc32(b"a").to_bytes(4, "big"))
GOOD_TRAILER = f"x-amz-checksum-crc32:{CRC_OF_A}\r\n".encode()


@pytest.mark.parametrize(
    ("headers", "body", "code", "part"),
    [
        ({}, unsigned((b"b",), GOOD_TRAILER), "BadDigest", "The CRC32 you specified did not match"),
        ({}, unsigned((b"a",)), "InvalidRequest", "did not come"),
        ({}, unsigned((b"a",), b"x-amz-checksum-crc32:!!\r\n"), "InvalidRequest", "Value for x-amz-checksum-crc32 header is invalid."),
        ({}, unsigned((b"a",), b"x-amz-checksum-sha1:AAAA\r\n" + GOOD_TRAILER), "InvalidRequest", "not announced"),
        ({}, unsigned((b"a",), b"no colon\r\n"), "InvalidRequest", "not an expected trailer"),
        ({}, unsigned((b"a",), b"x:y\r\n" * 40), "InvalidRequest", "not an expected trailer"),
        ({}, unsigned((b"aa",), GOOD_TRAILER), "IncompleteBody", "1 bytes were announced"),
        ({}, unsigned((), GOOD_TRAILER), "IncompleteBody", "1 bytes were announced, 0 came"),
        ({}, b"zz\r\na\r\n0\r\n\r\n", "InvalidRequest", "not the head of a chunk"),
        ({}, b"1;chunk-signature=" + b"0" * 64 + b"\r\na\r\n0\r\n\r\n", "InvalidRequest", "signature"),
        ({}, b"1\r\nab\r\n0\r\n\r\n", "InvalidRequest", "longer than its head says"),
        ({}, b"ffffffffffffffff\r\n", "InvalidRequest", "not the head of a chunk"),
        ({}, b"-1\r\na", "InvalidRequest", "not the head of a chunk"),
        ({}, b"1" * 5000, "InvalidRequest", "too long"),
        ({}, b"1\r\na", "IncompleteBody", "last chunk"),
        ({}, b"", "IncompleteBody", "last chunk"),
        ({"x_amz_decoded_content_length": "x"}, b"", "InvalidArgument", "must be a number"),
        ({"x_amz_trailer": "x-amz-checksum-xxhash3"}, b"", "InvalidRequest", "XXHASH3 is not available here"),
        ({"x_amz_trailer": "x-amz-checksum-foo"}, b"", "InvalidRequest", "FOO is not known"),
        ({"x_amz_trailer": "x-amz-checksum-crc32,x-amz-checksum-sha1"}, b"", "InvalidRequest", "Expecting a single"),
        ({"x_amz_content_sha256": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"}, b"", "InvalidRequest", "not supported"),
        ({"x_amz_content_sha256": "hello"}, b"", "InvalidArgument", "must be UNSIGNED-PAYLOAD"),
    ],
)
def test_broken_framing_and_trailers_are_refused(headers: dict[str, str], body: bytes, code: str, part: str) -> None:
    fault = refused(put(**(UNSIGNED | {"x_amz_decoded_content_length": "1"} | headers)), body)
    assert fault.code == code
    assert part in fault.message


def test_framing_needs_the_decoded_length() -> None:
    assert refused(put(**UNSIGNED), unsigned((b"a",), GOOD_TRAILER)).code == "MissingContentLength"


@pytest.mark.parametrize("algorithm", sorted(checksums.ALGORITHMS))
def test_checksums_in_headers_are_checked(algorithm: str) -> None:
    right = checksums.checksum_base64(algorithm, b"some bytes")
    wrong = checksums.checksum_base64(algorithm, b"other bytes")
    headers = {f"x_amz_checksum_{algorithm}": right, "content_length": "10"}
    assert received(put(**headers), b"some bytes") == b"some bytes"
    fault = refused(put(**headers | {f"x_amz_checksum_{algorithm}": wrong}), b"some bytes")
    assert (fault.code, algorithm.upper() in fault.message) == ("BadDigest", True)
    assert refused(put(**headers | {f"x_amz_checksum_{algorithm}": "AAA"}), b"some bytes").code == "InvalidRequest"


def test_the_checksum_of_an_object_to_be_is_not_that_of_the_document_that_completes_it() -> None:
    done = request("POST", "/b/k", "uploadId=1", {"x-amz-checksum-crc32": CRC_OF_A, "x-amz-checksum-type": "FULL_OBJECT"})
    assert received(done, b"<CompleteMultipartUpload/>") == b"<CompleteMultipartUpload/>"


def test_hash_length_and_md5_of_a_plain_body() -> None:
    sha = hashlib.sha256(b"abc").hexdigest()
    md5 = b64(hashlib.md5(b"abc").digest())
    good = {"x_amz_content_sha256": sha, "content_length": "3", "content_md5": md5}
    assert received(put(**good), b"abc", None, 1) == b"abc"
    assert refused(put(**good | {"content_length": "4"}), b"abc").code == "IncompleteBody"
    assert refused(put(**good | {"content_length": "2"}), b"abc").code == "IncompleteBody"
    fault = refused(put(**good | {"x_amz_content_sha256": "0" * 64}), b"abc")
    assert (fault.code, fault.fields["S3ComputedContentSHA256"]) == ("XAmzContentSHA256Mismatch", sha)
    assert refused(put(**good | {"content_md5": b64(hashlib.md5(b"x").digest())}), b"abc").code == "BadDigest"
    assert refused(put(**good | {"content_md5": "x"}), b"abc").code == "InvalidDigest"


# ---- the checksums themselves -----------------------------------------------------------------------------------


def bitwise_crc(polynomial: int, width: int, text: bytes) -> int:
    """The definition: one bit at a time."""
    ones = (1 << width) - 1
    state = ones
    for byte in text:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (polynomial if state & 1 else 0)
    return state ^ ones


@pytest.mark.parametrize(
    ("make", "polynomial", "width", "check"),
    [(checksums.crc32c, 0x82F63B78, 32, 0xE3069283), (checksums.crc64nvme, 0x9A6C9329AC4BC9B5, 64, 0xAE8B14860A799888)],
)
def test_crcs_are_right_however_the_bytes_arrive(make: object, polynomial: int, width: int, check: int) -> None:
    def crc(*parts: bytes) -> int:
        checksum = make()  # type: ignore[operator]
        for part in parts:
            checksum.update(part)
        return int.from_bytes(checksum.digest(), "big")

    assert crc(b"123456789") == check
    assert crc() == crc(b"") == 0
    text = hashlib.shake_128(b"seed").digest(9000)
    wanted = bitwise_crc(polynomial, width, text)
    for cut in (0, 1, 63, 64, 511, 512, 513, 4096, 8999):
        assert crc(text[:cut], text[cut:]) == wanted
    assert crc(memoryview(text)) == wanted  # type: ignore[arg-type]
    large = text * 40
    half = len(large) // 2 + 17
    assert crc(large) == crc(large[:half], large[half:]) == crc(*[large[at : at + 300] for at in range(0, len(large), 300)])


FOLDED = [
    (checksums.crc32c, 0x82F63B78, 4, checksums._CRC32C_MULTIPLE),
    (checksums.crc64nvme, 0x9A6C9329AC4BC9B5, 8, checksums._CRC64NVME_MULTIPLE),
]


@pytest.mark.parametrize(("make", "polynomial", "width", "exponents"), FOLDED)
def test_the_sparse_multiples_are_multiples(make: Any, polynomial: int, width: int, exponents: tuple[int, ...]) -> None:
    """The powers of x, and 1, add up to nothing modulo the polynomial."""
    total, power = 1 << 8 * width - 1, 1 << 8 * width - 1
    for exponent in range(1, exponents[0] + 1):
        power = power >> 1 ^ (polynomial if power & 1 else 0)
        total ^= power if exponent in exponents else 0
    assert total == 0


@pytest.mark.parametrize("size", [0, 1, 9, 65_000, 65_792, 65_793, 134_539, 134_540, 134_541, 300_001, 2**20])
@pytest.mark.parametrize(("make", "polynomial", "width", "exponents"), FOLDED)
def test_folding_changes_nothing(make: Any, polynomial: int, width: int, exponents: tuple[int, ...], size: int) -> None:
    dice = random.Random(size)
    message, at = dice.randbytes(size), 0
    folded, slow = make(), checksums.LaneCrc(polynomial, width)
    slow.update(message)
    while at < size:
        step = dice.choice((1, 777, 65_536, 262_144))
        folded.update(message[at : at + step])
        at += step
    assert folded.digest() == slow.digest()
    assert folded.digest() == slow.digest()  # asking changes nothing
