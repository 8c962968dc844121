"""Which actions on which resources a request is, in the words that policies use (Service Authorization Reference)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchyard.services import Caller
from batchyard.services.iam.records import GROUP, PROFILE, ROLE, USER, find
from batchyard.services.kms.ciphers import key_id_in
from batchyard.services.kms.records import alias_arn, find_alias, key_arn
from batchyard.services.s3 import route
from batchyard.services.s3.actions import action_of
from batchyard.store.shelf import Drawer

Asked = tuple[str, str, dict[str, str]]  # action, resource, further condition keys

_BATCH = {
    "jobQueue": "job-queue/{}",
    "jobQueueName": "job-queue/{}",
    "computeEnvironment": "compute-environment/{}",
    "computeEnvironmentName": "compute-environment/{}",
    "jobDefinition": "job-definition/{}",
    "jobDefinitionName": "job-definition/{}",
    "jobId": "job/{}",
    "resourceArn": "{}",
    "arn": "{}",
    "name": "scheduling-policy/{}",
}
_IAM = {
    "RoleName": (ROLE, "role"),
    "UserName": (USER, "user"),
    "GroupName": (GROUP, "group"),
    "InstanceProfileName": (PROFILE, "instance-profile"),
}
_POLICIES_CALL_IT = {("lambda", "Invoke"): "InvokeFunction"}  # where the action is called otherwise than the operation
_ROLE_MEMBERS = ("jobRoleArn", "executionRoleArn", "taskRoleArn", "serviceRole")
_PASSED_TO = {"serviceRole": "batch.amazonaws.com"}


def questions_of(drawer: Drawer, caller: Caller, service: str, operation: str, asked: Any) -> Iterator[Asked]:
    """All that must be allowed for a request. `drawer` is IAM's; `asked` are the parameters, of S3 the HTTP request."""
    if service == "s3":
        yield from _s3(asked)
        return
    if (service, operation) == ("kms", "ReEncrypt"):
        source = {"KeyId": asked.get("SourceKeyId"), "CiphertextBlob": asked["CiphertextBlob"]}
        yield "kms:ReEncryptFrom", _keys(drawer, caller, source)[0], {}
        yield "kms:ReEncryptTo", _keys(drawer, caller, {"KeyId": asked["DestinationKeyId"]})[0], {}
        return
    for resource in _resources(drawer, caller, service, operation, asked):
        yield f"{service}:{_POLICIES_CALL_IT.get((service, operation), operation)}", resource, {}
    if service == "batch":
        for member, arn in _passed_roles(asked):
            if arn.startswith("arn:"):
                yield "iam:PassRole", arn, {"iam:PassedToService": _PASSED_TO.get(member, "ecs-tasks.amazonaws.com")}
    if service == "events":
        for arn in filter(None, [asked.get("RoleArn"), *(target.get("RoleArn") for target in asked.get("Targets", ()))]):
            yield "iam:PassRole", arn, {"iam:PassedToService": "events.amazonaws.com"}
    if service == "lambda":
        yield from _of_functions(operation, asked)
    if service == "cloudformation" and asked.get("RoleARN"):
        yield "iam:PassRole", asked["RoleARN"], {"iam:PassedToService": "cloudformation.amazonaws.com"}
    if (service, operation) == ("iam", "AddRoleToInstanceProfile"):
        yield "iam:PassRole", _iam_arn(drawer, caller, "RoleName", asked["RoleName"]), {}


def _s3(request: Any) -> Iterator[Asked]:
    target = route.match(request)
    action = action_of(target.operation, "versionId" in target.query)
    if target.operation == "DeleteObjects":
        return  # its keys are in its body, which is not read yet: each is asked about by itself, by `HttpRequest.may`
    resource = f"arn:aws:s3:::{target.bucket}" + (f"/{target.key}" if target.key else "") if target.bucket else "*"
    yield action, resource, {"s3:prefix": target.query["prefix"]} if "prefix" in target.query else {}
    source = request.headers.get("x-amz-copy-source")
    if source:
        place, _, version = source.partition("?")
        yield action_of("GetObject", bool(version)), f"arn:aws:s3:::{route.decode_key(place).lstrip('/')}", {}


def _resources(drawer: Drawer, caller: Caller, service: str, operation: str, params: Mapping[str, Any]) -> list[str]:
    here = f"{caller.region}:{caller.account}"
    if service == "batch":
        return _batch(f"arn:aws:batch:{here}", operation, params)
    if service == "iam":
        if params.get("PolicyArn") and not any(member in params for member in _IAM):
            return [params["PolicyArn"]]
        return [_iam_arn(drawer, caller, member, params[member]) for member in _IAM if params.get(member)][:1] or ["*"]
    if service == "logs" and isinstance(params.get("logGroupName"), str):
        stream = params.get("logStreamName")
        return [f"arn:aws:logs:{here}:log-group:{params['logGroupName']}" + (f":log-stream:{stream}" if stream else "")]
    if service == "ssm":
        names = [
            *params.get("Names", []),
            *([params["Name"]] if params.get("Name") else []),
            *([params["Path"]] if params.get("Path") else []),
        ]
        return [n if n.startswith("arn:") else f"arn:aws:ssm:{here}:parameter/{n.lstrip('/').partition(':')[0]}" for n in names] or ["*"]
    if service == "events" and "ApiDestinationArn" in params:
        return [params["ApiDestinationArn"]]
    if service == "ecr":
        names = [*params.get("repositoryNames", ()), *([params["repositoryName"]] if params.get("repositoryName") else [])]
        return [f"arn:aws:ecr:{here}:repository/{name}" for name in names] or [params.get("resourceArn", "*")]
    if service == "kms":
        return _keys(drawer, caller, params)
    if service == "lambda":
        return [_function_arn(here, params)]
    if service == "cloudformation":
        return _stacks(drawer, caller, params)
    if service == "secretsmanager" and params.get("SecretId", params.get("Name")):
        return [_secret_arn(drawer, caller, params.get("SecretId") or params["Name"])]
    return ["*"]


