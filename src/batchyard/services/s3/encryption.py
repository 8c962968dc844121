"""Server-side encryption as far as it goes here: which one an object was to have is kept and given back, the bytes lie as they came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3.call import invalid_argument
from batchyard.services.s3.route import not_implemented
from batchyard.store import objects_keys as keys
from batchyard.store.objects_records import Bucket, Traits

HEADER = "x-amz-server-side-encryption"
KEY_ID = f"{HEADER}-aws-kms-key-id"
BUCKET_KEY = f"{HEADER}-bucket-key-enabled"
_ALGORITHMS = ("AES256", "aws:kms", "aws:kms:dsse")
_KEPT = (HEADER, KEY_ID, BUCKET_KEY)


def encryption_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers to keep of a request. Raises `InvalidArgument`, and `NotImplemented` for keys that the client brings (SSE-C):
    to take such a key and not to use it would be a lie."""
    for name in headers:
        if name.startswith(f"{HEADER}-customer-") or name == "x-amz-copy-source-server-side-encryption-customer-algorithm":
            raise not_implemented(name)
    algorithm = headers.get(HEADER, "")
    if algorithm and algorithm not in _ALGORITHMS:
        raise invalid_argument("The encryption method specified is not supported", HEADER, algorithm)
    if headers.get(KEY_ID) and not algorithm.startswith("aws:kms"):
        message = "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms"
        raise invalid_argument(message, HEADER, algorithm)
    return {name: headers[name] for name in _KEPT if headers.get(name)} if algorithm else {}


def with_default(index: apsw.Connection, bucket: Bucket, traits: Traits) -> Traits:
    """The traits with the encryption that the bucket gives to objects that ask for none."""
    if traits.recorded:
        return traits
    text = keys.setting(index, bucket.id, "encryption")
    for rule in msgspec.json.decode(text).get("Rules", []) if text else []:
        default = rule.get("ApplyServerSideEncryptionByDefault")
        if default:
            recorded = {HEADER: default["SSEAlgorithm"]}
            recorded |= {KEY_ID: default["KMSMasterKeyID"]} if default.get("KMSMasterKeyID") else {}
            recorded |= {BUCKET_KEY: "true"} if rule.get("BucketKeyEnabled") else {}
            return msgspec.structs.replace(traits, recorded=recorded)
    return traits


def check_encryption(document: dict[str, Any]) -> None:
    """What S3 checks of a bucket's encryption: rules with a default, or with nothing but types that are blocked, as SDKs send them."""
    rules = document.get("Rules", [])
    if not rules or not all(rules):
        raise Fault("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
    for rule in rules:
        default = rule.get("ApplyServerSideEncryptionByDefault")
        if default is None:
            continue
        algorithm = default.get("SSEAlgorithm")
        if algorithm not in _ALGORITHMS:
            raise Fault("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
        if default.get("KMSMasterKeyID") and algorithm == "AES256":
            message = "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse"
            raise invalid_argument(message, "ApplyServerSideEncryptionByDefault", algorithm)
