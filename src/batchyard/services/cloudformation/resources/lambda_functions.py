"""AWS::Lambda::Function and Permission."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from batchyard.services.cloudformation.resources.acts import (
    Steps,
    answer_if_there,
    call_if_there,
    change_tags,
    changed,
    given,
    listed,
    own_tags,
    refused,
    require_known,
    tags_of,
)
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

SERVICE = "lambda"
INLINE_FILE = "index.py"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip archive can hold: the same text is the same archive

# --- functions ---

# What a function has that says nothing: an update sends these for what the template leaves out, since Lambda keeps what is not sent.
_DEFAULTS: dict[str, Any] = {
    "Description": "",
    "Environment": {"Variables": {}},
    "EphemeralStorage": {"Size": 512},
    "Handler": None,
    "LoggingConfig": None,
    "MemorySize": 128,
    "Role": None,
    "Runtime": None,
    "Timeout": 3,
    "TracingConfig": {"Mode": "PassThrough"},
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
}
_CODE = ("S3Bucket", "S3Key", "S3ObjectVersion", "S3ObjectStorageMode", "ImageUri", "SourceKMSKeyArn")
_SETTINGS = (*_DEFAULTS, "KmsKeyArn")
_KNOWN = ("Architectures", "Code", "FunctionName", "PackageType", "Tags", *_SETTINGS)
# Said by many templates, and the only thing that there is here.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "RecursiveLoop": ("Terminate",),
    "RuntimeManagementConfig": ({"UpdateRuntimeOn": "Auto"},),
    "SnapStart": ({"ApplyOn": "None"},),
}
_REFUSALS = {
    "CodeSigningConfigArn": "there is no code signing",
    "DeadLetterConfig": "there are no dead-letter queues",
    "FileSystemConfigs": "there are no file systems for functions",
    "ImageConfig": "functions run from zip archives, not from images",
    "Layers": "there are no layers: put the libraries into the function's code",
    "RecursiveLoop": "no loop is looked for",
    "ReservedConcurrentExecutions": "no capacity is reserved for functions",
    "RuntimeManagementConfig": "functions run with the server's own Python",
    "SnapStart": "there are no snapshots of functions",
}


def _require(asked: Asked) -> None:
    said = [name for name, values in _HARMLESS.items() if asked.properties.get(name) in values]
    require_known(asked, (*_KNOWN, *said), _REFUSALS)


async def create_function(hands: Hands, asked: Asked) -> Made:
    """A function that can be invoked. Ref is its name."""
    _require(asked)
    properties, tags = asked.properties, {**tags_of(asked), **asked.system_tags}
    answer = await hands.call(
        SERVICE,
        "CreateFunction",
        {
            "FunctionName": properties.get("FunctionName") or asked.name,
            "Code": _code(properties),
            **_settings(properties),
            **given(properties, "Architectures", "PackageType"),
            **({"Tags": tags} if tags else {}),
        },
    )
    return _made(answer)


def _made(answer: Properties) -> Made:
    name = answer["FunctionName"]
    return Made(name, {"Arn": answer["FunctionArn"], "SnapStartResponse.ApplyOn": "None", "SnapStartResponse.OptimizationStatus": "Off"})


def _settings(properties: Properties) -> Properties:
    """What the configuration is to be, in the API's names."""
    wanted = given(properties, *_DEFAULTS)
    if properties.get("KmsKeyArn"):
        wanted["KMSKeyArn"] = properties["KmsKeyArn"]
    return wanted


def _code(properties: Properties) -> Properties:
    """Where the code is: what stands in the template itself becomes an archive of one file."""
    code = properties["Code"]
    text = code.get("ZipFile")
    if text is None:
        return given(code, *_CODE)
    if not str(properties.get("Runtime", "")).startswith("python"):
        raise refused("AWS::Lambda::Function", "Code.ZipFile", "of functions in another language than Python")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        entry = zipfile.ZipInfo(INLINE_FILE, _EPOCH)
        entry.external_attr = 0o644 << 16
        out.writestr(entry, text, zipfile.ZIP_DEFLATED)
    return {"ZipFile": archive.getvalue()}


