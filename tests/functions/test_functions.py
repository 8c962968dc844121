"""Lambda's API through the door, with the real boto3: functions as records."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError
from function_code import ROLE, archive, create, invoke

from yard import Yard, serving

ECHO = "def handler(event, context):\n    return event\n"


@contextmanager
def refused(code: str, words: str = "") -> Iterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    assert caught.value.response["Error"]["Code"] == code, caught.value
    assert words in caught.value.response["Error"]["Message"]


def test_a_function_is_created_shown_changed_and_deleted(yard: Yard) -> None:
    client, code = yard.client("lambda"), archive(ECHO)
    told: dict[str, Any] = {"Description": "it echoes", "Tags": {"team": "genomics"}, "Environment": {"Variables": {"DEPTH": "30"}}}
    made = create(yard, "first", ECHO, Timeout=None, **told)
    arn = made["FunctionArn"]
    assert arn == "arn:aws:lambda:us-east-1:000000000000:function:first"
    assert (made["State"], made["LastUpdateStatus"], made["Timeout"], made["MemorySize"]) == ("Active", "Successful", 3, 128)
    client.get_waiter("function_active_v2").wait(FunctionName="first")
    with refused("ResourceConflictException", "Function already exist: first"):
        create(yard, "first", ECHO)
    shown = client.get_function(FunctionName=arn)
    assert shown["Tags"] == {"team": "genomics"} and shown["Configuration"]["Environment"] == {"Variables": {"DEPTH": "30"}}
    assert shown["Configuration"]["RevisionId"] == made["RevisionId"]
    assert client.get_function_configuration(FunctionName="first:$LATEST")["FunctionArn"] == f"{arn}:$LATEST"
    assert client.get_function_code_signing_config(FunctionName="first")["FunctionName"] == "first"

    changed = client.update_function_configuration(FunctionName="first", Timeout=70, MemorySize=256)
    assert (changed["Timeout"], changed["MemorySize"], changed["Description"]) == (70, 256, "it echoes")
    assert changed["RevisionId"] != made["RevisionId"]
    with refused("PreconditionFailedException"):
        client.update_function_configuration(FunctionName="first", Timeout=8, RevisionId=made["RevisionId"])
    client.get_waiter("function_updated_v2").wait(FunctionName="first")

    code = archive("def handler(event, context):\n    return 'other'\n")
    tried = client.update_function_code(FunctionName="first", ZipFile=code, DryRun=True)
    assert tried["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode() != made["CodeSha256"]
    assert invoke(yard, "first", "same")[0] == "same"
    updated = client.update_function_code(FunctionName="first", ZipFile=code)
    assert (updated["CodeSha256"], updated["CodeSize"]) == (tried["CodeSha256"], len(code))
    assert invoke(yard, "first", "same")[0] == "other"

    (version,) = client.list_versions_by_function(FunctionName="first")["Versions"]
    assert version["Version"] == "$LATEST"
    assert client.delete_function(FunctionName="first")["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused("ResourceNotFoundException", f"Function not found: {arn}"):
        client.get_function(FunctionName="first")
    with refused("ResourceNotFoundException"):
        client.delete_function(FunctionName="first")


def test_lists_and_tags(yard: Yard) -> None:
    client = yard.client("lambda")
    arns = [create(yard, f"listed-{n}", ECHO)["FunctionArn"] for n in range(3)]
    pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    names = [function["FunctionName"] for page in pages for function in page["Functions"]]
    assert [name for name in names if name.startswith("listed-")] == ["listed-0", "listed-1", "listed-2"]
    client.tag_resource(Resource=arns[0], Tags={"a": "1", "b": "2"})
    client.untag_resource(Resource=arns[0], TagKeys=["a"])
    assert client.list_tags(Resource=arns[0])["Tags"] == {"b": "2"}
    with refused("ResourceNotFoundException"):
        client.list_tags(Resource=arns[0] + "x")
    with refused("InvalidParameterValueException", "Marker"):
        client.list_functions(Marker="bogus")


def test_code_from_a_bucket(yard: Yard) -> None:
    client, s3 = yard.client("lambda"), yard.client("s3")
    s3.create_bucket(Bucket="code")
    s3.put_bucket_versioning(Bucket="code", VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket="code", Key="f.zip", Body=archive("def handler(e, c): return 1"))["VersionId"]
    s3.put_object(Bucket="code", Key="f.zip", Body=archive("def handler(e, c): return 2"))
    create(yard, "from-bucket", "", Code={"S3Bucket": "code", "S3Key": "f.zip"})
    assert invoke(yard, "from-bucket")[0] == 2
    client.update_function_code(FunctionName="from-bucket", S3Bucket="code", S3Key="f.zip", S3ObjectVersion=first)
    assert invoke(yard, "from-bucket")[0] == 1
    with refused("InvalidParameterValueException", "S3 Error Code: NoSuchKey"):
        client.update_function_code(FunctionName="from-bucket", S3Bucket="code", S3Key="none.zip")
    with refused("InvalidParameterValueException", "S3 Error Code: NoSuchBucket"):
        client.update_function_code(FunctionName="from-bucket", S3Bucket="nowhere", S3Key="none.zip")


def test_what_cannot_be_created_is_refused_by_name(yard: Yard) -> None:
    for options, words in (
        ({"Code": {"ZipFile": b"no archive"}}, "Could not unzip uploaded file"),
        ({"Code": {}}, "Please provide a source for function code."),
        ({"Runtime": "nodejs20.x"}, "The runtime parameter of nodejs20.x is not supported"),
        ({"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:x:1"]}, "Layers: there are no layers"),
        ({"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"}}, "DeadLetterConfig"),
        ({"Publish": True}, "Publish"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "Reserved keys used in this request: AWS_REGION"),
        ({"Environment": {"Variables": {"LONG": "x" * 5000}}}, "4KB limit"),
        ({"LoggingConfig": {"LogFormat": "JSON"}}, "only LogFormat Text"),
        ({"PackageType": "Image"}, "PackageType"),
    ):
        with refused("InvalidParameterValueException", words):
            create(yard, "refused", ECHO, **options)
    for option, value in (("Timeout", 901), ("MemorySize", 20_000)):
        with refused("ValidationException"):
            create(yard, "refused", ECHO, **{option: value})
    client = yard.client("lambda")
    with refused("ResourceNotFoundException"):
        client.get_function(FunctionName="refused")
    with refused("UnsupportedOperationException", "functions have one version"):
        client.publish_version(FunctionName="refused")


def test_permissions_are_statements_of_a_policy(yard: Yard) -> None:
    client, arn = yard.client("lambda"), create(yard, "permitted", ECHO)["FunctionArn"]
    with refused("ResourceNotFoundException"):
        client.get_policy(FunctionName="permitted")
    told = client.add_permission(
        FunctionName="permitted",
        StatementId="events",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn="arn:aws:events:us-east-1:000000000000:rule/r",
        SourceAccount="000000000000",
    )
    statement = json.loads(told["Statement"])
    assert statement == {
        "Sid": "events",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": arn,
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": "000000000000"},
            "ArnLike": {"AWS:SourceArn": "arn:aws:events:us-east-1:000000000000:rule/r"},
        },
    }
    with refused("ResourceConflictException", "The statement id (events) provided already exists"):
        client.add_permission(FunctionName="permitted", StatementId="events", Action="lambda:InvokeFunction", Principal="1" * 12)
    assert json.loads(client.get_policy(FunctionName="permitted")["Policy"])["Statement"] == [statement]
    client.remove_permission(FunctionName="permitted", StatementId="events")
    with refused("ResourceNotFoundException"):
        client.remove_permission(FunctionName="permitted", StatementId="events")


def test_a_role_must_trust_lambda_where_roles_count(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("strict") / "data", "--profile", "aws") as strict:
        with refused("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."):
            create(strict, "strict", ECHO)
        for service in ("ec2", "lambda"):
            statement = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            strict.client("iam").create_role(RoleName=f"for-{service}", AssumeRolePolicyDocument=document)
        prefix = ROLE.rpartition("/")[0]
        with refused("InvalidParameterValueException", "cannot be assumed by Lambda"):
            create(strict, "strict", ECHO, Role=f"{prefix}/for-ec2")
        assert create(strict, "strict", ECHO, Role=f"{prefix}/for-lambda")["State"] == "Active"
