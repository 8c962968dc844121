"""AWS::SecretsManager::Secret and ResourcePolicy."""

from __future__ import annotations

import json

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import (
    Steps,
    answer_if_there,
    call_if_there,
    change_tags,
    changed,
    document_of,
    document_text,
    given,
    listed,
    own_tags,
    refused,
    require_known,
    tags_of,
)
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

SERVICE = "secretsmanager"
_SECRET = ("Description", "GenerateSecretString", "KmsKeyId", "Name", "SecretString", "Tags")
_REFUSALS = {"ReplicaRegions": "secrets are not replicated to other regions", "Type": "secrets of partners are not kept"}
_PASSWORD = (
    "ExcludeCharacters",
    "ExcludeLowercase",
    "ExcludeNumbers",
    "ExcludePunctuation",
    "ExcludeUppercase",
    "IncludeSpace",
    "PasswordLength",
    "RequireEachIncludedType",
)


async def create_secret(hands: Hands, asked: Asked) -> Made:
    """A secret with its value, given or made up. Ref is its ARN."""
    require_known(asked, _SECRET, _REFUSALS)
    properties, tags = asked.properties, {**tags_of(asked), **asked.system_tags}
    params = {
        "Name": properties.get("Name") or asked.name,
        **given(properties, "Description", "KmsKeyId"),
        **({"Tags": listed(tags)} if tags else {}),
        **await _value(hands, properties),
    }
    answer = await hands.call(SERVICE, "CreateSecret", params)
    return Made(answer["ARN"], {"Id": answer["ARN"], **_version(answer, properties)})


def _version(answer: Properties, properties: Properties, former: str = "") -> dict[str, str]:
    """What an update that is taken back must know of a value that was made up: its version, the one before, and by which rule."""
    rule = json.dumps(properties.get("GenerateSecretString"), sort_keys=True)
    return {"VersionId": answer.get("VersionId", ""), "FormerVersionId": former, "Rule": rule}


async def _value(hands: Hands, properties: Properties) -> Properties:
    """SecretString, if there is to be one: a password that is made up stands in a template of JSON where one is given."""
    text, rule = properties.get("SecretString"), properties.get("GenerateSecretString")
    if text is not None and rule is not None:
        raise Fault("InvalidRequest", "You must specify either SecretString or GenerateSecretString, not both.")
    if rule is None:
        return given(properties, "SecretString")
    template, key = rule.get("SecretStringTemplate"), rule.get("GenerateStringKey")
    if (template is None) is not (key is None):
        raise Fault("InvalidRequest", "GenerateStringKey and SecretStringTemplate must be specified together, or neither of them.")
    unknown = [name for name in rule if name not in (*_PASSWORD, "SecretStringTemplate", "GenerateStringKey")]
    if unknown:
        raise refused("AWS::SecretsManager::Secret", f"GenerateSecretString.{unknown[0]}")
    password = (await hands.call(SERVICE, "GetRandomPassword", given(rule, *_PASSWORD)))["RandomPassword"]
    if template is None:
        return {"SecretString": password}
    try:
        content = json.loads(template)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Fault("InvalidRequest", "SecretStringTemplate must be a JSON object.")
    return {"SecretString": json.dumps({**content, str(key): password})}


