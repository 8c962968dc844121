"""IAM through the door, with the real boto3: the sequences that Terraform and aegea send, and AWS's refusals."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from shelf_serving import ACCOUNT, Served, refused

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
READ = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})
ECS_AGENT = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"


@pytest.fixture
def name() -> str:
    return f"n{uuid.uuid4().hex[:10]}"


@pytest.fixture
def iam(yard: Served) -> Any:
    return yard.client("iam")


def test_a_role_from_creation_to_deletion(iam: Any, name: str) -> None:
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Path="/jobs/", Tags=[{"Key": "a", "Value": "1"}])["Role"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/jobs/{name}" and made["RoleId"].startswith("AROA") and len(made["RoleId"]) == 21
    shown = iam.get_role(RoleName=name.upper())["Role"]
    assert shown["AssumeRolePolicyDocument"] == json.loads(TRUST)
    assert (shown["MaxSessionDuration"], shown["Tags"]) == (3600, [{"Key": "a", "Value": "1"}])
    with refused("EntityAlreadyExists", f"Role with name {name} already exists."):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName=name, PolicyArn=ECS_AGENT)
    iam.attach_role_policy(RoleName=name, PolicyArn=ECS_AGENT)
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert attached == [{"PolicyName": "AmazonEC2ContainerServiceforEC2Role", "PolicyArn": ECS_AGENT}]
    iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=READ)
    assert iam.get_role_policy(RoleName=name, PolicyName="read")["PolicyDocument"] == json.loads(READ)
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["read"]
    with refused("DeleteConflict", "Cannot delete entity, must detach all policies first."):
        iam.delete_role(RoleName=name)
    iam.detach_role_policy(RoleName=name, PolicyArn=ECS_AGENT)
    with refused("DeleteConflict", "Cannot delete entity, must delete policies first."):
        iam.delete_role(RoleName=name)
    iam.delete_role_policy(RoleName=name, PolicyName="read")
    iam.update_role(RoleName=name, Description="later", MaxSessionDuration=7200)
    iam.tag_role(RoleName=name, Tags=[{"Key": "b", "Value": "2"}])
    iam.untag_role(RoleName=name, TagKeys=["a"])
    assert iam.list_role_tags(RoleName=name)["Tags"] == [{"Key": "b", "Value": "2"}]
    iam.delete_role(RoleName=name)
    with refused("NoSuchEntity", f"The role with name {name} cannot be found."):
        iam.get_role(RoleName=name)


def test_an_instance_profile_as_terraform_makes_it(iam: Any, name: str) -> None:
    """Terraform's aws_iam_role, _role_policy_attachment and _instance_profile: create, read back, destroy."""
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    with refused("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"):
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    shown = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    assert [role["RoleName"] for role in shown["Roles"]] == [name]
    assert shown["Arn"] == f"arn:aws:iam::{ACCOUNT}:instance-profile/{name}"
    assert [p["InstanceProfileName"] for p in iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"]] == [name]
    with refused("DeleteConflict", "must remove roles from instance profile first."):
        iam.delete_role(RoleName=name)
    with refused("DeleteConflict"):
        iam.delete_instance_profile(InstanceProfileName=name)
    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=name)
    iam.delete_instance_profile(InstanceProfileName=name)
    iam.delete_role(RoleName=name)
    with refused("NoSuchEntity", f"Instance Profile {name} cannot be found."):
        iam.get_instance_profile(InstanceProfileName=name)


def test_what_aegea_does_for_a_role(iam: Any, name: str) -> None:
    with refused("NoSuchEntity"):
        iam.get_role(RoleName=name)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    for policy in ("service-role/AWSBatchServiceRole", "AmazonSSMManagedInstanceCore", "AmazonS3ReadOnlyAccess"):
        iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    assert name in [role["RoleName"] for page in iam.get_paginator("list_roles").paginate() for role in page["Roles"]]
    with refused("NoSuchEntity", "The role policy with name none cannot be found."):
        iam.get_role_policy(RoleName=name, PolicyName="none")


