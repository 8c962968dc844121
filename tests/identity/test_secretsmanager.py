"""Secrets Manager through the door, with the real boto3."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from shelf_serving import ACCOUNT, Served, refused


@pytest.fixture
def manager(yard: Served) -> Any:
    return yard.client("secretsmanager")


@pytest.fixture
def name() -> str:
    return f"n{uuid.uuid4().hex[:10]}"


def test_versions_and_stages(manager: Any, name: str) -> None:
    made = manager.create_secret(Name=name, SecretString="one", Description="d", Tags=[{"Key": "a", "Value": "1"}])
    assert made["ARN"].startswith(f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:{name}-")
    with refused("ResourceExistsException", f"The operation failed because the secret {name} already exists."):
        manager.create_secret(Name=name, SecretString="two")
    second = manager.put_secret_value(SecretId=name, SecretString="two")
    assert second["VersionStages"] == ["AWSCURRENT"]
    for id in (name, made["ARN"], made["ARN"][:-7]):
        assert manager.get_secret_value(SecretId=id)["SecretString"] == "two"
    assert manager.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")["SecretString"] == "one"
    assert manager.get_secret_value(SecretId=name, VersionId=made["VersionId"])["SecretString"] == "one"
    manager.update_secret_version_stage(
        SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=made["VersionId"], RemoveFromVersionId=second["VersionId"]
    )
    assert manager.get_secret_value(SecretId=name)["SecretString"] == "one"
    assert manager.describe_secret(SecretId=name)["VersionIdsToStages"] == {
        made["VersionId"]: ["AWSCURRENT"],
        second["VersionId"]: ["AWSPREVIOUS"],
    }
    with refused("ResourceNotFoundException", "can't find the specified secret value for staging label: none"):
        manager.get_secret_value(SecretId=name, VersionStage="none")
    manager.put_secret_value(SecretId=name, SecretString="three", VersionStages=["pending"])
    assert manager.get_secret_value(SecretId=name, VersionStage="pending")["SecretString"] == "three"
    assert len(manager.list_secret_version_ids(SecretId=name)["Versions"]) == 3
    manager.update_secret(SecretId=name, SecretBinary=b"\x00\xff", Description="later")
    assert manager.get_secret_value(SecretId=name)["SecretBinary"] == b"\x00\xff"
    found = manager.batch_get_secret_value(SecretIdList=[name, "no-such-secret"])
    assert [value["Name"] for value in found["SecretValues"]] == [name] and found["Errors"][0]["SecretId"] == "no-such-secret"


def test_a_request_repeated_by_its_token_is_one(manager: Any, name: str) -> None:
    token = str(uuid.uuid4())
    manager.create_secret(Name=name, SecretString="one", ClientRequestToken=token)
    assert manager.create_secret(Name=name, SecretString="one", ClientRequestToken=token)["VersionId"] == token
    assert manager.put_secret_value(SecretId=name, SecretString="one", ClientRequestToken=token)["VersionId"] == token
    with refused("ResourceExistsException", "already in use for a version of secret"):
        manager.put_secret_value(SecretId=name, SecretString="two", ClientRequestToken=token)


def test_deletion_with_a_window(yard: Served, manager: Any, name: str) -> None:
    manager.create_secret(Name=name, SecretString="one")
    with refused("InvalidParameterException", "between 7 and 30 days"):
        manager.delete_secret(SecretId=name, RecoveryWindowInDays=3)
    deleted = manager.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    assert 6.9 < (deleted["DeletionDate"].timestamp() - time.time()) / 86400 < 7.1
    with refused("InvalidRequestException", "because it was marked for deletion."):
        manager.get_secret_value(SecretId=name)
    with refused("InvalidRequestException", "already scheduled for deletion"):
        manager.create_secret(Name=name, SecretString="two")
    assert name not in [s["Name"] for s in manager.list_secrets()["SecretList"]]
    assert name in [s["Name"] for s in manager.list_secrets(IncludePlannedDeletion=True)["SecretList"]]
    manager.restore_secret(SecretId=name)
    assert manager.get_secret_value(SecretId=name)["SecretString"] == "one"
    manager.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    yard.clock_ms = int((time.time() + 8 * 86400) * 1000)
    try:
        manager.create_secret(Name=name, SecretString="anew")
        assert manager.get_secret_value(SecretId=name)["SecretString"] == "anew"
    finally:
        yard.clock_ms = None
    manager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    with refused("ResourceNotFoundException", "Secrets Manager can't find the specified secret."):
        manager.describe_secret(SecretId=name)


def test_lists_tags_and_policies(manager: Any, name: str) -> None:
    for n in range(3):
        manager.create_secret(Name=f"{name}/{n}", SecretString="x")
    pages = list(
        manager.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [name]}], PaginationConfig={"PageSize": 2})
    )
    assert [len(page["SecretList"]) for page in pages] == [2, 1]
    id = f"{name}/0"
    manager.tag_resource(SecretId=id, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    manager.untag_resource(SecretId=id, TagKeys=["a"])
    assert manager.describe_secret(SecretId=id)["Tags"] == [{"Key": "b", "Value": "2"}]
    manager.put_resource_policy(SecretId=id, ResourcePolicy='{"Version": "2012-10-17", "Statement": []}')
    assert "2012-10-17" in manager.get_resource_policy(SecretId=id)["ResourcePolicy"]
    manager.delete_resource_policy(SecretId=id)
    assert "ResourcePolicy" not in manager.get_resource_policy(SecretId=id)
    with refused("MalformedPolicyDocumentException"):
        manager.put_resource_policy(SecretId=id, ResourcePolicy="{")
    with refused("UnsupportedOperationException", "rotation is not available"):
        manager.rotate_secret(SecretId=id)


def test_passwords(manager: Any) -> None:
    password = manager.get_random_password(PasswordLength=40, ExcludePunctuation=True)["RandomPassword"]
    assert len(password) == 40 and password.isalnum()
    with refused("InvalidParameterException", "too short"):
        manager.get_random_password(PasswordLength=2)
