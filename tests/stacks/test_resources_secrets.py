"""Parameters and secrets of a stack, on the real services."""

from __future__ import annotations

import json
from typing import Any

import pytest
from resource_acts import SYSTEM_TAGS, Life
from stack_hands import ACCOUNT, REGION, Workbench

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import types

TYPES = types()


def life(bench: Workbench, kind: str, hands: Any = None) -> Life:
    return Life(hands or bench.hands, TYPES[f"AWS::{kind}"], kind.rpartition("::")[2])


async def test_a_parameter(bench: Workbench) -> None:
    parameter = life(bench, "SSM::Parameter")
    made = await parameter.create(Name="/lab/queue", Type="String", Value="default", Description="one", Tags={"lab": "7"}, tags={"of": "s"})
    assert made.physical_id == "/lab/queue"
    shown = {"Name": "/lab/queue", "Type": "String", "Value": "default", "Description": "one", "DataType": "text", "Tier": "Standard"}
    assert made.attributes == {**shown, "Arn": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/lab/queue"}
    described = {"Name": "/lab/queue", "DataType": "text", "Tier": "Standard"}
    assert await parameter.read() == {**described, "Type": "String", "Value": "default", "Description": "one", "Tags": {"lab": "7"}}
    of_it = {"ResourceType": "Parameter", "ResourceId": "/lab/queue"}
    tags = (await bench.hands.call("ssm", "ListTagsForResource", of_it))["TagList"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"lab": "7", "of": "s", **SYSTEM_TAGS}
    updated = await parameter.update(Name="/lab/queue", Type="String", Value="high")
    assert updated.attributes["Value"] == "high"
    assert await parameter.read() == {**described, "Type": "String", "Value": "high"}
    for one in (parameter, parameter):
        await one.delete()
    assert await parameter.read() is None


async def test_what_is_no_parameter_of_a_stack(bench: Workbench) -> None:
    with pytest.raises(Fault, match="SecureString"):
        await life(bench, "SSM::Parameter").create(Type="SecureString", Value="x")
    with pytest.raises(Fault, match="AllowedPattern"):
        await life(bench, "SSM::Parameter").create(Type="String", Value="x", AllowedPattern="y")
    with pytest.raises(Fault, match="reserved"):
        await life(bench, "SSM::Parameter").create(Type="String", Value="x", Tags={"aws:cloudformation:stack-name": "another"})
    made = await life(bench, "SSM::Parameter").create(Type="StringList", Value="a,b")
    assert made.physical_id == "genomics-Parameter-1A2B3C4D5E6F" and made.attributes["Value"] == "a,b"


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_an_update_that_is_refused_leaves_a_parameter_as_it_was(bench: Workbench, at: int) -> None:
    parameter = life(bench, "SSM::Parameter")
    await parameter.create(Name="p", Type="String", Value="1", Tags={"a": "1", "b": "1"})
    before = await parameter.read()
    await parameter.fail_to_update(at, Name="p", Type="String", Value="2", Tags={"a": "2", "c": "1"})
    assert await parameter.read() == before
    await parameter.update(Name="p", Type="String", Value="1", Tags={"a": "1", "b": "1"})
    assert await parameter.read() == before


async def value_of(bench: Workbench, arn: str) -> str:
    return str((await bench.hands.call("secretsmanager", "GetSecretValue", {"SecretId": arn}))["SecretString"])


async def test_a_secret(bench: Workbench) -> None:
    secret = life(bench, "SecretsManager::Secret")
    made = await secret.create(Name="lab/key", SecretString="s3cret", Tags=[{"Key": "lab", "Value": "7"}])
    arn = made.physical_id
    assert arn.startswith(f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:lab/key-") and made.attributes["Id"] == arn
    assert await value_of(bench, arn) == "s3cret"
    await secret.update(Name="lab/key", SecretString="another", Description="two")
    assert await value_of(bench, arn) == "another"
    assert (await secret.read() or {})["Description"] == "two"
    policy = life(bench, "SecretsManager::ResourcePolicy")
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}]}
    assert (await policy.create(SecretId=arn, ResourcePolicy=document)).physical_id == arn
    assert await policy.read() == {"SecretId": arn, "ResourcePolicy": document}
    for one in (policy, policy, secret, secret):
        await one.delete()
    assert await secret.read() is None and await policy.read() is None
    again = await secret.create(Name="lab/key", SecretString="again")
    assert again.physical_id != arn


async def test_a_secret_that_is_made_up(bench: Workbench) -> None:
    secret = life(bench, "SecretsManager::Secret")
    rule = {
        "PasswordLength": 40,
        "ExcludePunctuation": True,
        "ExcludeCharacters": "abc",
        "IncludeSpace": False,
        "SecretStringTemplate": json.dumps({"user": "lab"}),
        "GenerateStringKey": "password",
    }
    arn = (await secret.create(GenerateSecretString=rule)).physical_id
    first = json.loads(await value_of(bench, arn))
    assert first["user"] == "lab" and len(first["password"]) == 40
    assert first["password"].isalnum() and not set("abc") & set(first["password"])
    await secret.update(GenerateSecretString=rule, Description="the value stays")
    assert json.loads(await value_of(bench, arn)) == first
    await secret.update(GenerateSecretString={"PasswordLength": 12, "RequireEachIncludedType": True})
    assert len(await value_of(bench, arn)) == 12
    secret.is_undoing = True
    for _ in range(2):  # what was taken back already stays as it is
        await secret.update(GenerateSecretString=rule)
        assert json.loads(await value_of(bench, arn)) == first
    with pytest.raises(Fault, match="not both"):
        await life(bench, "SecretsManager::Secret").create(SecretString="x", GenerateSecretString={})
    with pytest.raises(Fault, match="together"):
        await life(bench, "SecretsManager::Secret").create(GenerateSecretString={"GenerateStringKey": "x"})
    with pytest.raises(Fault, match="ReplicaRegions"):
        await life(bench, "SecretsManager::Secret").create(ReplicaRegions=[{"Region": "us-east-1"}])