def test_a_managed_policy_and_its_versions(iam: Any, name: str) -> None:
    policy = iam.create_policy(PolicyName=name, PolicyDocument=READ, Description="reads")["Policy"]
    arn = policy["Arn"]
    assert (policy["DefaultVersionId"], policy["AttachmentCount"], policy["IsAttachable"]) == ("v1", 0, True)
    with refused("EntityAlreadyExists", f"A policy called {name} already exists. Duplicate names are not allowed."):
        iam.create_policy(PolicyName=name, PolicyDocument=READ)
    for _ in range(4):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=READ, SetAsDefault=True)
    with refused("LimitExceeded", "A managed policy can have up to 5 versions."):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=READ)
    assert [v["VersionId"] for v in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == ["v5", "v4", "v3", "v2", "v1"]
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v5")["PolicyVersion"]["Document"] == json.loads(READ)
    with refused("DeleteConflict", "Cannot delete the default version of a policy."):
        iam.delete_policy_version(PolicyArn=arn, VersionId="v5")
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    for version in ("v2", "v3", "v4"):
        iam.delete_policy_version(PolicyArn=arn, VersionId=version)
    with refused("DeleteConflict", "This policy has more than one version."):
        iam.delete_policy(PolicyArn=arn)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v5")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    assert [r["RoleName"] for r in iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]] == [name]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    assert arn in [p["Arn"] for p in iam.list_policies(Scope="Local", OnlyAttached=True)["Policies"]]
    with refused("DeleteConflict", "Cannot delete a policy attached to entities."):
        iam.delete_policy(PolicyArn=arn)
    iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    with refused("NoSuchEntity", f"Policy {arn} was not found."):
        iam.get_policy(PolicyArn=arn)


def test_policies_that_aws_manages(iam: Any, name: str) -> None:
    policy = iam.get_policy(PolicyArn=ECS_AGENT)["Policy"]
    assert (policy["Path"], policy["PolicyName"]) == ("/service-role/", "AmazonEC2ContainerServiceforEC2Role")
    document = iam.get_policy_version(PolicyArn=ECS_AGENT, VersionId=policy["DefaultVersionId"])["PolicyVersion"]["Document"]
    assert "ecs:RegisterContainerInstance" in document["Statement"][0]["Action"]
    assert len([p for page in iam.get_paginator("list_policies").paginate(Scope="AWS") for p in page["Policies"]]) > 50
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    unknown = "arn:aws:iam::aws:policy/NoSuchPolicy"
    with refused("NoSuchEntity", f"Policy {unknown} does not exist or is not attachable."):
        iam.attach_role_policy(RoleName=name, PolicyArn=unknown)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "Syntax errors in policy."),
        ('{"Statement": []}', "Policy document must be version 2012-10-17 or greater."),
        ('{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*"}]}', "Policy statement must contain actions."),
        ('{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*"}]}', "Policy statement must contain resources."),
        (
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "get", "Resource": "*"}]}',
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "bucket"}]}',
            'Resource bucket must be in ARN format or "*".',
        ),
        (
            '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Principal": "*"}}',
            "Policy document should not specify a principal.",
        ),
    ],
)
def test_documents_that_are_no_policies(iam: Any, name: str, document: str, words: str) -> None:
    with refused("MalformedPolicyDocument", words):
        iam.create_policy(PolicyName=name, PolicyDocument=document)


def test_trust_policies_that_are_none(iam: Any, name: str) -> None:
    with refused("MalformedPolicyDocument", "Has prohibited field Resource"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=READ)
    with refused("MalformedPolicyDocument", "AssumeRole policy may only specify STS AssumeRole actions."):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST.replace("sts:AssumeRole", "s3:GetObject"))


