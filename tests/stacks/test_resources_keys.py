"""Keys and repositories of a stack, on the real services."""

from __future__ import annotations

import json
from typing import Any

import pytest
from resource_acts import SYSTEM_TAGS, FailingHands, Life
from stack_hands import ACCOUNT, REGION, Workbench

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import types

TYPES = types()
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "all", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
    ],
}


def life(bench: Workbench, kind: str, hands: Any = None) -> Life:
    return Life(hands or bench.hands, TYPES[f"AWS::{kind}"], kind.rpartition("::")[2])


KEY = {
    "Description": "of the lab",
    "KeyPolicy": POLICY,
    "EnableKeyRotation": True,
    "PendingWindowInDays": 7,
    "Tags": [{"Key": "lab", "Value": "7"}],
}


async def test_a_key_and_its_alias(bench: Workbench) -> None:
    key, alias = life(bench, "KMS::Key"), life(bench, "KMS::Alias")
    made = await key.create(**KEY)
    id = made.physical_id
    assert made.attributes == {"KeyId": id, "Arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{id}"}
    read = await key.read()
    assert read is not None and {**read, "PendingWindowInDays": 7} == {
        **KEY,
        "Enabled": True,
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "MultiRegion": False,
        "Origin": "AWS_KMS",
    }
    assert (await alias.create(AliasName="alias/lab", TargetKeyId=id)).physical_id == "alias/lab"
    assert await alias.read() == {"AliasName": "alias/lab", "TargetKeyId": id}
    other = (await life(bench, "KMS::Key").create()).physical_id
    await alias.update(AliasName="alias/lab", TargetKeyId=other)
    assert await alias.read() == {"AliasName": "alias/lab", "TargetKeyId": other}
    await key.update(Enabled=False)
    read = await key.read()
    assert read is not None and (read["Enabled"], read["EnableKeyRotation"], read["Description"]) == (False, False, "")
    assert read["KeyPolicy"]["Statement"][0]["Sid"] == "Enable IAM User Permissions"
    await key.update(**KEY)
    assert (await key.read() or {})["EnableKeyRotation"] is True
    with pytest.raises(Fault, match="cannot change the KeyUsage"):
        await key.update(KeyUsage="SIGN_VERIFY")
    for one in (alias, alias, key, key):
        await one.delete()
    assert await alias.read() is None and await key.read() is None
    with pytest.raises(Fault, match="KeySpec"):
        await life(bench, "KMS::Key").create(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")


@pytest.mark.parametrize("at", range(1, 7))
async def test_an_update_that_is_refused_leaves_a_key_as_it_was(bench: Workbench, at: int) -> None:
    key = life(bench, "KMS::Key")
    await key.create(**KEY)
    before, whole = await key.read(), key.kept
    await key.fail_to_update(at, Tags=[{"Key": "of", "Value": "1"}], Enabled=False)
    key.kept, attempted = whole, key.kept
    assert await key.read() == before
    key.kept = attempted
    await key.update(**KEY)
    assert await key.read() == before


REPOSITORY = {
    "ImageTagMutability": "IMMUTABLE",
    "ImageScanningConfiguration": {"ScanOnPush": True},
    "LifecyclePolicy": {
        "LifecyclePolicyText": json.dumps(
            {
                "rules": [
                    {
                        "rulePriority": 1,
                        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5},
                        "action": {"type": "expire"},
                    }
                ]
            }
        )
    },
    "RepositoryPolicyText": {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "pull", "Effect": "Allow", "Principal": "*", "Action": ["ecr:BatchGetImage"]}],
    },
    "Tags": [{"Key": "lab", "Value": "7"}],
}


async def test_a_repository(bench: Workbench) -> None:
    repository = life(bench, "ECR::Repository")
    made = await repository.create(RepositoryName="lab/aligner", **REPOSITORY)
    assert made.physical_id == "lab/aligner"
    assert made.attributes == {
        "Arn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/lab/aligner",
        "RepositoryUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/lab/aligner",
    }
    read = await repository.read()
    assert read == {"RepositoryName": "lab/aligner", "EncryptionConfiguration": {"EncryptionType": "AES256"}, **REPOSITORY}
    tags = (await bench.hands.call("ecr", "ListTagsForResource", {"resourceArn": made.attributes["Arn"]}))["tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"lab": "7", **SYSTEM_TAGS}
    await repository.update(RepositoryName="lab/aligner")
    assert await repository.read() == {
        "RepositoryName": "lab/aligner",
        "EncryptionConfiguration": {"EncryptionType": "AES256"},
        "ImageTagMutability": "MUTABLE",
        "ImageScanningConfiguration": {"ScanOnPush": False},
    }
    for one in (repository, repository):
        await one.delete()
    assert await repository.read() is None


@pytest.mark.parametrize("at", range(1, 7))
async def test_an_update_that_is_refused_leaves_a_repository_as_it_was(bench: Workbench, at: int) -> None:
    repository = life(bench, "ECR::Repository")
    await repository.create(**REPOSITORY)
    before, whole = await repository.read(), repository.kept
    await repository.fail_to_update(at, Tags=[{"Key": "of", "Value": "1"}])
    repository.kept, attempted = whole, repository.kept
    assert await repository.read() == before
    repository.kept = attempted
    await repository.update(**REPOSITORY)
    assert await repository.read() == before


@pytest.mark.parametrize("at", [2, 3])
async def test_a_repository_that_cannot_be_whole_is_not_there(bench: Workbench, at: int) -> None:
    with pytest.raises(Fault, match="was refused"):
        await life(bench, "ECR::Repository", FailingHands(bench.hands, at)).create(**REPOSITORY)
    assert (await bench.hands.call("ecr", "DescribeRepositories"))["repositories"] == []
