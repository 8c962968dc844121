"""Who may read what: access control lists, the public access block, bucket policies, and requests without a signature."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from s3_serving import ACCOUNT, OTHER_ACCOUNT, client

NUMBERS = itertools.count()
ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
OPEN = {"BlockPublicAcls": False, "IgnorePublicAcls": False, "BlockPublicPolicy": False, "RestrictPublicBuckets": False}


def refused(call: Callable[..., Any], **kwargs: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**kwargs)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


DENIED = ("AccessDenied", 403)


@pytest.fixture(scope="module")
def nobody(endpoint: str) -> Any:
    """A client without credentials."""
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=Config(signature_version=UNSIGNED))


@pytest.fixture(scope="module")
def other(endpoint: str) -> Any:
    return client(endpoint, account=OTHER_ACCOUNT)


@pytest.fixture
def bucket(s3: Any) -> str:
    """A new bucket with an object `k`, as closed as every new one."""
    name = f"access-{next(NUMBERS)}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"bytes")
    return name


@pytest.fixture
def listed(s3: Any, bucket: str) -> str:
    """The bucket with access control lists, and nothing blocked: what Toil makes of it."""
    s3.delete_public_access_block(Bucket=bucket)
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    return bucket


def statement(bucket: str, effect: str = "Allow", action: str = "s3:GetObject", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Principal": "*", "Action": action, "Resource": f"arn:aws:s3:::{bucket}/*", **more}


def put_policy(s3: Any, bucket: str, *statements: dict[str, Any]) -> None:
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def test_a_new_bucket_is_closed_and_takes_no_acls(s3: Any, nobody: Any, bucket: str) -> None:
    assert refused(nobody.get_object, Bucket=bucket, Key="k") == DENIED
    assert refused(nobody.get_object, Bucket=bucket, Key="not there") == DENIED
    assert refused(nobody.list_objects_v2, Bucket=bucket) == DENIED
    assert refused(nobody.list_buckets) == DENIED
    assert refused(nobody.put_bucket_policy, Bucket=bucket, Policy="{}") == DENIED
    assert refused(nobody.create_bucket, Bucket="somebodys") == DENIED
    unsupported = ("AccessControlListNotSupported", 400)
    assert refused(s3.put_object_acl, Bucket=bucket, Key="k", ACL="public-read") == unsupported
    assert refused(s3.put_bucket_acl, Bucket=bucket, ACL="public-read") == unsupported
    assert refused(s3.put_object, Bucket=bucket, Key="p", Body=b"", ACL="public-read") == unsupported
    with_acl = ("InvalidBucketAclWithObjectOwnership", 400)
    assert refused(s3.create_bucket, Bucket="acl-at-birth", ACL="public-read") == with_acl


def test_what_toil_does(s3: Any, nobody: Any, listed: str, endpoint: str) -> None:
    s3.put_object_acl(Bucket=listed, Key="k", ACL="public-read")
    with urllib.request.urlopen(f"{endpoint}/{listed}/k", timeout=60) as answer:
        assert answer.read() == b"bytes"
    assert nobody.head_object(Bucket=listed, Key="k")["ContentLength"] == 5
    s3.put_object(Bucket=listed, Key="closed", Body=b"x")
    assert refused(nobody.get_object, Bucket=listed, Key="closed") == DENIED
    grants = s3.get_object_acl(Bucket=listed, Key="k")["Grants"]
    assert [(grant["Permission"], grant["Grantee"].get("URI")) for grant in grants] == [("FULL_CONTROL", None), ("READ", ALL_USERS)]
    s3.put_object_acl(Bucket=listed, Key="k", ACL="private")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{endpoint}/{listed}/k", timeout=60)
    assert caught.value.code == 403


def test_grants_are_kept_and_asked(s3: Any, nobody: Any, other: Any, listed: str) -> None:
    other_id = OTHER_ACCOUNT.rjust(64, "0")
    s3.put_object(Bucket=listed, Key="given", Body=b"x", GrantRead=f'id="{other_id}"')
    assert other.get_object(Bucket=listed, Key="given")["Body"].read() == b"x"
    assert refused(nobody.get_object, Bucket=listed, Key="given") == DENIED
    assert refused(other.get_object_acl, Bucket=listed, Key="given") == DENIED
    s3.put_object(Bucket=listed, Key="known", Body=b"x", ACL="authenticated-read")
    assert other.get_object(Bucket=listed, Key="known")["Body"].read() == b"x"
    assert refused(nobody.get_object, Bucket=listed, Key="known") == DENIED
    s3.put_bucket_acl(Bucket=listed, ACL="public-read-write")
    assert [entry["Key"] for entry in nobody.list_objects_v2(Bucket=listed)["Contents"]] == ["given", "k", "known"]
    nobody.put_object(Bucket=listed, Key="gift", Body=b"for all")
    assert s3.get_object(Bucket=listed, Key="gift")["Body"].read() == b"for all"
    assert refused(nobody.get_object, Bucket=listed, Key="nothing") == ("NoSuchKey", 404)  # who may list may know
    answer = s3.get_bucket_acl(Bucket=listed)
    assert {grant["Permission"] for grant in answer["Grants"]} == {"FULL_CONTROL", "READ", "WRITE"}
    policy = {"Owner": answer["Owner"], "Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": other_id}, "Permission": "READ"}]}
    s3.put_bucket_acl(Bucket=listed, AccessControlPolicy=policy)
    assert refused(nobody.list_objects_v2, Bucket=listed) == DENIED
    assert other.list_objects_v2(Bucket=listed)["KeyCount"] == 4
    assert refused(s3.put_bucket_acl, Bucket=listed) == ("MissingSecurityHeader", 400)
    assert refused(s3.put_bucket_acl, Bucket=listed, GrantRead='emailAddress="a@b"') == ("UnresolvableGrantByEmailAddress", 400)
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    wrong = {"Bucket": listed, "OwnershipControls": enforced}
    assert refused(s3.put_bucket_ownership_controls, **wrong) == ("InvalidBucketAclWithObjectOwnership", 400)
    s3.put_bucket_acl(Bucket=listed, ACL="private")
    s3.put_bucket_ownership_controls(**wrong)
    assert refused(other.get_object, Bucket=listed, Key="given") == DENIED  # the lists are off
    s3.put_bucket_ownership_controls(Bucket=listed, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]})
    assert other.get_object(Bucket=listed, Key="given")["Body"].read() == b"x"


def test_lists_go_with_versions_and_uploads_and_not_with_copies(s3: Any, nobody: Any, listed: str) -> None:
    s3.put_bucket_versioning(Bucket=listed, VersioningConfiguration={"Status": "Enabled"})
    open_one = s3.put_object(Bucket=listed, Key="v", Body=b"open", ACL="public-read")["VersionId"]
    closed = s3.put_object(Bucket=listed, Key="v", Body=b"closed")["VersionId"]
    assert nobody.get_object(Bucket=listed, Key="v", VersionId=open_one)["Body"].read() == b"open"
    assert refused(nobody.get_object, Bucket=listed, Key="v", VersionId=closed) == DENIED
    assert refused(nobody.get_object, Bucket=listed, Key="v") == DENIED
    s3.copy_object(Bucket=listed, Key="copy", CopySource={"Bucket": listed, "Key": "v", "VersionId": open_one})
    assert refused(nobody.get_object, Bucket=listed, Key="copy") == DENIED
    where = {"Bucket": listed, "Key": "parts"}
    upload = s3.create_multipart_upload(**where, ACL="public-read")["UploadId"]
    etag = s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert nobody.get_object(**where)["Body"].read() == b"part"


def test_the_four_flags(s3: Any, nobody: Any, other: Any, listed: str) -> None:
    s3.put_object_acl(Bucket=listed, Key="k", ACL="public-read")
    put_policy(s3, listed, statement(listed, Resource=f"arn:aws:s3:::{listed}/by-policy"))
    s3.put_object(Bucket=listed, Key="by-policy", Body=b"p")

    def block(**flags: bool) -> None:
        s3.put_public_access_block(Bucket=listed, PublicAccessBlockConfiguration=OPEN | flags)

    block(IgnorePublicAcls=True)
    assert refused(nobody.get_object, Bucket=listed, Key="k") == DENIED
    assert nobody.get_object(Bucket=listed, Key="by-policy")["Body"].read() == b"p"
    block(BlockPublicAcls=True)
    assert nobody.get_object(Bucket=listed, Key="k")["Body"].read() == b"bytes"
    assert refused(s3.put_object_acl, Bucket=listed, Key="k", ACL="public-read") == DENIED
    assert refused(s3.put_object, Bucket=listed, Key="n", Body=b"", ACL="authenticated-read") == DENIED
    assert refused(s3.put_bucket_acl, Bucket=listed, ACL="public-read") == DENIED
    s3.put_object_acl(Bucket=listed, Key="k", ACL="private")
    block(BlockPublicPolicy=True)
    with pytest.raises(ClientError, match="public policies are blocked"):
        put_policy(s3, listed, statement(listed))
    put_policy(s3, listed, statement(listed, Condition={"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}))
    assert nobody.get_object(Bucket=listed, Key="k")["Body"].read() == b"bytes"  # not public, and from the right place
    block()
    put_policy(s3, listed, statement(listed))
    assert other.get_object(Bucket=listed, Key="k")["Body"].read() == b"bytes"
    block(RestrictPublicBuckets=True)
    assert refused(nobody.get_object, Bucket=listed, Key="k") == DENIED
    assert refused(other.get_object, Bucket=listed, Key="k") == DENIED
    assert s3.get_object(Bucket=listed, Key="k")["Body"].read() == b"bytes"


@pytest.fixture
def unblocked(s3: Any, bucket: str) -> str:
    s3.delete_public_access_block(Bucket=bucket)
    return bucket


def test_a_policy_opens_and_closes(s3: Any, nobody: Any, unblocked: str) -> None:
    assert refused(s3.get_bucket_policy_status, Bucket=unblocked) == ("NoSuchBucketPolicy", 404)
    listing = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:List*", "Resource": f"arn:aws:s3:::{unblocked}"}
    put_policy(s3, unblocked, statement(unblocked), {**listing, "Condition": {"StringLike": {"s3:prefix": "open/*"}}})
    assert s3.get_bucket_policy_status(Bucket=unblocked)["PolicyStatus"] == {"IsPublic": True}
    assert nobody.get_object(Bucket=unblocked, Key="k", Range="bytes=1-2")["Body"].read() == b"yt"
    assert refused(nobody.put_object, Bucket=unblocked, Key="k", Body=b"") == DENIED
    [error] = nobody.delete_objects(Bucket=unblocked, Delete={"Objects": [{"Key": "k"}]})["Errors"]
    assert error["Code"] == "AccessDenied"
    assert nobody.list_objects_v2(Bucket=unblocked, Prefix="open/")["KeyCount"] == 0
    assert refused(nobody.list_objects_v2, Bucket=unblocked) == DENIED
    put_policy(s3, unblocked, statement(unblocked), statement(unblocked, "Deny", "s3:*", Resource=f"arn:aws:s3:::{unblocked}/secret/*"))
    for who in (s3, nobody):  # a Deny is for everybody, the owner too
        assert refused(who.get_object, Bucket=unblocked, Key="secret/x") == DENIED
    errors = s3.delete_objects(Bucket=unblocked, Delete={"Objects": [{"Key": "secret/x"}, {"Key": "harmless"}]})["Errors"]
    assert [(error["Key"], error["Code"]) for error in errors] == [("secret/x", "AccessDenied")]
    s3.delete_bucket_policy(Bucket=unblocked)
    assert refused(nobody.get_object, Bucket=unblocked, Key="k") == DENIED


def test_principals(s3: Any, nobody: Any, other: Any, unblocked: str) -> None:
    for principal in (OTHER_ACCOUNT, f"arn:aws:iam::{OTHER_ACCOUNT}:root"):
        put_policy(s3, unblocked, statement(unblocked, Principal={"AWS": [principal, "999999999999"]}))
        assert other.get_object(Bucket=unblocked, Key="k")["Body"].read() == b"bytes"
        assert refused(nobody.get_object, Bucket=unblocked, Key="k") == DENIED
        assert s3.get_bucket_policy_status(Bucket=unblocked)["PolicyStatus"] == {"IsPublic": False}
    put_policy(s3, unblocked, statement(unblocked, Principal={"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:user/somebody"}))
    assert refused(other.get_object, Bucket=unblocked, Key="k") == DENIED
    put_policy(s3, unblocked, statement(unblocked, Principal={"Service": "logging.s3.amazonaws.com"}))
    assert refused(nobody.get_object, Bucket=unblocked, Key="k") == DENIED


def test_plain_http_on_this_machine_locks_nobody_out(s3: Any, bucket: str) -> None:
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    put_policy(s3, bucket, statement(bucket, "Deny", "s3:*", Resource=resources, Condition=insecure))
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"bytes"
    put_policy(s3, bucket, statement(bucket, "Deny", "s3:*", Resource=resources))
    assert refused(s3.get_object, Bucket=bucket, Key="k") == DENIED
    assert refused(s3.list_objects_v2, Bucket=bucket) == DENIED
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]["Effect"] == "Deny"
    s3.delete_bucket_policy(Bucket=bucket)  # the account's root can always mend it, as on AWS
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"bytes"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Effect": "allow"}, "MalformedPolicy"),
        ({"Action": "ec2:Run"}, "MalformedPolicy"),
        ({"Action": []}, "MalformedPolicy"),
        ({"Resource": "arn:aws:s3:::another/*"}, "MalformedPolicy"),
        ({"Resource": None}, "MalformedPolicy"),
        ({"Principal": {"AWS": "me"}}, "MalformedPolicy"),
        ({"Principal": None}, "MalformedPolicy"),
        ({"Foo": 1}, "MalformedPolicy"),
        ({"NotAction": "s3:*"}, "MalformedPolicy"),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "home"}}}, "MalformedPolicy"),
        ({"NotPrincipal": {"AWS": ACCOUNT}}, "NotImplemented"),
        ({"Condition": {"DateLessThan": {"aws:CurrentTime": "2027-01-01"}}}, "NotImplemented"),
        ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}, "NotImplemented"),
    ],
)
def test_a_policy_that_cannot_be_decided_is_refused(s3: Any, bucket: str, change: dict[str, Any], code: str) -> None:
    made = {name: value for name, value in (statement(bucket) | change).items() if value is not None}
    with pytest.raises(ClientError) as caught:
        put_policy(s3, bucket, made)
    assert caught.value.response["Error"]["Code"] == code
    assert refused(s3.get_bucket_policy, Bucket=bucket) == ("NoSuchBucketPolicy", 404)


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"StringEquals": {"s3:prefix": ["a", "b"]}}, True),
        ({"StringNotEquals": {"s3:prefix": "b"}}, False),
        ({"StringNotEqualsIfExists": {"s3:delimiter": "/"}}, True),
        ({"StringEquals": {"s3:delimiter": "/"}}, False),
        ({"StringEqualsIfExists": {"s3:delimiter": "/"}}, True),
        ({"StringEqualsIgnoreCase": {"s3:prefix": "B"}}, True),
        ({"StringNotLike": {"s3:prefix": "?"}}, False),
        ({"NumericLessThanEquals": {"s3:max-keys": 10}}, True),
        ({"NumericGreaterThan": {"s3:max-keys": "10"}}, False),
        ({"Null": {"s3:delimiter": True}}, True),
        ({"Null": {"s3:delimiter": False}}, False),
        ({"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "192.168.0.0/16"]}}, True),
        ({"Bool": {"aws:SecureTransport": True}}, True),
        ({"StringLike": {"aws:UserAgent": "Boto3*"}, "StringEquals": {"s3:prefix": "other"}}, False),
    ],
)
def test_conditions(s3: Any, nobody: Any, unblocked: str, condition: dict[str, Any], allowed: bool) -> None:
    put_policy(s3, unblocked, statement(unblocked, action="s3:ListBucket", Resource=f"arn:aws:s3:::{unblocked}", Condition=condition))
    asked = {"Bucket": unblocked, "Prefix": "b", "MaxKeys": 10}
    if allowed:
        assert nobody.list_objects_v2(**asked)["KeyCount"] == 0
    else:
        assert refused(nobody.list_objects_v2, **asked) == DENIED
