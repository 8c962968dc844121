"""Roles, policies, users and keys of a stack, on the real IAM: what Ref and GetAtt give, what updates change, and that nothing is left."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from resource_acts import FailingHands, Life
from stack_hands import ACCOUNT, Workbench

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import types

TYPES = types()
STATEMENT = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
POLICY = {"Version": "2012-10-17", "Statement": STATEMENT}
OTHER = {"Version": "2012-10-17", "Statement": [{**STATEMENT, "Action": ["s3:PutObject"]}]}
BROKEN = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "nonsense", "Resource": "*"}]}
TRUST = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
}
CONTAINERS = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
SPOT = "arn:aws:iam::aws:policy/service-role/AmazonEC2SpotFleetTaggingRole"


def life(bench: Workbench, kind: str, hands: Any = None) -> Life:
    return Life(hands or bench.hands, TYPES[f"AWS::IAM::{kind}"], kind)


async def names(bench: Workbench, operation: str, **params: Any) -> list[str]:
    """The names or ARNs of a list."""
    answer = await bench.hands.call("iam", operation, params)
    found = next(value for value in answer.values() if isinstance(value, list))
    return [one if isinstance(one, str) else next(v for k, v in one.items() if k.endswith(("Name", "Arn"))) for one in found]


async def residue(bench: Workbench) -> list[str]:
    """Everything that the account has of its own."""
    found = []
    for operation in ("ListRoles", "ListUsers", "ListGroups", "ListInstanceProfiles"):
        found += await names(bench, operation)
    return found + await names(bench, "ListPolicies", Scope="Local")


ROLE = {
    "AssumeRolePolicyDocument": TRUST,
    "ManagedPolicyArns": [CONTAINERS],
    "Policies": [{"PolicyName": "reads", "PolicyDocument": POLICY}, {"PolicyName": "writes", "PolicyDocument": OTHER}],
}


async def test_a_role(bench: Workbench) -> None:
    role = life(bench, "Role")
    made = await role.create(**ROLE, Path="/genomics/", Tags=[{"Key": "lab", "Value": "7"}], tags={"lab": "1", "of": "stack"})
    assert made.physical_id == "genomics-Role-1A2B3C4D5E6F"
    assert made.attributes["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/genomics/{made.physical_id}"
    assert str(made.attributes["RoleId"]).startswith("AROA")
    read = await role.read()
    assert read is not None and read["Policies"] == ROLE["Policies"] and read["ManagedPolicyArns"] == [CONTAINERS]
    assert read["AssumeRolePolicyDocument"] == TRUST and read["Tags"] == [{"Key": "lab", "Value": "7"}]
    shown = (await bench.hands.call("iam", "GetRole", {"RoleName": made.physical_id}))["Role"]
    assert {tag["Key"]: tag["Value"] for tag in shown["Tags"]} == {"lab": "7", "of": "stack"}
    await role.delete()
    await role.delete()
    assert await role.read() is None and await residue(bench) == []


async def test_an_update_of_a_role_touches_what_differs(bench: Workbench) -> None:
    role = life(bench, "Role", FailingHands(bench.hands))
    await role.create(**ROLE)
    role.hands.calls.clear()  # type: ignore[attr-defined]
    after = {
        **ROLE,
        "ManagedPolicyArns": [SPOT],
        "Policies": [{"PolicyName": "reads", "PolicyDocument": POLICY}, {"PolicyName": "others", "PolicyDocument": OTHER}],
        "MaxSessionDuration": 7200,
        "Tags": [{"Key": "lab", "Value": "8"}],
    }
    await role.update(**after)
    assert [operation for operation, _ in role.hands.calls] == [  # type: ignore[attr-defined]
        "UpdateRole",
        "DetachRolePolicy",
        "DeleteRolePolicy",
        "AttachRolePolicy",
        "PutRolePolicy",
        "TagRole",
    ]
    read = await role.read()
    assert read is not None and {**read, "RoleName": None, "Path": None} == {**after, "RoleName": None, "Path": None}
    await role.update(**ROLE)
    read = await role.read()
    assert read is not None and read["MaxSessionDuration"] == 3600 and "Tags" not in read and read["Policies"] == ROLE["Policies"]


async def test_a_role_that_cannot_be_whole_is_not_there(bench: Workbench) -> None:
    broken = [*ROLE["Policies"], {"PolicyName": "broken", "PolicyDocument": BROKEN}]  # type: ignore[misc]
    with pytest.raises(Fault) as refused:
        await life(bench, "Role").create(**{**ROLE, "Policies": broken})
    assert refused.value.code == "MalformedPolicyDocument"
    assert await residue(bench) == []


@pytest.mark.parametrize("at", range(1, 8))
async def test_an_update_that_is_refused_leaves_a_role_as_it_was(bench: Workbench, at: int) -> None:
    role = life(bench, "Role")
    await role.create(**ROLE, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "1"}])
    before = await role.read()
    changes = {
        "AssumeRolePolicyDocument": {**TRUST, "Statement": [{**TRUST["Statement"], "Sid": "Other"}]},  # type: ignore[dict-item]
        "ManagedPolicyArns": [SPOT],
        "Policies": [{"PolicyName": "reads", "PolicyDocument": OTHER}],
        "Description": "another",
        "PermissionsBoundary": CONTAINERS,
        "Tags": [{"Key": "a", "Value": "2"}, {"Key": "c", "Value": "1"}],
    }
    whole = role.kept
    await role.fail_to_update(at, **changes)
    role.kept, attempted = whole, role.kept
    assert await role.read() == before
    role.kept = attempted
    await role.update(**ROLE, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "1"}])
    assert await role.read() == before


async def test_what_others_attached_keeps_a_role(bench: Workbench) -> None:
    role = life(bench, "Role")
    made = await role.create(**ROLE)
    await bench.hands.call("iam", "AttachRolePolicy", {"RoleName": made.physical_id, "PolicyArn": SPOT})
    with pytest.raises(Fault) as refused:
        await role.delete()
    assert refused.value.message == "Cannot delete entity, must detach all policies first."


async def test_an_instance_profile(bench: Workbench) -> None:
    first, second = life(bench, "Role"), life(bench, "Role")
    second.logical_id = "Second"
    roles = [(await first.create(**ROLE)).physical_id, (await second.create(**ROLE)).physical_id]
    profile = life(bench, "InstanceProfile")
    made = await profile.create(Roles=roles[:1])
    assert made.attributes == {"Arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/{made.physical_id}"}
    await profile.update(Roles=roles[1:])
    read = await profile.read()
    assert read is not None and read["Roles"] == roles[1:]
    for at in (1, 2):
        await profile.fail_to_update(at, Roles=roles[:1])
        await profile.update(Roles=roles[1:])
        assert (await profile.read() or {})["Roles"] == roles[1:]
    with pytest.raises(Fault):
        await life(bench, "InstanceProfile").create(Roles=roles, InstanceProfileName="two")
    assert await names(bench, "ListInstanceProfiles") == [made.physical_id]
    for one in (profile, first, second):
        await one.delete()
    assert await residue(bench) == []


async def test_a_policy_on_several(bench: Workbench) -> None:
    role, user = life(bench, "Role"), life(bench, "User")
    role_name, user_name = (await role.create(AssumeRolePolicyDocument=TRUST)).physical_id, (await user.create()).physical_id
    policy = life(bench, "Policy")
    made = await policy.create(PolicyName="reads", PolicyDocument=POLICY, Roles=[role_name], Users=[user_name])
    assert made.physical_id == "genomics-Policy-1A2B3C4D5E6F"
    assert await policy.read() == {"PolicyName": "reads", "PolicyDocument": POLICY, "Roles": [role_name], "Users": [user_name]}
    await policy.update(PolicyName="reads", PolicyDocument=OTHER, Roles=[role_name])
    assert await policy.read() == {"PolicyName": "reads", "PolicyDocument": OTHER, "Roles": [role_name]}
    assert await names(bench, "ListUserPolicies", UserName=user_name) == []
    await policy.update(PolicyName="renamed", PolicyDocument=OTHER, Roles=[role_name])
    assert await names(bench, "ListRolePolicies", RoleName=role_name) == ["renamed"]
    with pytest.raises(Fault, match="must be non-empty"):
        await policy.update(PolicyName="renamed", PolicyDocument=OTHER)
    for one in (policy, user, role):
        await one.delete()
    assert await residue(bench) == []


async def test_a_policy_on_one(bench: Workbench) -> None:
    role = life(bench, "Role")
    name = (await role.create(AssumeRolePolicyDocument=TRUST)).physical_id
    policy = life(bench, "RolePolicy")
    made = await policy.create(RoleName=name, PolicyName="reads", PolicyDocument=POLICY)
    assert made.physical_id == f"reads|{name}"
    with pytest.raises(Fault) as refused:
        await life(bench, "RolePolicy").create(RoleName=name, PolicyName="reads", PolicyDocument=OTHER)
    assert refused.value.code == "AlreadyExists"
    await policy.update(RoleName=name, PolicyName="reads", PolicyDocument=OTHER)
    assert (await policy.read() or {})["PolicyDocument"] == OTHER
    await policy.delete()
    assert await policy.read() is None
    await policy.delete()


async def test_a_managed_policy(bench: Workbench) -> None:
    role = life(bench, "Role")
    name = (await role.create(AssumeRolePolicyDocument=TRUST)).physical_id
    policy = life(bench, "ManagedPolicy")
    made = await policy.create(PolicyDocument=POLICY, Roles=[name], Path="/genomics/")
    assert made.physical_id == f"arn:aws:iam::{ACCOUNT}:policy/genomics/genomics-ManagedPolicy-1A2B3C4D5E6F"
    assert made.attributes["DefaultVersionId"] == "v1" and made.attributes["AttachmentCount"] == 1
    for count in range(2, 9):
        document = {**POLICY, "Statement": [{**STATEMENT, "Sid": f"n{count}"}]}
        updated = await policy.update(PolicyDocument=document, Roles=[name], Path="/genomics/")
        assert updated.attributes["DefaultVersionId"] == f"v{count}"
    versions = await bench.hands.call("iam", "ListPolicyVersions", {"PolicyArn": made.physical_id})
    assert [version["VersionId"] for version in versions["Versions"]] == ["v8"]
    version = await bench.hands.call("iam", "GetPolicyVersion", {"PolicyArn": made.physical_id, "VersionId": "v8"})
    assert json.loads(unquote(version["PolicyVersion"]["Document"]))["Statement"][0]["Sid"] == "n8"
    with pytest.raises(Fault):
        await policy.update(PolicyDocument=OTHER, Roles=["nobody"], Path="/genomics/")
    read = await policy.read()
    assert read is not None and read["PolicyDocument"]["Statement"][0]["Sid"] == "n8" and read["Roles"] == [name]
    await bench.hands.call("iam", "CreatePolicyVersion", {"PolicyArn": made.physical_id, "PolicyDocument": json.dumps(OTHER)})
    await policy.delete()
    await role.delete()
    assert await residue(bench) == []


async def test_users_groups_and_keys(bench: Workbench) -> None:
    group, user = life(bench, "Group"), life(bench, "User")
    group_name = (await group.create(Policies=ROLE["Policies"], ManagedPolicyArns=[CONTAINERS])).physical_id
    made = await user.create(Groups=[group_name], Path="/lab/", Policies=ROLE["Policies"])
    assert made.attributes["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/lab/{made.physical_id}"
    moved = await group.update(Path="/all/")
    assert moved.attributes["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/all/{group_name}"
    assert (await user.read() or {})["Groups"] == [group_name]
    updated = await user.update(Path="/other/", ManagedPolicyArns=[SPOT])
    assert updated.attributes["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/other/{made.physical_id}"
    assert await names(bench, "ListGroupsForUser", UserName=made.physical_id) == []
    addition = life(bench, "UserToGroupAddition")
    await addition.create(GroupName=group_name, Users=[made.physical_id])
    assert await addition.read() == {"GroupName": group_name, "Users": [made.physical_id]}
    key = life(bench, "AccessKey")
    secret = await key.create(UserName=made.physical_id, Status="Inactive")
    assert secret.physical_id.startswith("AKIA") and len(secret.attributes["SecretAccessKey"]) == 40
    assert await key.read() == {"UserName": made.physical_id, "Status": "Inactive"}
    await key.update(UserName=made.physical_id)
    assert await key.read() == {"UserName": made.physical_id, "Status": "Active"}
    with pytest.raises(Fault, match="LoginProfile of AWS::IAM::User is not available"):
        await life(bench, "User").create(LoginProfile={"Password": "x"})
    for one in (key, addition, user, group):
        await one.delete()
    assert await residue(bench) == []


async def test_the_role_of_a_service(bench: Workbench) -> None:
    linked = life(bench, "ServiceLinkedRole")
    made = await linked.create(AWSServiceName="batch.amazonaws.com", Description="one")
    assert made.physical_id == "AWSServiceRoleForBatch"
    await linked.update(AWSServiceName="batch.amazonaws.com", Description="two")
    assert await linked.read() == {"RoleName": "AWSServiceRoleForBatch", "Description": "two"}
    await linked.delete()
    await linked.delete()
    assert await linked.read() is None
