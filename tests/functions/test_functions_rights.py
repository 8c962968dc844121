"""Functions where policies are enforced: who may make and invoke them, and what they may do themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from function_code import create, invoke, run
from test_functions import refused

from yard import serving

TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
READS = """
    import botocore.exceptions
    import botocore.session

    def handler(event, context):
        s3 = botocore.session.get_session().create_client("s3")
        try:
            return s3.get_object(Bucket="samples", Key=event)["Body"].read().decode()
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"]
    """


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def test_a_function_may_do_what_its_role_may_and_not_everybody_may_give_it_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("enforced") / "data", "--enforce-iam") as yard:
        iam, s3 = yard.client("iam"), yard.client("s3")
        role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=document(TRUST))["Role"]["Arn"]
        allowed = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::samples/open"}
        iam.put_role_policy(RoleName="reader", PolicyName="reads", PolicyDocument=document(allowed))
        s3.create_bucket(Bucket="samples")
        for key in ("open", "closed"):
            s3.put_object(Bucket="samples", Key=key, Body=b"ACGT")
        assert run(yard, "reads", READS, "open", Role=role, Timeout=60, MemorySize=512)[0] == "ACGT"
        assert invoke(yard, "reads", "closed")[0] == "AccessDenied"

        iam.create_user(UserName="ada")
        keys = iam.create_access_key(UserName="ada")["AccessKey"]
        arn = f"arn:aws:lambda:us-east-1:{role.split(':')[4]}:function:reads"
        theirs = [
            {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": arn},
            {"Effect": "Allow", "Action": ["lambda:CreateFunction", "lambda:UpdateFunctionCode"], "Resource": "*"},
        ]
        iam.put_user_policy(UserName="ada", PolicyName="functions", PolicyDocument=document(*theirs))
        hers = yard.client("lambda", aws_access_key_id=keys["AccessKeyId"], aws_secret_access_key=keys["SecretAccessKey"])
        assert json.loads(hers.invoke(FunctionName=arn, Payload=b'"open"')["Payload"].read()) == "ACGT"
        with refused("AccessDeniedException", f"lambda:DeleteFunction on resource: {arn}"):
            hers.delete_function(FunctionName="reads")
        with refused("AccessDeniedException", f"iam:PassRole on resource: {role}"):
            asked = {"Runtime": "python3.12", "Handler": "index.handler", "Role": role, "Code": {"ZipFile": b"x"}}
            hers.create_function(FunctionName="mine", **asked)
        with refused("AccessDeniedException", "s3:GetObject on resource: arn:aws:s3:::samples/closed"):
            hers.update_function_code(FunctionName="reads", S3Bucket="samples", S3Key="closed")
        create(yard, "other", READS, Role=role)
        with refused("AccessDeniedException", "lambda:InvokeFunction"):
            hers.invoke(FunctionName="other")