async def update_secret(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Another description, key or value. A rule to make one up that differs makes up another one, unless it comes back."""
    require_known(asked, _SECRET, _REFUSALS)
    id, before, after = kept.physical_id, kept.properties, asked.properties
    async with Steps(hands, SERVICE) as steps:
        await change_tags(
            steps,
            asked,
            kept,
            put=lambda tags: ("TagResource", {"SecretId": id, "Tags": listed(tags)}),
            take=lambda keys: ("UntagResource", {"SecretId": id, "TagKeys": keys}),
        )
        params: Properties = {}
        for name in ("Description", "KmsKeyId"):
            if changed(before, after, name):
                params[name] = after.get(name) or ""
        made = dict(kept.attributes)
        is_other = changed(before, after, "SecretString", "GenerateSecretString")
        comes_back = asked.is_undoing and after.get("GenerateSecretString") is not None
        if is_other and not comes_back:
            params |= await _value(hands, after)
        if params:
            answer = await steps.call("UpdateSecret", {"SecretId": id, **params})
            if "VersionId" in answer:
                made |= _version(answer, after, made.get("VersionId", ""))
        if is_other and comes_back:
            made |= await _bring_back(steps, id, after, made)
    return Made(id, made)


async def _bring_back(steps: Steps, id: str, properties: Properties, attributes: dict[str, str]) -> dict[str, str]:
    """Make the value before the current one again, if the current one was made by another rule than `properties` have."""
    current, former = attributes.get("VersionId", ""), attributes.get("FormerVersionId", "")
    if attributes.get("Rule") == _version({}, properties)["Rule"] or not former:
        return {}
    stage = {"SecretId": id, "VersionStage": "AWSCURRENT", "MoveToVersionId": former, "RemoveFromVersionId": current}
    await steps.call_unless("InvalidParameterException", "UpdateSecretVersionStage", stage)  # unless somebody else has put one since
    return _version({"VersionId": former}, properties)


async def delete_secret(hands: Hands, kept: Kept) -> None:
    """At once, so that its name is free again: CloudFormation leaves no window to bring it back."""
    params = {"SecretId": kept.physical_id, "ForceDeleteWithoutRecovery": True}
    await call_if_there(hands, SERVICE, "DeleteSecret", params)


async def read_secret(hands: Hands, kept: Kept) -> Properties | None:
    """The secret without its value, which is nobody's business here."""
    secret = await answer_if_there(hands, SERVICE, "DescribeSecret", {"SecretId": kept.physical_id})
    if secret is None:
        return None
    if secret.get("DeletedDate"):
        return None
    properties = given(secret, "Name", "Description", "KmsKeyId")
    tags = own_tags(secret.get("Tags", []), kept)
    return {**properties, **given(kept.properties, "SecretString", "GenerateSecretString"), **({"Tags": tags} if tags else {})}


# --- the policy of a secret ---

_POLICY = ("ResourcePolicy", "SecretId")


def _policy(asked: Asked) -> Properties:
    require_known(asked, _POLICY, {"BlockPublicPolicy": "policies of secrets are recorded, not evaluated"})
    text = document_text(asked.properties["ResourcePolicy"])
    return {"SecretId": asked.properties["SecretId"], "ResourcePolicy": text}


async def create_policy(hands: Hands, asked: Asked) -> Made:
    """A policy put on a secret. Ref is the secret's ARN."""
    answer = await hands.call(SERVICE, "PutResourcePolicy", _policy(asked))
    return Made(answer["ARN"], {"Id": answer["ARN"]})


async def update_policy(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Another text."""
    await hands.call(SERVICE, "PutResourcePolicy", _policy(asked))
    return Made(kept.physical_id, kept.attributes)


async def delete_policy(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteResourcePolicy", {"SecretId": kept.physical_id})


async def read_policy(hands: Hands, kept: Kept) -> Properties | None:
    """The policy as the secret has it."""
    answer = await answer_if_there(hands, SERVICE, "GetResourcePolicy", {"SecretId": kept.physical_id})
    if answer is None:
        return None
    text = answer.get("ResourcePolicy")
    return {**given(kept.properties, "SecretId"), "ResourcePolicy": document_of(text)} if text else None


TYPES = (
    ResourceType(
        "AWS::SecretsManager::Secret",
        create_secret,
        update_secret,
        delete_secret,
        read_secret,
        named=NameRule("Name", 256),
        has_stack_tags=True,
    ),
    ResourceType("AWS::SecretsManager::ResourcePolicy", create_policy, update_policy, delete_policy, read_policy),
)
