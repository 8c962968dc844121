"""Functions of a stack and who may invoke them, on the real Lambda."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from typing import Any

import pytest
from resource_acts import SYSTEM_TAGS, FailingHands, Life
from stack_hands import ACCOUNT, REGION, Workbench

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import types

TYPES = types()
FUNCTION = {
    "Role": f"arn:aws:iam::{ACCOUNT}:role/r",
    "Runtime": "python3.12",
    "Handler": "index.handler",
    "Code": {"ZipFile": "def handler(event, context):\n    return event\n"},
}
SETTINGS = {
    "Description": "one",
    "Timeout": 30,
    "MemorySize": 256,
    "Environment": {"Variables": {"BUCKET": "reads"}},
    "EphemeralStorage": {"Size": 1024},
    "Tags": [{"Key": "lab", "Value": "7"}],
}


def life(bench: Workbench, kind: str, hands: Any = None) -> Life:
    return Life(hands or bench.hands, TYPES[f"AWS::Lambda::{kind}"], kind)


async def test_a_function(bench: Workbench) -> None:
    function = life(bench, "Function")
    made = await function.create(**FUNCTION, **SETTINGS, SnapStart={"ApplyOn": "None"})
    name = "genomics-Function-1A2B3C4D5E6F"
    assert made.physical_id == name and made.attributes["Arn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    read = await function.read()
    assert read is not None and {name: read[name] for name in SETTINGS} == SETTINGS
    shown = await bench.hands.call("lambda", "GetFunction", {"FunctionName": name})
    assert shown["Tags"] == {"lab": "7", **SYSTEM_TAGS}
    before = shown["Configuration"]["CodeSha256"]
    await function.update(**FUNCTION, **SETTINGS)
    shown = await bench.hands.call("lambda", "GetFunction", {"FunctionName": name})
    assert shown["Configuration"]["CodeSha256"] == before
    await function.update(**{**FUNCTION, "Code": {"ZipFile": "def handler(event, context):\n    return 2\n"}})
    shown = await bench.hands.call("lambda", "GetFunction", {"FunctionName": name})
    assert shown["Configuration"]["CodeSha256"] != before and shown["Tags"] == SYSTEM_TAGS
    assert (shown["Configuration"]["Timeout"], shown["Configuration"]["MemorySize"]) == (3, 128)
    assert "Environment" not in shown["Configuration"]
    for one in (function, function):
        await one.delete()
    assert await function.read() is None


async def test_code_from_a_bucket(bench: Workbench) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as out:
        out.writestr("index.py", "x = 1")
    await bench.hands.call("s3", "CreateBucket", {"Bucket": "code", "CreateBucketConfiguration": {"LocationConstraint": REGION}})
    await bench.hands.call("s3", "PutObject", {"Bucket": "code", "Key": "f.zip", "Body": content.getvalue()})
    made = await life(bench, "Function").create(**{**FUNCTION, "Code": {"S3Bucket": "code", "S3Key": "f.zip"}})
    shown = await bench.hands.call("lambda", "GetFunction", {"FunctionName": made.physical_id})
    assert shown["Configuration"]["CodeSha256"] == base64.b64encode(hashlib.sha256(content.getvalue()).digest()).decode()


@pytest.mark.parametrize("at", [1, 2, 3, 4])
async def test_an_update_that_is_refused_leaves_a_function_as_it_was(bench: Workbench, at: int) -> None:
    function = life(bench, "Function", FailingHands(bench.hands))
    await function.create(**FUNCTION, **SETTINGS)
    before = await function.read()
    other = {**FUNCTION, "Code": {"ZipFile": "x = 2"}, "Timeout": 5, "Tags": [{"Key": "of", "Value": "1"}]}
    whole = function.kept
    await function.fail_to_update(at, **other)
    function.kept, attempted = whole, function.kept
    assert await function.read() == before
    function.kept = attempted
    await function.update(**FUNCTION, **SETTINGS)
    assert await function.read() == before


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"Layers": ["arn:aws:lambda:eu-west-1:1:layer:x:1"]}, "Layers of AWS::Lambda::Function"),
        ({"ReservedConcurrentExecutions": 1}, "no capacity is reserved"),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "there are no snapshots"),
        ({"Runtime": "nodejs20.x"}, "another language than Python"),
        ({"PackageType": "Image"}, "not from images"),
    ],
)
async def test_what_a_function_cannot_be(bench: Workbench, properties: dict[str, Any], words: str) -> None:
    with pytest.raises(Fault, match=words):
        await life(bench, "Function").create(**{**FUNCTION, **properties})


async def test_a_permission(bench: Workbench) -> None:
    name = (await life(bench, "Function").create(**FUNCTION)).physical_id
    permission = life(bench, "Permission")
    asked = {"FunctionName": name, "Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com", "SourceAccount": ACCOUNT}
    made = await permission.create(**asked)
    assert made.attributes == {"Id": made.physical_id}
    assert await permission.read() == asked
    policy = json.loads((await bench.hands.call("lambda", "GetPolicy", {"FunctionName": name}))["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == [made.physical_id]
    for one in (permission, permission):
        await one.delete()
    assert await permission.read() is None
