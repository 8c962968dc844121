"""Takes lines of S3's server access logs apart, field by field, as AWS's own guide describes them."""

from __future__ import annotations

import re
from typing import Any

FIELDS = re.split(
    " ",
    "owner bucket time remote requester request_id operation key uri status error sent size total turn_around referer agent version"
    " host_id signature cipher auth host tls access_point acl region",
)
# the expression of the table that AWS's guide makes for Athena, with the field that came after it
_LINE = re.compile(
    r'([^ ]*) ([^ ]*) \[(.*?)\] ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ("[^"]*"|-) (-|[0-9]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*)'
    r' ("[^"]*"|-) ("[^"]*"|-) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*)'
)


def parsed(text: bytes) -> list[dict[str, str]]:
    """The records of a log object. Every line must be one."""
    found = []
    for line in text.decode().splitlines():
        match = _LINE.fullmatch(line)
        assert match, line
        found.append(dict(zip(FIELDS, match.groups(), strict=True)))
    return found


def logged(s3: Any, bucket: str, prefix: str) -> list[dict[str, str]]:
    """All records below a prefix, in the order of their objects."""
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]
    return [record for key in keys for record in parsed(s3.get_object(Bucket=bucket, Key=key)["Body"].read())]


def policy(bucket: str, prefix: str, account: str, source: str = "*", **more: Any) -> dict[str, Any]:
    """A bucket policy that lets S3 deliver access logs, as AWS's guide has it."""
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/{prefix}*",
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{source}"}, "StringEquals": {"aws:SourceAccount": account}},
    }
    tls = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [allow | more, tls]}