async def update_function(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Settings, code and tags, where they differ. An object in a bucket counts as the same as long as it is called the same."""
    _require(asked)
    name, before, after = kept.physical_id, kept.properties, asked.properties
    arn = kept.attributes["Arn"]
    async with Steps(hands, SERVICE) as steps:
        await change_tags(
            steps,
            asked,
            kept,
            put=lambda tags: ("TagResource", {"Resource": arn, "Tags": tags}),
            take=lambda keys: ("UntagResource", {"Resource": arn, "TagKeys": keys}),
        )
        if changed(before, after, *_SETTINGS):
            await steps.call("UpdateFunctionConfiguration", {"FunctionName": name, **_whole(name, after)})
            steps.undo("UpdateFunctionConfiguration", {"FunctionName": name, **_whole(name, before)})
        if changed(before, after, "Code", "Architectures"):
            architectures = after.get("Architectures") or ["x86_64"]
            await steps.call("UpdateFunctionCode", {"FunctionName": name, **_code(after), "Architectures": architectures})
    return Made(name, kept.attributes)


def _whole(name: str, properties: Properties) -> Properties:
    """All settings, those that are left out as a new function has them."""
    defaults = {setting: value for setting, value in _DEFAULTS.items() if value is not None}
    logging = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}
    return {**defaults, "KMSKeyArn": "", "LoggingConfig": logging, **_settings(properties)}


async def delete_function(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteFunction", {"FunctionName": kept.physical_id})


async def read_function(hands: Hands, kept: Kept) -> Properties | None:
    """The function as Lambda has it; its code is not told."""
    answer = await answer_if_there(hands, SERVICE, "GetFunction", {"FunctionName": kept.physical_id})
    if answer is None:
        return None
    shown = answer["Configuration"]
    found = given(shown, "FunctionName", "Architectures", "PackageType", *_DEFAULTS)
    if not any(found.get("VpcConfig", {}).values()) and "VpcConfig" not in kept.properties:
        found.pop("VpcConfig", None)  # an update told it that there is none
    if shown.get("KMSKeyArn"):
        found["KmsKeyArn"] = shown["KMSKeyArn"]
    if tags := own_tags(listed(answer.get("Tags", {})), kept):
        found["Tags"] = tags
    return {**found, **given(kept.properties, "Code")}


# --- who may invoke them ---

_STATEMENT = (
    "Action",
    "EventSourceToken",
    "FunctionName",
    "FunctionUrlAuthType",
    "InvokedViaFunctionUrl",
    "Principal",
    "PrincipalOrgID",
    "SourceAccount",
    "SourceArn",
)


async def create_permission(hands: Hands, asked: Asked) -> Made:
    """A statement of a function's policy. Ref is its id; all that it says makes it another one."""
    require_known(asked, _STATEMENT)
    await hands.call(SERVICE, "AddPermission", {"StatementId": asked.name, **given(asked.properties, *_STATEMENT)})
    return Made(asked.name, {"Id": asked.name})


async def delete_permission(hands: Hands, kept: Kept) -> None:
    params = {"FunctionName": kept.properties["FunctionName"], "StatementId": kept.physical_id}
    await call_if_there(hands, SERVICE, "RemovePermission", params)


async def read_permission(hands: Hands, kept: Kept) -> Properties | None:
    """Whether the statement is there still; nobody can change one."""
    answer = await answer_if_there(hands, SERVICE, "GetPolicy", {"FunctionName": kept.properties["FunctionName"]})
    if answer is None:
        return None
    policy = answer["Policy"]
    is_there = any(statement["Sid"] == kept.physical_id for statement in json.loads(policy)["Statement"])
    return given(kept.properties, *_STATEMENT) if is_there else None


TYPES = (
    ResourceType(
        "AWS::Lambda::Function",
        create_function,
        update_function,
        delete_function,
        read_function,
        named=NameRule("FunctionName", 64),
        has_stack_tags=True,
    ),
    ResourceType("AWS::Lambda::Permission", create_permission, None, delete_permission, read_permission, named=NameRule("Id", 100)),
)
