"""The AWS CLI on the small services: what people type."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yard import Yard, serving

TRUST = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"batch.amazonaws.com"},"Action":"sts:AssumeRole"}]}'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("cli") / "data", "--vcpus", "1", "--memory-mib", "512") as yard:
        yield yard


def aws(service: Yard, *arguments: str) -> Any:
    command = [str(Path(sys.executable).parent / "aws"), *arguments, "--output", "json"]
    done = subprocess.run(command, env=service.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else {}


def test_what_people_type(service: Yard) -> None:
    aws(service, "iam", "create-role", "--role-name", "batch", "--assume-role-policy-document", TRUST)
    aws(
        service,
        "iam",
        "attach-role-policy",
        "--role-name",
        "batch",
        "--policy-arn",
        "arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole",
    )
    attached = aws(service, "iam", "list-attached-role-policies", "--role-name", "batch")["AttachedPolicies"]
    assert attached[0]["PolicyName"] == "AWSBatchServiceRole"
    assert aws(service, "iam", "get-role", "--role-name", "batch")["Role"]["AssumeRolePolicyDocument"] == json.loads(TRUST)
    subnets = aws(service, "ec2", "describe-subnets", "--filters", "Name=default-for-az,Values=true", "--query", "Subnets[].SubnetId")
    assert len(subnets) == 3
    aws(service, "ssm", "put-parameter", "--name", "/a/b", "--value", "c", "--type", "SecureString")
    shown = aws(service, "ssm", "get-parameters-by-path", "--path", "/a", "--with-decryption", "--query", "Parameters[].Value")
    assert shown == ["c"]
    aws(service, "secretsmanager", "create-secret", "--name", "s", "--secret-string", "t")
    assert aws(service, "secretsmanager", "get-secret-value", "--secret-id", "s")["SecretString"] == "t"
    assert aws(service, "ecs", "list-clusters")["clusterArns"] == []