def _batch(prefix: str, operation: str, params: Mapping[str, Any]) -> list[str]:
    if operation.startswith(("Describe", "List")) and "resourceArn" not in params:
        return ["*"]
    found = []
    for member, form in _BATCH.items():
        value = params.get(member)
        if isinstance(value, str) and value:
            found.append(value if value.startswith("arn:") else f"{prefix}:{form.format(value)}")
    if isinstance(params.get("jobs"), list):
        found += [f"{prefix}:job/{job}" for job in params["jobs"]]
    return found or ["*"]


def _iam_arn(drawer: Drawer, caller: Caller, member: str, name: str) -> str:
    kind, title = _IAM[member]
    entity = find(drawer, kind, name)
    return entity["arn"] if entity else f"arn:aws:iam::{caller.account}:{title}/{name}"


def _keys(drawer: Drawer, caller: Caller, params: Mapping[str, Any]) -> list[str]:
    """The keys that a request uses, by whichever name it calls them, and the alias that it changes."""
    there = drawer.elsewhere(drawer.place._replace(service="kms", region=caller.region))
    found = [alias_arn(caller, params["AliasName"])] if params.get("AliasName") else []
    for name in filter(None, (params.get("KeyId"), params.get("TargetKeyId"))):
        plain = name.rpartition(":")[2]
        alias = find_alias(there, plain) if plain.startswith("alias/") else None
        found.append(key_arn(caller, alias["key_id"]) if alias else name if name.startswith("arn:") else key_arn(caller, name))
    sealed_by = key_id_in(params.get("CiphertextBlob", b"")) if not found else ""
    return found or [key_arn(caller, sealed_by) if sealed_by else "*"]


def _stacks(drawer: Drawer, caller: Caller, params: Mapping[str, Any]) -> list[str]:
    """The stack that a request names, as `stack/NAME/ID`, where the id is `*` while there is none; of a change set's ARN its stack."""
    prefix = f"arn:aws:cloudformation:{caller.region}:{caller.account}:stack/"
    there = drawer.elsewhere(drawer.place._replace(service="cloudformation", region=caller.region))
    name = params.get("StackName")
    if name:
        named = there.get("name", name)
        return [name if name.startswith("arn:") else f"{prefix}{name}/{named['id'] if named else '*'}"]
    change_set = params.get("ChangeSetName", "")
    if not change_set.startswith("arn:"):
        return ["*"]
    ids = {stack for stack, _, of_it in (key.partition("/") for key in there.names("change-set")) if of_it in change_set.split("/")[1:2]}
    return [f"{prefix}{stack}/{known['id']}" for stack, known in there.entries("name") if known["id"] in ids] or ["*"]


def _function_arn(here: str, params: Mapping[str, Any]) -> str:
    """A function by its name, by a part of its ARN or by all of it, without the version that it is followed by."""
    asked = params.get("Resource") or params.get("FunctionName")
    if not asked:
        return "*"
    name = asked.rpartition("function:")[2].partition(":")[0]
    return asked.rpartition("function:")[0] + f"function:{name}" if asked.startswith("arn:") else f"arn:aws:lambda:{here}:function:{name}"


def _of_functions(operation: str, params: Mapping[str, Any]) -> Iterator[Asked]:
    """What a function is given: a role, and code that lies in a bucket, which its creator must be allowed to read."""
    if operation in ("CreateFunction", "UpdateFunctionConfiguration") and params.get("Role"):
        yield "iam:PassRole", params["Role"], {"iam:PassedToService": "lambda.amazonaws.com"}
    place = params.get("Code", params)
    if operation in ("CreateFunction", "UpdateFunctionCode") and place.get("S3Bucket"):
        resource = f"arn:aws:s3:::{place['S3Bucket']}/{place.get('S3Key', '')}"
        yield action_of("GetObject", bool(place.get("S3ObjectVersion"))), resource, {}


def _secret_arn(drawer: Drawer, caller: Caller, name: str) -> str:
    if name.startswith("arn:"):
        return name
    secret = drawer.elsewhere(drawer.place._replace(service="secretsmanager", region=caller.region)).get("secret", name)
    return secret["arn"] if secret else f"arn:aws:secretsmanager:{caller.region}:{caller.account}:secret:{name}"


def _passed_roles(value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Every role that a request hands to somebody, at any depth."""
    if depth > 8:
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in _ROLE_MEMBERS and isinstance(inner, str):
                yield name, inner
            else:
                yield from _passed_roles(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _passed_roles(inner, depth + 1)
