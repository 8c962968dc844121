"""`aws:ResourceAccount`, which the roles of a bootstrapped CDK are bound to, under `--enforce-iam`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from yard import Yard, serving


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    with serving(tmp_path / "yard", "--enforce-iam") as made:
        yield made


def test_a_role_reaches_what_is_in_the_account_of_its_condition(yard: Yard) -> None:
    account = yard.client("sts").get_caller_identity()["Account"]
    yard.client("s3").create_bucket(Bucket="assets")
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}]}
    for name, of in (("own", account), ("other", "999999999999")):
        condition = {"StringEquals": {"aws:ResourceAccount": [of]}}
        rights = {"Effect": "Allow", "Action": ["s3:PutObject", "ssm:PutParameter"], "Resource": "*", "Condition": condition}
        iam = yard.client("iam")
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="files", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [rights]}))
        keys = yard.client("sts").assume_role(RoleArn=arn, RoleSessionName="files")["Credentials"]
        given = {
            "aws_access_key_id": keys["AccessKeyId"],
            "aws_secret_access_key": keys["SecretAccessKey"],
            "aws_session_token": keys["SessionToken"],
        }
        s3, ssm = yard.client("s3", **given), yard.client("ssm", **given)
        if of == account:
            s3.put_object(Bucket="assets", Key="template.json", Body=b"{}")
            ssm.put_parameter(Name="/cdk/version", Value="1", Type="String")
        else:
            with pytest.raises(ClientError, match="AccessDenied"):
                s3.put_object(Bucket="assets", Key="template.json", Body=b"{}")
            with pytest.raises(ClientError, match="AccessDenied"):
                ssm.put_parameter(Name="/cdk/other", Value="1", Type="String")
