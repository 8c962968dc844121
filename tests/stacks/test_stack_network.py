"""Networks, roles, secrets and functions of whole stacks, over the wire: made, changed, failed, rolled back and taken away."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from yard import Yard, until

PATIENCE_S = 60.0
ENDS = ("COMPLETE", "FAILED")
TEMPLATE = (Path(__file__).parent / "network.yaml").read_text()
CAPABLE = ["CAPABILITY_NAMED_IAM"]


class Deployment:
    """One stack and what came of it."""

    def __init__(self, yard: Yard, name: str) -> None:
        self.yard, self.name, self.client = yard, name, yard.client("cloudformation")

    def create(self, template: str = TEMPLATE, **parameters: str) -> str:
        self.id = self.client.create_stack(**self._request(template, parameters))["StackId"]
        return self.end()

    def update(self, template: str = TEMPLATE, **parameters: str) -> str:
        self.client.update_stack(**self._request(template, parameters))
        return self.end()

    def delete(self) -> str:
        self.client.delete_stack(StackName=self.name)
        return self.end()

    def _request(self, template: str, parameters: dict[str, str]) -> dict[str, Any]:
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        tags = [{"Key": "of", "Value": self.name}]
        return {"StackName": self.name, "TemplateBody": template, "Parameters": given, "Capabilities": CAPABLE, "Tags": tags}

    def shown(self) -> dict[str, Any]:
        return self.client.describe_stacks(StackName=self.id)["Stacks"][0]  # type: ignore[no-any-return]

    def end(self) -> str:
        """The status once the operation is over."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            status = str(self.shown()["StackStatus"])
            if status.endswith(ENDS) and not status.endswith("IN_PROGRESS"):
                return status
            time.sleep(0.03)
        raise AssertionError(f"{self.name}: {self.shown()}")

    def outputs(self) -> dict[str, str]:
        return {output["OutputKey"]: output["OutputValue"] for output in self.shown().get("Outputs", [])}

    def resources(self) -> dict[str, str]:
        found = self.client.describe_stack_resources(StackName=self.id)["StackResources"]
        return {one["LogicalResourceId"]: one.get("PhysicalResourceId", "") for one in found}


def account(yard: Yard) -> dict[str, Any]:
    """Everything of the account that stacks of this file make."""
    ec2, iam = yard.client("ec2"), yard.client("iam")
    nats = [one["NatGatewayId"] for one in ec2.describe_nat_gateways()["NatGateways"] if one["State"] != "deleted"]
    return {
        "vpcs": [one["VpcId"] for one in ec2.describe_vpcs()["Vpcs"]],
        "subnets": [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]],
        "tables": [one["RouteTableId"] for one in ec2.describe_route_tables()["RouteTables"]],
        "gateways": [one["InternetGatewayId"] for one in ec2.describe_internet_gateways()["InternetGateways"]],
        "groups": [one["GroupId"] for one in ec2.describe_security_groups()["SecurityGroups"]],
        "addresses": [one["PublicIp"] for one in ec2.describe_addresses()["Addresses"]],
        "endpoints": [one["VpcEndpointId"] for one in ec2.describe_vpc_endpoints()["VpcEndpoints"]],
        "templates": [one["LaunchTemplateId"] for one in ec2.describe_launch_templates()["LaunchTemplates"]],
        "nats": nats,
        "roles": [one["RoleName"] for one in iam.list_roles()["Roles"]],
        "users": [one["UserName"] for one in iam.list_users()["Users"]],
        "policies": [one["Arn"] for one in iam.list_policies(Scope="Local")["Policies"]],
        "profiles": [one["InstanceProfileName"] for one in iam.list_instance_profiles()["InstanceProfiles"]],
        "parameters": [one["Name"] for one in yard.client("ssm").describe_parameters()["Parameters"]],
        "secrets": [one["Name"] for one in yard.client("secretsmanager").list_secrets()["SecretList"]],
        "acls": [one["NetworkAclId"] for one in ec2.describe_network_acls()["NetworkAcls"]],
        "options": [one["DhcpOptionsId"] for one in ec2.describe_dhcp_options()["DhcpOptions"]],
        "placements": [one["GroupName"] for one in ec2.describe_placement_groups()["PlacementGroups"]],
        "repositories": [one["repositoryName"] for one in yard.client("ecr").describe_repositories()["repositories"]],
        "functions": [one["FunctionName"] for one in yard.client("lambda").list_functions()["Functions"]],
    }


