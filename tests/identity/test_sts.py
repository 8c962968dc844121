"""STS and the enforcement of policies through the door, with the real boto3."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from shelf_serving import ACCOUNT, REGION, Served, refused, served

from batchyard.main.keys import HeldAttempt


def trusting(principal: dict[str, Any], **condition: Any) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **condition}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def allowing(action: str | list[str], resource: str = "*", effect: str = "Allow") -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


TRUST_ACCOUNT = trusting({"AWS": f"arn:aws:iam::{ACCOUNT}:root"})


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The small services with policies enforced."""
    with served(tmp_path_factory.mktemp("strict"), enforce_iam=True) as service:
        yield service


def user_with(yard: Served, name: str, *statements: dict[str, Any]) -> dict[str, str]:
    """The key of a new user with these statements."""
    yard.iam.create_user(UserName=name)
    if statements:
        yard.iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=policy(*statements))
    return yard.iam.create_access_key(UserName=name)["AccessKey"]  # type: ignore[no-any-return]


def test_an_assumed_role_signs_until_it_expires(yard: Served) -> None:
    yard.iam.create_role(RoleName="worker", Path="/x/", AssumeRolePolicyDocument=TRUST_ACCOUNT)
    answer = yard.sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/x/worker", RoleSessionName="me", DurationSeconds=900)
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/me"
    assert answer["AssumedRoleUser"]["Arn"] == arn
    assert 600 < answer["Credentials"]["Expiration"].timestamp() - time.time() <= 900
    session = yard.as_user("sts", answer["Credentials"])
    identity = session.get_caller_identity()
    assert identity["Arn"] == arn and identity["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]
    with refused("AccessDenied", "Cannot call GetSessionToken with session credentials"):
        session.get_session_token()
    with refused("ValidationError", "exceeds the MaxSessionDuration set for this role"):
        yard.sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/x/worker", RoleSessionName="me", DurationSeconds=7200)
    with refused("AccessDenied", f"is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::{ACCOUNT}:role/none"):
        yard.sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/none", RoleSessionName="me")
    tampered = {**answer["Credentials"], "AccessKeyId": "ASIATAMPEREDTAMPERED"}
    with refused("InvalidClientTokenId"):
        yard.as_user("sts", tampered).get_caller_identity()
    yard.clock_ms = int((time.time() - 7200) * 1000)
    try:
        old = yard.sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/x/worker", RoleSessionName="old")["Credentials"]
    finally:
        yard.clock_ms = None
    with refused("ExpiredToken", "The security token included in the request is expired"):
        yard.as_user("sts", old).get_caller_identity()


def test_session_tokens_and_key_info(yard: Served) -> None:
    key = user_with(yard, "token-user")
    session = yard.as_user("sts", key).get_session_token(DurationSeconds=900)["Credentials"]
    assert yard.as_user("sts", session).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/token-user"
    assert yard.sts.get_access_key_info(AccessKeyId=key["AccessKeyId"])["Account"] == ACCOUNT
    with refused("UnsupportedOperationException", "there is no identity federation"):
        yard.sts.get_federation_token(Name="federated")


def test_a_user_may_do_what_its_policies_allow(strict: Served) -> None:
    mine = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/mine/*"
    key = user_with(
        strict, "reader", allowing(["ssm:Get*", "ssm:PutParameter"], mine), allowing("ssm:GetParameter", mine + "secret", "Deny")
    )
    ssm = strict.as_user("ssm", key)
    ssm.put_parameter(Name="/mine/a", Value="1", Type="String")
    assert ssm.get_parameter(Name="/mine/a")["Parameter"]["Value"] == "1"
    arn = f"arn:aws:iam::{ACCOUNT}:user/reader"
    other = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/other"
    words = f"User: {arn} is not authorized to perform: ssm:GetParameter on resource: {other} because no identity-based policy allows"
    with refused("AccessDeniedException", words):
        ssm.get_parameter(Name="/other")
    with refused("AccessDeniedException", "with an explicit deny in an identity-based policy"):
        ssm.get_parameter(Name="/mine/the-secret")
    assert strict.as_user("sts", key).get_caller_identity()["Arn"] == arn
    with refused("AccessDenied", f"User: {arn} is not authorized to perform: iam:GetRole on resource:"):
        strict.as_user("iam", key).get_role(RoleName="x")
    strict.iam.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=policy(allowing("*")))
    assert strict.as_user("iam", key).get_user()["User"]["UserName"] == "reader"


def test_rights_by_group_boundary_and_variable(strict: Served) -> None:
    key = user_with(strict, "ada")
    strict.iam.create_group(GroupName="people")
    own = allowing("ssm:*", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/home/${{aws:username}}/*")
    strict.iam.put_group_policy(GroupName="people", PolicyName="home", PolicyDocument=policy(own))
    strict.iam.add_user_to_group(GroupName="people", UserName="ada")
    ssm = strict.as_user("ssm", key)
    ssm.put_parameter(Name="/home/ada/x", Value="1", Type="String")
    with refused("AccessDeniedException"):
        ssm.put_parameter(Name="/home/bob/x", Value="1", Type="String")
    strict.iam.put_user_permissions_boundary(UserName="ada", PermissionsBoundary="arn:aws:iam::aws:policy/AmazonSSMReadOnlyAccess")
    assert ssm.get_parameter(Name="/home/ada/x")["Parameter"]["Value"] == "1"
    with refused("AccessDeniedException"):
        ssm.put_parameter(Name="/home/ada/y", Value="1", Type="String")


def test_a_role_must_trust_who_assumes_it(strict: Served) -> None:
    key = user_with(strict, "assumer")
    sts = strict.as_user("sts", key)
    me = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/assumer"}
    strict.iam.create_role(RoleName="closed", AssumeRolePolicyDocument=trusting({"Service": "ec2.amazonaws.com"}))
    strict.iam.create_role(RoleName="named", AssumeRolePolicyDocument=trusting(me))
    strict.iam.create_role(RoleName="accounts", AssumeRolePolicyDocument=TRUST_ACCOUNT)
    sealed = trusting(me, Condition={"StringEquals": {"sts:ExternalId": "tango"}})
    strict.iam.create_role(RoleName="sealed", AssumeRolePolicyDocument=sealed)
    role = f"arn:aws:iam::{ACCOUNT}:role/"
    for name in ("closed", "accounts", "sealed"):
        with refused("AccessDenied", f"is not authorized to perform: sts:AssumeRole on resource: {role}{name}"):
            sts.assume_role(RoleArn=role + name, RoleSessionName="one")
    sts.assume_role(RoleArn=role + "sealed", RoleSessionName="one", ExternalId="tango")
    strict.iam.put_user_policy(UserName="assumer", PolicyName="a", PolicyDocument=policy(allowing("sts:AssumeRole", role + "accounts")))
    sts.assume_role(RoleArn=role + "accounts", RoleSessionName="one")
    strict.iam.put_role_policy(RoleName="named", PolicyName="p", PolicyDocument=policy(allowing("ssm:*")))
    narrowed = sts.assume_role(RoleArn=role + "named", RoleSessionName="one", Policy=policy(allowing("ssm:DescribeParameters")))
    ssm = strict.as_user("ssm", narrowed["Credentials"])
    assert "Parameters" in ssm.describe_parameters()
    with refused("AccessDeniedException"):
        ssm.put_parameter(Name="x", Value="1", Type="String")


def test_a_job_has_the_rights_of_its_role(strict: Served) -> None:
    strict.iam.create_role(RoleName="job-role", AssumeRolePolicyDocument=trusting({"Service": "ecs-tasks.amazonaws.com"}))
    strict.iam.put_role_policy(RoleName="job-role", PolicyName="p", PolicyDocument=policy(allowing("ssm:GetParameter")))
    strict.ssm.put_parameter(Name="for-jobs", Value="yes", Type="String")
    strict.held |= {"a" * 32: HeldAttempt("job-1", f"arn:aws:iam::{ACCOUNT}:role/job-role"), "b" * 32: HeldAttempt("job-2")}

    def job(attempt: str, service: str) -> Any:
        keys = strict.keys._keys(attempt)
        return strict.client(service, keys.access_key_id, keys.secret_access_key, keys.session_token)

    assert job("a" * 32, "sts").get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/job-role/job-1"
    assert job("a" * 32, "ssm").get_parameter(Name="for-jobs")["Parameter"]["Value"] == "yes"
    with refused("AccessDeniedException", "assumed-role/job-role/job-1 is not authorized to perform: ssm:DeleteParameter"):
        job("a" * 32, "ssm").delete_parameter(Name="for-jobs")
    assert job("b" * 32, "sts").get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/batchyard-job/job-2"
    with refused("AccessDenied"):
        job("b" * 32, "iam").create_user(UserName="intruder")
