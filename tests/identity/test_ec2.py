"""EC2's records through the door, with the real boto3: what Terraform sends for a network, and AWS's refusals."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from shelf_serving import ACCOUNT, Served, refused, served


@pytest.fixture
def ec2(yard: Served) -> Any:
    return yard.client("ec2")


@pytest.fixture
def name() -> str:
    return f"n{uuid.uuid4().hex[:10]}"


@pytest.fixture
def vpc(ec2: Any) -> str:
    return str(ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"])


def test_what_is_there_from_the_start(tmp_path: Path) -> None:
    with served(tmp_path) as fresh:  # other tests take some of it away
        from_the_start(fresh.client("ec2"))


def from_the_start(ec2: Any) -> None:
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    assert (vpc["CidrBlock"], vpc["State"], vpc["OwnerId"]) == ("172.31.0.0/16", "available", ACCOUNT)
    of_vpc = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    subnets = ec2.describe_subnets(Filters=of_vpc)["Subnets"]
    assert {(s["AvailabilityZone"], s["AvailabilityZoneId"], s["DefaultForAz"]) for s in subnets} == {
        (f"us-east-1{letter}", f"use1-az{n}", True) for n, letter in enumerate("abc", 1)
    }
    (group,) = ec2.describe_security_groups(Filters=of_vpc)["SecurityGroups"]
    assert group["GroupName"] == "default" and group["IpPermissionsEgress"][0]["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}]
    assert group["IpPermissions"][0]["UserIdGroupPairs"] == [{"GroupId": group["GroupId"], "UserId": ACCOUNT}]
    (table,) = ec2.describe_route_tables(Filters=[*of_vpc, {"Name": "association.main", "Values": ["true"]}])["RouteTables"]
    (gateway,) = ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc["VpcId"]]}])["InternetGateways"]
    assert table["Routes"][1]["GatewayId"] == gateway["InternetGatewayId"]
    (acl,) = ec2.describe_network_acls(Filters=of_vpc)["NetworkAcls"]
    assert len(acl["Associations"]) == 3
    assert ec2.describe_dhcp_options(DhcpOptionsIds=[vpc["DhcpOptionsId"]])["DhcpOptions"]
    assert [zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]] == [f"us-east-1{z}" for z in "abc"]
    assert "eu-west-1" in [region["RegionName"] for region in ec2.describe_regions()["Regions"]]
    attributes = ec2.describe_account_attributes(AttributeNames=["default-vpc"])["AccountAttributes"]
    assert attributes[0]["AttributeValues"] == [{"AttributeValue": vpc["VpcId"]}]


def test_a_vpc_as_terraform_makes_it(ec2: Any) -> None:
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "genomics"}]}]
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16", TagSpecifications=tags)["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    assert ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"] == {"Value": True}
    assert ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": ["genom*"]}])["Vpcs"][0]["VpcId"] == vpc
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.1.0/24", AvailabilityZone="us-east-1b")["Subnet"]
    assert subnet["AvailableIpAddressCount"] == 251
    ec2.modify_subnet_attribute(SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch={"Value": True})
    with refused("InvalidSubnet.Conflict", "The CIDR '10.1.1.0/25' conflicts with another subnet"):
        ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.1.0/25")
    with refused("InvalidSubnet.Range", "The CIDR '10.2.0.0/24' is invalid."):
        ec2.create_subnet(VpcId=vpc, CidrBlock="10.2.0.0/24")
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    with refused("RouteAlreadyExists", "The route identified by 0.0.0.0/0 already exists."):
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet["SubnetId"])["AssociationId"]
    by_subnet = [{"Name": "association.subnet-id", "Values": [subnet["SubnetId"]]}]
    assert ec2.describe_route_tables(Filters=by_subnet)["RouteTables"][0]["RouteTableId"] == table
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=subnet["SubnetId"], AllocationId=address)["NatGateway"]["NatGatewayId"]
    assert ec2.describe_nat_gateways(NatGatewayIds=[nat])["NatGateways"][0]["State"] == "available"
    endpoint = ec2.create_vpc_endpoint(VpcId=vpc, ServiceName="com.amazonaws.us-east-1.s3", RouteTableIds=[table])["VpcEndpoint"]
    assert ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint["VpcEndpointId"]])["VpcEndpoints"][0]["State"] == "available"
    (interface,) = ec2.describe_network_interfaces(Filters=[{"Name": "subnet-id", "Values": [subnet["SubnetId"]]}])["NetworkInterfaces"]
    assert interface["InterfaceType"] == "natGateway"
    with refused("DependencyViolation", f"The vpc '{vpc}' has dependencies and cannot be deleted."):
        ec2.delete_vpc(VpcId=vpc)
    with refused("DependencyViolation"):
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    with refused("DependencyViolation"):
        ec2.delete_route_table(RouteTableId=table)
    with refused("InvalidIPAddress.InUse"):
        ec2.release_address(AllocationId=address)
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint["VpcEndpointId"]])
    ec2.delete_nat_gateway(NatGatewayId=nat)
    assert ec2.describe_nat_gateways(NatGatewayIds=[nat])["NatGateways"][0]["State"] == "deleted"
    ec2.release_address(AllocationId=address)
    ec2.disassociate_route_table(AssociationId=association)
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    ec2.delete_route_table(RouteTableId=table)
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.delete_vpc(VpcId=vpc)
    with refused("InvalidVpcID.NotFound", f"The vpc ID '{vpc}' does not exist"):
        ec2.describe_vpcs(VpcIds=[vpc])
    assert ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"] == []


def test_a_security_group_as_terraform_makes_it(ec2: Any, vpc: str, name: str) -> None:
    group = ec2.create_security_group(GroupName=name, Description="batch", VpcId=vpc)["GroupId"]
    with refused("InvalidGroup.Duplicate", f"The security group '{name}' already exists for VPC '{vpc}'"):
        ec2.create_security_group(GroupName=name, Description="batch", VpcId=vpc)
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissionsEgress"] == []
    (rule,) = ec2.authorize_security_group_egress(GroupId=group, IpPermissions=everything)["SecurityGroupRules"]
    assert rule["IsEgress"] and rule["CidrIpv4"] == "0.0.0.0/0"
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "inside"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ssh])
    with refused("InvalidPermission.Duplicate", 'rule "peer: 10.0.0.0/8, TCP, from port: 22, to port: 22, ALLOW" already exists'):
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ssh])
    (shown,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    assert (shown["FromPort"], shown["IpRanges"]) == (22, ssh["IpRanges"])
    other = ec2.create_security_group(GroupName=f"{name}-2", Description="other", VpcId=vpc)["GroupId"]
    pair = {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "UserIdGroupPairs": [{"GroupId": group}]}
    (referring,) = ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=[pair])["SecurityGroupRules"]
    with refused("DependencyViolation", f"resource {group} has a dependent object"):
        ec2.delete_security_group(GroupId=group)
    ec2.revoke_security_group_ingress(GroupId=other, SecurityGroupRuleIds=[referring["SecurityGroupRuleId"]])
    with refused("InvalidPermission.NotFound", "The specified rule does not exist in this security group."):
        ec2.revoke_security_group_ingress(GroupId=other, IpPermissions=[pair])
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    assert sorted(rule["IsEgress"] for rule in rules) == [False, True]
    ec2.delete_security_group(GroupId=group)
    with refused("InvalidGroup.NotFound", f"The security group '{group}' does not exist"):
        ec2.describe_security_groups(GroupIds=[group])
    default = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}])
    with refused("CannotDelete"):
        ec2.delete_security_group(GroupId=default["SecurityGroups"][0]["GroupId"])


def test_a_launch_template_and_its_versions(ec2: Any, name: str) -> None:
    content = {"ImageId": "ami-1", "UserData": "aGVsbG8=", "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 100}}]}
    made = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=content)["LaunchTemplate"]
    assert made["DefaultVersionNumber"] == 1
    with refused("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use."):
        ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=content)
    second = ec2.create_launch_template_version(LaunchTemplateName=name, SourceVersion="1", LaunchTemplateData={"ImageId": "ami-2"})
    assert second["LaunchTemplateVersion"]["LaunchTemplateData"] == {**content, "ImageId": "ami-2"}
    (latest,) = ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])["LaunchTemplateVersions"]
    assert (latest["VersionNumber"], latest["DefaultVersion"]) == (2, False)
    ec2.modify_launch_template(LaunchTemplateName=name, DefaultVersion="2")
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=made["LaunchTemplateId"])["LaunchTemplateVersions"]
    assert [(v["VersionNumber"], v["DefaultVersion"]) for v in versions] == [(2, True), (1, False)]
    deleted = ec2.delete_launch_template_versions(LaunchTemplateName=name, Versions=["1", "2"])
    assert [one["VersionNumber"] for one in deleted["SuccessfullyDeletedLaunchTemplateVersions"]] == [1]
    assert [one["VersionNumber"] for one in deleted["UnsuccessfullyDeletedLaunchTemplateVersions"]] == [2]
    assert ec2.describe_launch_templates(LaunchTemplateNames=[name])["LaunchTemplates"][0]["LatestVersionNumber"] == 2
    ec2.delete_launch_template(LaunchTemplateName=name)
    with refused("InvalidLaunchTemplateName.NotFoundException"):
        ec2.describe_launch_templates(LaunchTemplateNames=[name])


def test_tags_pages_and_dry_runs(ec2: Any, vpc: str) -> None:
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    ec2.delete_tags(Resources=[vpc], Tags=[{"Key": "a", "Value": "other"}, {"Key": "b"}])
    assert ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["Tags"] == [{"Key": "a", "Value": "1"}]
    found = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [vpc]}])["Tags"]
    assert found == [{"Key": "a", "Value": "1", "ResourceId": vpc, "ResourceType": "vpc"}]
    for n in range(4):
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24")
    pages = ec2.get_paginator("describe_subnets").paginate(Filters=[{"Name": "vpc-id", "Values": [vpc]}], PaginationConfig={"PageSize": 5})
    assert sum(len(page["Subnets"]) for page in pages) == 4
    with refused("InvalidParameterValue", "The filter 'colour' is invalid"):
        ec2.describe_vpcs(Filters=[{"Name": "colour", "Values": ["red"]}])
    with refused("DryRunOperation", "Request would have succeeded, but DryRun flag is set.") as answer:
        ec2.create_vpc(CidrBlock="10.9.0.0/16", DryRun=True)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 412
    with refused("InvalidVpc.Range"):
        ec2.create_vpc(CidrBlock="10.0.0.0/8")


def test_a_default_subnet_can_be_changed_and_deleted(ec2: Any) -> None:
    found = ec2.describe_subnets(
        Filters=[{"Name": "availability-zone", "Values": ["us-east-1c"]}, {"Name": "default-for-az", "Values": ["true"]}]
    )
    id = found["Subnets"][0]["SubnetId"]
    ec2.create_tags(Resources=[id], Tags=[{"Key": "kept", "Value": "yes"}])
    assert ec2.describe_subnets(SubnetIds=[id])["Subnets"][0]["Tags"] == [{"Key": "kept", "Value": "yes"}]
    ec2.delete_subnet(SubnetId=id)
    with refused("InvalidSubnetID.NotFound", f"The subnet ID '{id}' does not exist"):
        ec2.describe_subnets(SubnetIds=[id])


def test_types_prices_images_groups_and_keys(ec2: Any, name: str) -> None:
    (kind,) = ec2.describe_instance_types(InstanceTypes=["m5.xlarge"])["InstanceTypes"]
    assert (kind["VCpuInfo"]["DefaultVCpus"], kind["MemoryInfo"]["SizeInMiB"]) == (4, 16384)
    with refused("InvalidInstanceType", "The following supplied instance types do not exist: [m5.none]"):
        ec2.describe_instance_types(InstanceTypes=["m5.none"])
    offered = ec2.describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["c5.large"]}]
    )["InstanceTypeOfferings"]
    assert len(offered) == 3
    prices = ec2.describe_spot_price_history(InstanceTypes=["c5.large"], ProductDescriptions=["Linux/UNIX"])["SpotPriceHistory"]
    assert len(prices) == 3 and 0 < float(prices[0]["SpotPrice"]) < 0.085
    images = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["amzn2-ami-ecs-hvm-*"]}])["Images"]
    assert images and images[0]["State"] == "available"
    group = ec2.create_placement_group(GroupName=name, Strategy="cluster")["PlacementGroup"]
    assert ec2.describe_placement_groups(GroupNames=[name])["PlacementGroups"][0]["GroupId"] == group["GroupId"]
    ec2.delete_placement_group(GroupName=name)
    ec2.import_key_pair(KeyName=name, PublicKeyMaterial=b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA me")
    assert ec2.describe_key_pairs(KeyNames=[name])["KeyPairs"][0]["KeyType"] == "ed25519"
    ec2.delete_key_pair(KeyName=name)
    with refused("InvalidKeyPair.NotFound"):
        ec2.describe_key_pairs(KeyNames=[name])
    with refused("UnsupportedOperation", "instances come and go with compute environments"):
        ec2.run_instances(ImageId=images[0]["ImageId"], MinCount=1, MaxCount=1)


def test_network_acls(ec2: Any, vpc: str) -> None:
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    mine = [{"Name": "association.subnet-id", "Values": [subnet]}]
    (default,) = ec2.describe_network_acls(Filters=mine)["NetworkAcls"]
    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]
    id = acl["NetworkAclId"]
    assert [(entry["RuleAction"], entry["RuleNumber"]) for entry in acl["Entries"]] == [("deny", 32767)] * 2 and not acl["IsDefault"]
    entry = {"NetworkAclId": id, "RuleNumber": 100, "Egress": False}
    ports = {"Protocol": "6", "PortRange": {"From": 22, "To": 22}}
    ec2.create_network_acl_entry(**entry, **ports, RuleAction="allow", CidrBlock="10.0.0.0/8")
    with refused("NetworkAclEntryAlreadyExists"):
        ec2.create_network_acl_entry(**entry, **ports, RuleAction="allow", CidrBlock="10.0.0.0/8")
    with refused("MissingParameter"):
        ec2.replace_network_acl_entry(**entry, Protocol="17", RuleAction="allow", CidrBlock="10.0.0.0/8")
    ec2.replace_network_acl_entry(**entry, Protocol="-1", RuleAction="deny", CidrBlock="0.0.0.0/0")
    (shown,) = ec2.describe_network_acls(NetworkAclIds=[id])["NetworkAcls"]
    assert {"RuleNumber": 100, "Egress": False, "Protocol": "-1", "RuleAction": "deny", "CidrBlock": "0.0.0.0/0"} in shown["Entries"]
    before = default["Associations"][0]["NetworkAclAssociationId"]
    moved = ec2.replace_network_acl_association(AssociationId=before, NetworkAclId=id)["NewAssociationId"]
    assert [one["NetworkAclId"] for one in ec2.describe_network_acls(Filters=mine)["NetworkAcls"]] == [id]
    with refused("InvalidAssociationID.NotFound"):
        ec2.replace_network_acl_association(AssociationId=before, NetworkAclId=id)
    with refused("DependencyViolation"):
        ec2.delete_network_acl(NetworkAclId=id)
    ec2.replace_network_acl_association(AssociationId=moved, NetworkAclId=default["NetworkAclId"])
    ec2.delete_network_acl_entry(**entry)
    with refused("InvalidNetworkAclEntry.NotFound"):
        ec2.delete_network_acl_entry(**entry)
    with refused("InvalidParameterValue", f"cannot delete default network ACL {default['NetworkAclId']}"):
        ec2.delete_network_acl(NetworkAclId=default["NetworkAclId"])
    ec2.delete_subnet(SubnetId=subnet)
    with refused("DependencyViolation"):
        ec2.delete_vpc(VpcId=vpc)
    ec2.delete_network_acl(NetworkAclId=id)
    ec2.delete_vpc(VpcId=vpc)


def test_dhcp_options(ec2: Any, vpc: str) -> None:
    servers = {"Key": "domain-name-servers", "Values": ["10.0.0.2", "10.0.0.3"]}
    id = ec2.create_dhcp_options(DhcpConfigurations=[servers])["DhcpOptions"]["DhcpOptionsId"]
    with refused("InvalidParameterValue"):
        ec2.create_dhcp_options(DhcpConfigurations=[{"Key": "nonsense", "Values": ["x"]}])
    ec2.associate_dhcp_options(DhcpOptionsId=id, VpcId=vpc)
    assert ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["DhcpOptionsId"] == id
    (options,) = ec2.describe_dhcp_options(DhcpOptionsIds=[id])["DhcpOptions"]
    assert [value["Value"] for value in options["DhcpConfigurations"][0]["Values"]] == ["10.0.0.2", "10.0.0.3"]
    with refused("DependencyViolation"):
        ec2.delete_dhcp_options(DhcpOptionsId=id)
    other = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]
    assert other["DhcpOptionsId"] != id
    ec2.associate_dhcp_options(DhcpOptionsId="default", VpcId=vpc)
    ec2.delete_dhcp_options(DhcpOptionsId=id)


def test_what_rules_say_of_themselves_and_tenancy(ec2: Any, vpc: str, name: str) -> None:
    group = ec2.create_security_group(GroupName=name, Description="x", VpcId=vpc)["GroupId"]
    web = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    rule = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[web])["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    said = {"SecurityGroupRuleId": rule, "Description": "the web"}
    assert ec2.update_security_group_rule_descriptions_ingress(GroupId=group, SecurityGroupRuleDescriptions=[said])["Return"]
    (shown,) = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule])["SecurityGroupRules"]
    assert shown["Description"] == "the web"
    anew = {**web, "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all of it"}]}
    ec2.update_security_group_rule_descriptions_ingress(GroupId=group, IpPermissions=[anew])
    (shown,) = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule])["SecurityGroupRules"]
    assert shown["Description"] == "all of it"
    with refused("InvalidPermission.NotFound"):
        ec2.update_security_group_rule_descriptions_egress(GroupId=group, SecurityGroupRuleDescriptions=[said])
    dedicated = ec2.create_vpc(CidrBlock="10.2.0.0/16", InstanceTenancy="dedicated")["Vpc"]["VpcId"]
    assert ec2.modify_vpc_tenancy(VpcId=dedicated, InstanceTenancy="default")["ReturnValue"]
    assert ec2.describe_vpcs(VpcIds=[dedicated])["Vpcs"][0]["InstanceTenancy"] == "default"


def test_nobody_gives_tags_that_are_the_services_own(ec2: Any, vpc: str) -> None:
    tag = {"Key": "aws:cloudformation:stack-name", "Value": "mine"}
    with refused("InvalidParameterValue"):
        ec2.create_tags(Resources=[vpc], Tags=[tag])
    with refused("InvalidParameterValue"):
        ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24", TagSpecifications=[{"ResourceType": "subnet", "Tags": [tag]}])
    assert ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"] == []