def test_a_network_with_all_that_belongs_to_it(yard: Yard) -> None:
    before, stack = account(yard), Deployment(yard, "whole")
    ec2, iam = yard.client("ec2"), yard.client("iam")
    assert stack.create() == "CREATE_COMPLETE"
    out, ids = stack.outputs(), stack.resources()
    (vpc,) = ec2.describe_vpcs(VpcIds=[out["Vpc"]])["Vpcs"]
    tags = {tag["Key"]: tag["Value"] for tag in vpc["Tags"]}
    system = {"aws:cloudformation:stack-name": "whole", "aws:cloudformation:stack-id": stack.id, "aws:cloudformation:logical-id": "Vpc"}
    assert tags == {"Name": "lab", "of": "whole", **system}
    with pytest.raises(ec2.exceptions.ClientError, match="reserved for internal use"):
        ec2.delete_tags(Resources=[out["Vpc"]], Tags=[{"Key": "aws:cloudformation:stack-name"}])
    tables = ec2.describe_route_tables(RouteTableIds=[ids["PrivateTable"]])["RouteTables"]
    assert {route.get("NatGatewayId") or route.get("GatewayId") for route in tables[0]["Routes"]} == {"local", ids["Nat"]}
    assert ids["PrivateRoute"] == f"{ids['PrivateTable']}|0.0.0.0/0" and ids["Attachment"] == f"IGW|{out['Vpc']}"
    (address,) = ec2.describe_addresses(AllocationIds=[out["Allocation"]])["Addresses"]
    assert address["PublicIp"] == ids["Address"] and out["VpcCidr"] == "10.9.0.0/16"
    (acl,) = ec2.describe_network_acls(NetworkAclIds=[ids["Acl"]])["NetworkAcls"]
    assert [one["NetworkAclAssociationId"] for one in acl["Associations"]] == [ids["AclAssociation"]] and vpc["DhcpOptionsId"] == ids[
        "Options"
    ]
    assert ids["Repository"].startswith("whole-repository-") and ids["Placement"].startswith("whole-Placement-")
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=ids["Template"], Versions=[out["TemplateVersion"]])
    assert versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]["InstanceType"] == "m5.large"
    role = iam.get_role(RoleName=ids["Role"])["Role"]
    assert role["Arn"] == out["RoleArn"] and {tag["Key"]: tag["Value"] for tag in role["Tags"]} == {"of": "whole"}
    assert iam.list_attached_role_policies(RoleName=ids["Role"])["AttachedPolicies"][0]["PolicyArn"] == ids["Managed"]
    assert yard.client("ssm").get_parameter(Name="/lab/vpc")["Parameter"]["Value"] == out["Vpc"]
    secret = json.loads(yard.client("secretsmanager").get_secret_value(SecretId=ids["Secret"])["SecretString"])
    assert secret["user"] == "lab" and len(secret["password"]) == 20
    policy = json.loads(yard.client("lambda").get_policy(FunctionName=ids["Function"])["Policy"])
    assert policy["Statement"][0]["Resource"] == out["FunctionArn"]
    signed = yard.client("sts", aws_access_key_id=ids["Key"], aws_secret_access_key=out["KeySecret"])
    assert signed.get_caller_identity()["Arn"].endswith(f":user/{ids['User']}")

    assert stack.update(Type="m5.xlarge", Hostnames="false", Port="8443") == "UPDATE_COMPLETE"
    assert stack.resources() == {**ids, "Rule": stack.resources()["Rule"]} and stack.resources()["Rule"] != ids["Rule"]
    assert stack.outputs()["TemplateVersion"] == "2"
    assert ec2.describe_vpc_attribute(VpcId=out["Vpc"], Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"] is False
    assert iam.get_policy(PolicyArn=ids["Managed"])["Policy"]["DefaultVersionId"] == "v2"

    assert stack.delete() == "DELETE_COMPLETE"
    assert account(yard) == before


BROKEN = """
  Broken:
    Type: AWS::EC2::Route
    DependsOn: [{}]
    Properties: {{RouteTableId: rtb-1, DestinationCidrBlock: 10.0.0.0/8, GatewayId: igw-1}}
"""


def with_broken(*needs: str) -> str:
    """The template, and one more resource that cannot be made, after all others."""
    return TEMPLATE.replace("\nOutputs:", BROKEN.format(", ".join(needs)) + "\nOutputs:")


LAST = ("PrivateRoute", "PrivateAssociation", "Rule", "Template", "Managed", "Key", "Parameter", "Secret", "Permission", "Profile", "S3")


def table_of(yard: Yard, subnet: str) -> str:
    mine = [{"Name": "association.subnet-id", "Values": [subnet]}]
    (table,) = yard.client("ec2").describe_route_tables(Filters=mine)["RouteTables"]
    return str(table["RouteTableId"])


def test_an_association_that_is_replaced(yard: Yard) -> None:
    """The old one goes before the new one comes: a subnet has one table."""
    before, stack = account(yard), Deployment(yard, "moving")
    assert stack.create(PrivateIs="PrivateTable") == "CREATE_COMPLETE"
    first = stack.resources()
    assert stack.update(PrivateIs="OtherTable") == "UPDATE_COMPLETE"
    ids = stack.resources()
    assert ids["PrivateAssociation"] != first["PrivateAssociation"]
    assert table_of(yard, ids["PrivateSubnet"]) == ids["OtherTable"]
    broken = with_broken("PrivateAssociation", "Group")
    assert stack.update(broken, PrivateIs="PrivateTable") == "UPDATE_ROLLBACK_COMPLETE"
    assert table_of(yard, ids["PrivateSubnet"]) == ids["OtherTable"]
    assert stack.delete() == "DELETE_COMPLETE" and account(yard) == before


def test_a_stack_that_fails_leaves_nothing(yard: Yard) -> None:
    before, stack = account(yard), Deployment(yard, "failing")
    assert stack.create(with_broken(*LAST)) == "ROLLBACK_COMPLETE"
    assert account(yard) == before
    assert stack.delete() == "DELETE_COMPLETE"


def test_an_update_that_fails_is_taken_back(yard: Yard) -> None:
    before, stack = account(yard), Deployment(yard, "back")
    ec2, iam = yard.client("ec2"), yard.client("iam")
    assert stack.create() == "CREATE_COMPLETE"
    ids = stack.resources()

    def state() -> list[Any]:
        group = ec2.describe_security_groups(GroupIds=[ids["Group"]])["SecurityGroups"][0]
        role = iam.get_role_policy(RoleName=ids["Role"], PolicyName="inline")["PolicyDocument"]
        document = iam.get_policy_version(
            PolicyArn=ids["Managed"], VersionId=iam.get_policy(PolicyArn=ids["Managed"])["Policy"]["DefaultVersionId"]
        )["PolicyVersion"]["Document"]
        hostnames = ec2.describe_vpc_attribute(VpcId=ids["Vpc"], Attribute="enableDnsHostnames")["EnableDnsHostnames"]
        newest = ec2.describe_launch_template_versions(LaunchTemplateId=ids["Template"], Versions=["$Latest"])
        value = yard.client("ssm").get_parameter(Name="/lab/port")["Parameter"]["Value"]
        content = newest["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        coming = sorted(group["IpPermissions"], key=repr)
        return [coming, group["IpPermissionsEgress"], role, document, hostnames, content, value]

    there = state()
    changes = {"Type": "m5.xlarge", "Hostnames": "false", "Port": "8443", "Out": "true"}
    assert stack.update(with_broken(*LAST), **changes) == "UPDATE_ROLLBACK_COMPLETE"
    assert state() == there
    left = stack.resources()
    assert {name: id for name, id in left.items() if name != "Rule"} == {name: id for name, id in ids.items() if name != "Rule"}
    assert stack.delete() == "DELETE_COMPLETE" and account(yard) == before


def test_what_is_not_there_is_refused_by_name(yard: Yard) -> None:
    before = account(yard)
    template = json.dumps({"Resources": {"Server": {"Type": "AWS::EC2::Instance", "Properties": {"ImageId": "ami-1"}}}})
    client = yard.client("cloudformation")
    with pytest.raises(client.exceptions.ClientError, match="AWS::EC2::Instance"):
        client.create_stack(StackName="server", TemplateBody=template)
    assert account(yard) == before


def test_drift_of_a_whole_network(yard: Yard) -> None:
    """Nothing has drifted that nobody touched; what somebody touched has, and nothing else."""
    before, stack = account(yard), Deployment(yard, "drifting")
    assert stack.create() == "CREATE_COMPLETE"

    def drifted() -> dict[str, list[str]]:
        detection = stack.client.detect_stack_drift(StackName="drifting")["StackDriftDetectionId"]

        def status() -> str | None:
            now = stack.client.describe_stack_drift_detection_status(StackDriftDetectionId=detection)["DetectionStatus"]
            return None if now == "DETECTION_IN_PROGRESS" else str(now)

        assert until(status, "drift to be detected", PATIENCE_S) == "DETECTION_COMPLETE"
        found = stack.client.describe_stack_resource_drifts(StackName="drifting")["StackResourceDrifts"]
        return {
            one["LogicalResourceId"]: [difference["PropertyPath"] for difference in one.get("PropertyDifferences", [])]
            for one in found
            if one["StackResourceDriftStatus"] != "IN_SYNC"
        }

    assert drifted() == {}
    ids = stack.resources()
    yard.client("iam").delete_role_policy(RoleName=ids["Role"], PolicyName="inline")
    yard.client("ec2").create_tags(Resources=[ids["Vpc"]], Tags=[{"Key": "Name", "Value": "other"}])
    yard.client("ec2").revoke_security_group_ingress(GroupId=ids["Group"], SecurityGroupRuleIds=[ids["Rule"]])
    yard.client("ssm").put_parameter(Name="/lab/port", Value="1", Overwrite=True)
    assert drifted() == {"PortParameter": ["/Value"], "Role": ["/Policies/0"], "Rule": [], "Vpc": ["/Tags/0/Value"]}
    assert stack.delete() == "DELETE_COMPLETE" and account(yard) == before