def test_users_groups_and_keys(yard: Served, iam: Any, name: str) -> None:
    assert iam.get_user()["User"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    iam.create_user(UserName=name)
    iam.create_group(GroupName=f"g-{name}")
    iam.add_user_to_group(GroupName=f"g-{name}", UserName=name)
    assert [u["UserName"] for u in iam.get_group(GroupName=f"g-{name}")["Users"]] == [name]
    assert [g["GroupName"] for g in iam.list_groups_for_user(UserName=name)["Groups"]] == [f"g-{name}"]
    key = iam.create_access_key(UserName=name)["AccessKey"]
    mine = yard.as_user("sts", key).get_caller_identity()
    assert mine["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/{name}" and mine["UserId"].startswith("AIDA")
    assert yard.as_user("iam", key).get_user()["User"]["UserName"] == name
    iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with refused("InvalidClientTokenId"):
        yard.as_user("sts", key).get_caller_identity()
    with refused("DeleteConflict", "Cannot delete entity, must delete access keys first."):
        iam.delete_user(UserName=name)
    iam.create_access_key(UserName=name)
    with refused("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2"):
        iam.create_access_key(UserName=name)
    for one in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=one["AccessKeyId"])
    iam.remove_user_from_group(GroupName=f"g-{name}", UserName=name)
    iam.delete_user(UserName=name)
    iam.delete_group(GroupName=f"g-{name}")
    with refused("NoSuchEntity", f"The user with name {name} cannot be found."):
        iam.get_user(UserName=name)


def test_roles_of_services(iam: Any) -> None:
    role = iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")["Role"]
    assert (role["RoleName"], role["Path"]) == ("AWSServiceRoleForBatch", "/aws-service-role/batch.amazonaws.com/")
    with refused("InvalidInput", "has been taken in this account"):
        iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    with refused("UnmodifiableEntity"):
        iam.delete_role(RoleName="AWSServiceRoleForBatch")
    task = iam.delete_service_linked_role(RoleName="AWSServiceRoleForBatch")["DeletionTaskId"]
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"


def test_alias_summary_and_boundary(iam: Any, name: str) -> None:
    iam.create_account_alias(AccountAlias="genomes")
    assert iam.list_account_aliases()["AccountAliases"] == ["genomes"]
    iam.delete_account_alias(AccountAlias="genomes")
    boundary = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, PermissionsBoundary=boundary)
    assert iam.get_role(RoleName=name)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    iam.delete_role_permissions_boundary(RoleName=name)
    assert "PermissionsBoundary" not in iam.get_role(RoleName=name)["Role"]
    assert iam.get_account_summary()["SummaryMap"]["Roles"] >= 1


def test_the_simulator_asks_the_evaluator(iam: Any, name: str) -> None:
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=READ)
    found = iam.simulate_principal_policy(PolicySourceArn=role["Arn"], ActionNames=["s3:GetObject", "s3:PutObject"])["EvaluationResults"]
    assert [(one["EvalActionName"], one["EvalDecision"]) for one in found] == [
        ("s3:GetObject", "allowed"),
        ("s3:PutObject", "implicitDeny"),
    ]


def test_a_group_that_moves(iam: Any, name: str) -> None:
    iam.create_group(GroupName=name)
    iam.create_user(UserName=name)
    iam.add_user_to_group(GroupName=name, UserName=name)
    iam.update_group(GroupName=name, NewGroupName=f"{name}-new", NewPath="/lab/")
    group = iam.get_group(GroupName=f"{name}-new")
    assert group["Group"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/lab/{name}-new"
    assert [user["UserName"] for user in group["Users"]] == [name]
    with refused("NoSuchEntity"):
        iam.update_group(GroupName=name, NewPath="/x/")
    iam.create_group(GroupName=name)
    with refused("EntityAlreadyExists"):
        iam.update_group(GroupName=name, NewGroupName=f"{name}-new")
    with refused("ValidationError"):
        iam.update_group(GroupName=name, NewPath="/x")
