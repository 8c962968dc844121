"""The network of a stack, on the real EC2: what Ref and GetAtt give, what updates change, and that nothing is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import botocore.session
import pytest
from resource_acts import SYSTEM_TAGS, FailingHands, Life
from stack_hands import REGION, Workbench

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import types
from batchyard.services.cloudformation.schemas import reading

TYPES = types()
LISTS = {
    "DescribeVpcs": "Vpcs",
    "DescribeSubnets": "Subnets",
    "DescribeRouteTables": "RouteTables",
    "DescribeInternetGateways": "InternetGateways",
    "DescribeSecurityGroups": "SecurityGroups",
    "DescribeSecurityGroupRules": "SecurityGroupRules",
    "DescribeAddresses": "Addresses",
    "DescribeVpcEndpoints": "VpcEndpoints",
    "DescribeLaunchTemplates": "LaunchTemplates",
    "DescribePlacementGroups": "PlacementGroups",
    "DescribeKeyPairs": "KeyPairs",
}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Vb3ZcYbWoqBJsWcdQC1SXLB2YCd0lNRKP5cVzXiFA me"


def life(bench: Workbench, kind: str, hands: Any = None) -> Life:
    return Life(hands or bench.hands, TYPES[f"AWS::EC2::{kind}"], kind)


async def everything(bench: Workbench) -> dict[str, Any]:
    """All that EC2 describes, but for deleted NAT gateways."""
    return {operation: (await bench.hands.call("ec2", operation))[member] for operation, member in LISTS.items()}


async def network(bench: Workbench) -> tuple[Life, Life]:
    """A VPC and a subnet in it."""
    vpc, subnet = life(bench, "VPC"), life(bench, "Subnet")
    id = (await vpc.create(CidrBlock="10.0.0.0/16")).physical_id
    await subnet.create(VpcId=id, CidrBlock="10.0.1.0/24", AvailabilityZone=f"{REGION}b")
    return vpc, subnet


def id_of(one: Life) -> str:
    assert one.kept is not None
    return one.kept.physical_id


async def test_a_vpc_and_a_subnet(bench: Workbench) -> None:
    before = await everything(bench)
    vpc = life(bench, "VPC")
    made = await vpc.create(CidrBlock="10.0.0.0/16", EnableDnsHostnames=True, Tags=[{"Key": "Name", "Value": "lab"}], tags={"of": "stack"})
    assert made.physical_id == made.attributes["VpcId"] and made.attributes["CidrBlock"] == "10.0.0.0/16"
    assert made.attributes["DefaultSecurityGroup"].startswith("sg-") and made.attributes["DefaultNetworkAcl"].startswith("acl-")
    (shown,) = (await bench.hands.call("ec2", "DescribeVpcs", {"VpcIds": [made.physical_id]}))["Vpcs"]
    tags = {tag["Key"]: tag["Value"] for tag in shown["Tags"]}
    assert tags == {"Name": "lab", "of": "stack", **SYSTEM_TAGS}
    dns = {"EnableDnsHostnames": True, "EnableDnsSupport": True}
    named = [{"Key": "Name", "Value": "lab"}]
    assert await vpc.read() == {"CidrBlock": "10.0.0.0/16", "InstanceTenancy": "default", **dns, "Tags": named}
    assert made.attributes["EnableDnsHostnames"] is True
    changed = await vpc.update(CidrBlock="10.0.0.0/16", EnableDnsSupport=False, tags={"of": "another"})
    assert (changed.attributes["EnableDnsHostnames"], changed.attributes["EnableDnsSupport"]) == (False, False)
    read = await vpc.read()
    assert read == {"CidrBlock": "10.0.0.0/16", "InstanceTenancy": "default", "EnableDnsHostnames": False, "EnableDnsSupport": False}
    (shown,) = (await bench.hands.call("ec2", "DescribeVpcs", {"VpcIds": [made.physical_id]}))["Vpcs"]
    assert {tag["Key"]: tag["Value"] for tag in shown["Tags"]} == {"of": "another", **SYSTEM_TAGS}

    subnet = life(bench, "Subnet")
    names = {"HostnameType": "resource-name", "EnableResourceNameDnsARecord": True}
    place = {"VpcId": made.physical_id, "CidrBlock": "10.0.1.0/24", "AvailabilityZone": f"{REGION}b"}
    in_it = await subnet.create(**place, MapPublicIpOnLaunch=True, PrivateDnsNameOptionsOnLaunch=names)
    assert in_it.attributes["AvailabilityZone"] == f"{REGION}b" and in_it.attributes["NetworkAclAssociationId"].startswith("aclassoc-")
    read = await subnet.read()
    assert read is not None and read["MapPublicIpOnLaunch"] and read["PrivateDnsNameOptionsOnLaunch"]["HostnameType"] == "resource-name"
    await subnet.update(**place)
    read = await subnet.read()
    assert read is not None and not read["MapPublicIpOnLaunch"] and read["PrivateDnsNameOptionsOnLaunch"]["HostnameType"] == "ip-name"
    with pytest.raises(Fault, match="has dependencies"):
        await vpc.delete()
    for one in (subnet, subnet, vpc, vpc):
        await one.delete()
    assert await vpc.read() is None and await everything(bench) == before


async def test_the_tenancy_of_a_vpc(bench: Workbench) -> None:
    replaces = TYPES["AWS::EC2::VPC"].replaces
    assert replaces is not None
    assert replaces({"InstanceTenancy": "default"}, {"InstanceTenancy": "dedicated"}) == {"InstanceTenancy"}
    assert replaces({"InstanceTenancy": "dedicated"}, {}) == frozenset()
    vpc = life(bench, "VPC")
    await vpc.create(CidrBlock="10.0.0.0/16", InstanceTenancy="dedicated")
    await vpc.update(CidrBlock="10.0.0.0/16")
    assert (await vpc.read() or {})["InstanceTenancy"] == "default"


async def test_the_way_out(bench: Workbench) -> None:
    before = await everything(bench)
    vpc, subnet = await network(bench)
    gateway, other, attachment = life(bench, "InternetGateway"), life(bench, "InternetGateway"), life(bench, "VPCGatewayAttachment")
    first, second = (await gateway.create()).physical_id, (await other.create()).physical_id
    attached = await attachment.create(VpcId=id_of(vpc), InternetGatewayId=first)
    assert (attached.physical_id, attached.attributes) == (f"IGW|{id_of(vpc)}", {"AttachmentType": "IGW"})
    await attachment.update(VpcId=id_of(vpc), InternetGatewayId=second)
    for at in (1, 2):
        await attachment.fail_to_update(at, VpcId=id_of(vpc), InternetGatewayId=first)
        await attachment.update(VpcId=id_of(vpc), InternetGatewayId=second)
        assert await attachment.read() == {"VpcId": id_of(vpc), "InternetGatewayId": second}

    table, route, association = life(bench, "RouteTable"), life(bench, "Route"), life(bench, "SubnetRouteTableAssociation")
    table_id = (await table.create(VpcId=id_of(vpc))).physical_id
    way = {"RouteTableId": table_id, "DestinationCidrBlock": "0.0.0.0/0"}
    made = await route.create(**way, GatewayId=second)
    assert (made.physical_id, made.attributes) == (f"{table_id}|0.0.0.0/0", {"CidrBlock": "0.0.0.0/0"})
    associated = await association.create(RouteTableId=table_id, SubnetId=id_of(subnet))
    assert associated.physical_id.startswith("rtbassoc-")
    assert await association.read() == {"RouteTableId": table_id, "SubnetId": id_of(subnet)}

    address, nat = life(bench, "EIP"), life(bench, "NatGateway")
    allocated = await address.create(Domain="vpc")
    assert allocated.physical_id == allocated.attributes["PublicIp"]
    through = await nat.create(AllocationId=allocated.attributes["AllocationId"], SubnetId=id_of(subnet))
    assert through.physical_id.startswith("nat-") and through.attributes["EniId"].startswith("eni-")
    await route.update(**way, NatGatewayId=through.physical_id)
    assert await route.read() == {**way, "NatGatewayId": through.physical_id}
    with pytest.raises(Fault, match="TransitGatewayId of AWS::EC2::Route is not available"):
        await route.update(**way, TransitGatewayId="tgw-1")
    assert (await nat.read() or {})["AllocationId"] == allocated.attributes["AllocationId"]
    for one in (nat, nat, address, association, route, table, attachment, attachment, gateway, other, subnet, vpc):
        await one.delete()
    assert [await one.read() for one in (nat, address, association, route, table, attachment, gateway)] == [None] * 7
    assert await everything(bench) == before


WEB = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0"}
SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "10.0.0.0/8", "Description": "from inside"}
ANYTHING = {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}


async def rules(bench: Workbench, id: str) -> list[tuple[Any, ...]]:
    mine = {"Filters": [{"Name": "group-id", "Values": [id]}]}
    found = (await bench.hands.call("ec2", "DescribeSecurityGroupRules", mine))["SecurityGroupRules"]
    return sorted((rule["IsEgress"], rule["IpProtocol"], rule["FromPort"], rule.get("CidrIpv4"), rule.get("Description")) for rule in found)


async def test_a_security_group(bench: Workbench) -> None:
    vpc, _ = await network(bench)
    before = await everything(bench)
    group = life(bench, "SecurityGroup")
    base = {"GroupDescription": "lab", "VpcId": id_of(vpc)}
    made = await group.create(**base, SecurityGroupIngress=[WEB, SSH])
    id = made.physical_id
    named = {"GroupName": "genomics-SecurityGroup-1A2B3C4D5E6F", "GroupDescription": "lab"}
    assert made.attributes == {"GroupId": id, "Id": id, "VpcId": id_of(vpc), **named}
    out = (True, "-1", -1, "0.0.0.0/0", None)
    ssh, web = (False, "tcp", 22, "10.0.0.0/8", "from inside"), (False, "tcp", 443, "0.0.0.0/0", None)
    assert await rules(bench, id) == [ssh, web, out]
    assert (await group.read() or {})["SecurityGroupIngress"] == [WEB, SSH]
    await group.update(**base, SecurityGroupIngress=[WEB, {**SSH, "Description": "new"}], SecurityGroupEgress=[WEB])
    assert await rules(bench, id) == [(*ssh[:4], "new"), web, (True, "tcp", 443, "0.0.0.0/0", None)]
    await group.update(**base, SecurityGroupEgress=[ANYTHING])
    assert await rules(bench, id) == [out]
    await group.update(**base)
    assert await rules(bench, id) == []
    await group.update(**base, SecurityGroupEgress=[WEB])
    group.is_undoing = True
    await group.update(**base)
    assert await rules(bench, id) == [out]
    await group.delete()
    named = await life(bench, "SecurityGroup").create(**base, GroupName="named", SecurityGroupEgress=[WEB])
    assert await rules(bench, named.physical_id) == [(True, "tcp", 443, "0.0.0.0/0", None)]
    with pytest.raises(Fault, match="must name an address range"):
        await life(bench, "SecurityGroup").create(**base, SecurityGroupIngress=[{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1}])
    with pytest.raises(Fault, match="Ports of tcp"):
        await life(bench, "SecurityGroup").create(**base, SecurityGroupIngress=[WEB, {**WEB, "FromPort": 70000, "ToPort": 70000}])
    await bench.hands.call("ec2", "DeleteSecurityGroup", {"GroupId": named.physical_id})
    assert (await everything(bench))["DescribeSecurityGroups"] == before["DescribeSecurityGroups"]


@pytest.mark.parametrize("at", range(1, 7))
async def test_an_update_that_is_refused_leaves_the_rules_as_they_were(bench: Workbench, at: int) -> None:
    vpc, _ = await network(bench)
    group = life(bench, "SecurityGroup")
    base = {"GroupDescription": "lab", "VpcId": id_of(vpc)}
    id = (await group.create(**base, SecurityGroupIngress=[WEB], Tags=[{"Key": "a", "Value": "1"}])).physical_id
    before = await rules(bench, id)
    after = {"SecurityGroupIngress": [SSH], "SecurityGroupEgress": [WEB], "Tags": [{"Key": "b", "Value": "1"}]}
    await group.fail_to_update(at, **base, **after)
    assert await rules(bench, id) == before
    group.is_undoing = True
    await group.update(**base, SecurityGroupIngress=[WEB], Tags=[{"Key": "a", "Value": "1"}])
    assert await rules(bench, id) == before


async def test_rules_by_themselves(bench: Workbench) -> None:
    vpc, _ = await network(bench)
    group = life(bench, "SecurityGroup")
    id = (await group.create(GroupDescription="lab", VpcId=id_of(vpc))).physical_id
    ingress, egress = life(bench, "SecurityGroupIngress"), life(bench, "SecurityGroupEgress")
    everywhere = {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535}
    within = await ingress.create(GroupId=id, **everywhere, SourceSecurityGroupId=id)
    out = await egress.create(GroupId=id, **WEB)
    assert within.physical_id.startswith("sgr-") and out.physical_id.startswith("sgr-")
    assert await ingress.read() == {"GroupId": id, **everywhere, "SourceSecurityGroupId": id}
    assert await egress.read() == {"GroupId": id, **WEB}
    await egress.update(GroupId=id, **WEB, Description="to the web")
    assert (await egress.read() or {})["Description"] == "to the web"
    with pytest.raises(Fault) as refused:
        await life(bench, "SecurityGroupEgress").create(GroupId=id, **WEB)
    assert refused.value.code == "InvalidPermission.Duplicate"
    for one in (ingress, egress, egress):
        await one.delete()
    assert await rules(bench, id) == [(True, "-1", -1, "0.0.0.0/0", None)]
    await group.delete()
    await egress.delete()


async def test_endpoints(bench: Workbench) -> None:
    vpc, subnet = await network(bench)
    gateway, interface = life(bench, "VPCEndpoint"), life(bench, "VPCEndpoint")
    place = {"VpcId": id_of(vpc), "ServiceName": f"com.amazonaws.{REGION}.s3"}
    table = (await life(bench, "RouteTable").create(VpcId=id_of(vpc))).physical_id
    made = await gateway.create(**place, RouteTableIds=[table])
    assert made.attributes["Id"] == made.physical_id and made.attributes["NetworkInterfaceIds"] == []
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}]}
    await gateway.update(**place, PolicyDocument=policy)
    read = await gateway.read()
    assert read is not None and read["PolicyDocument"] == policy and read["RouteTableIds"] == []
    await gateway.update(**place)
    assert (await gateway.read() or {})["PolicyDocument"]["Statement"][0]["Effect"] == "Allow"
    at = await interface.create(**place, VpcEndpointType="Interface", SubnetIds=[id_of(subnet)], PrivateDnsEnabled=True)
    assert len(at.attributes["NetworkInterfaceIds"]) == 1
    with pytest.raises(Fault, match="DnsOptions"):
        await life(bench, "VPCEndpoint").create(**place, DnsOptions={"DnsRecordIpType": "ipv4"})
    for one in (gateway, interface, interface):
        await one.delete()
    assert await interface.read() is None


async def test_a_launch_template(bench: Workbench) -> None:
    template = life(bench, "LaunchTemplate")
    content = {
        "InstanceType": "m5.large",
        "UserData": "IyEvYmluL2Jhc2gK",
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 50, "VolumeType": "gp3", "Encrypted": True}}],
        "MetadataOptions": {"HttpTokens": "required"},
        "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"ValidUntil": "2030-01-31T12:00:00Z"}},
    }
    tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "lab", "Value": "7"}]}]
    made = await template.create(LaunchTemplateData=content, TagSpecifications=tags)
    numbers = {"DefaultVersionNumber": "1", "LatestVersionNumber": "1"}
    assert made.attributes == {"LaunchTemplateId": made.physical_id, **numbers}
    read = await template.read()
    assert read is not None and read["LaunchTemplateData"] == content and read["TagSpecifications"] == tags
    assert read["LaunchTemplateName"] == "genomics-LaunchTemplate-1A2B3C4D5E6F"
    updated = await template.update(LaunchTemplateData={**content, "InstanceType": "m5.xlarge"}, VersionDescription="larger")
    assert updated.attributes == {"LaunchTemplateId": made.physical_id, "DefaultVersionNumber": "1", "LatestVersionNumber": "2"}
    asked = {"LaunchTemplateId": made.physical_id, "Versions": ["2"]}
    (version,) = (await bench.hands.call("ec2", "DescribeLaunchTemplateVersions", asked))["LaunchTemplateVersions"]
    assert version["VersionDescription"] == "larger" and version["LaunchTemplateData"]["InstanceType"] == "m5.xlarge"
    assert "TagSpecifications" not in (await template.read() or {})
    await template.delete()
    await template.delete()
    assert await template.read() is None


def strangers(schema: Mapping[str, Any], part: Mapping[str, Any], shape: Any, path: str) -> Iterator[str]:
    """The properties below `part` of a schema that the shape of an API does not have."""
    if "$ref" in part:
        part = schema["definitions"][part["$ref"].rpartition("/")[2]]
    if part.get("items"):
        yield from strangers(schema, part["items"], shape.member, f"{path}[]")
    for name, inner in part.get("properties", {}).items():
        if name in shape.members:
            yield from strangers(schema, inner, shape.members[name], f"{path}.{name}")
        else:
            yield f"{path}.{name}"


def test_all_that_a_launch_template_says_has_a_place_in_ec2() -> None:
    """What EC2's own model does not know would be dropped at the inner door without a word."""
    model = botocore.session.get_session().get_service_model("ec2")
    schema = reading.schema("AWS::EC2::LaunchTemplate")
    assert schema is not None
    shape = model.shape_for("RequestLaunchTemplateData")
    assert list(strangers(schema.content, schema.properties["LaunchTemplateData"], shape, "")) == []


async def test_placement_groups_and_key_pairs(bench: Workbench) -> None:
    placement, pair = life(bench, "PlacementGroup"), life(bench, "KeyPair")
    made = await placement.create(Strategy="partition", PartitionCount=3, tags={"of": "stack"})
    assert made.physical_id == made.attributes["GroupName"] and made.attributes["GroupId"].startswith("pg-")
    assert await placement.read() == {"Strategy": "partition", "PartitionCount": 3}
    await placement.update(Strategy="partition", PartitionCount=3, tags={"of": "another"})
    key = await pair.create(KeyName="mine", PublicKeyMaterial=KEY)
    assert key.physical_id == "mine" and key.attributes["KeyPairId"].startswith("key-")
    assert await pair.read() == {"KeyName": "mine", "PublicKeyMaterial": KEY}
    with pytest.raises(Fault, match="PublicKeyMaterial"):
        await life(bench, "KeyPair").create(KeyName="other")
    for one in (placement, placement, pair, pair):
        await one.delete()
    assert await placement.read() is None and await pair.read() is None


@pytest.mark.parametrize("kind", ["VPC", "Subnet", "SecurityGroup", "NatGateway", "VPCEndpoint"])
async def test_what_cannot_be_whole_is_not_there(bench: Workbench, kind: str) -> None:
    vpc, subnet = await network(bench)
    address = await life(bench, "EIP").create()
    properties: dict[str, dict[str, Any]] = {
        "VPC": {"CidrBlock": "10.1.0.0/16", "EnableDnsHostnames": True, "EnableDnsSupport": False},
        "Subnet": {"VpcId": id_of(vpc), "CidrBlock": "10.0.9.0/24", "MapPublicIpOnLaunch": True},
        "SecurityGroup": {"GroupDescription": "x", "VpcId": id_of(vpc), "SecurityGroupIngress": [WEB], "SecurityGroupEgress": [WEB]},
        "NatGateway": {"SubnetId": id_of(subnet), "AllocationId": address.attributes["AllocationId"]},
        "VPCEndpoint": {"VpcId": id_of(vpc), "ServiceName": f"com.amazonaws.{REGION}.s3"},
    }
    before = await everything(bench)
    counting = FailingHands(bench.hands)
    whole = life(bench, kind, counting)
    await whole.create(**properties[kind])
    await whole.delete()
    deleted = sum(operation.startswith("Delete") for operation, _ in counting.calls)
    for at in range(1, counting.count - deleted + 1):
        with pytest.raises(Fault, match="was refused"):
            await life(bench, kind, FailingHands(bench.hands, at)).create(**properties[kind])
        assert await everything(bench) == before


async def test_acls_and_options(bench: Workbench) -> None:
    vpc, subnet = await network(bench)
    before = await everything(bench)
    acl, entry, association = life(bench, "NetworkAcl"), life(bench, "NetworkAclEntry"), life(bench, "SubnetNetworkAclAssociation")
    made = await acl.create(VpcId=id_of(vpc), Tags=[{"Key": "a", "Value": "1"}])
    id = made.physical_id
    assert await acl.read() == {"VpcId": id_of(vpc), "Tags": [{"Key": "a", "Value": "1"}]}
    numbered = {"NetworkAclId": id, "RuleNumber": 100, "RuleAction": "allow", "CidrBlock": "10.0.0.0/8"}
    await entry.create(**numbered, Protocol=6, PortRange={"From": 22, "To": 22})
    assert await entry.read() == {**numbered, "Egress": False, "Protocol": 6, "PortRange": {"From": 22, "To": 22}}
    await entry.update(**numbered, Protocol=1, Icmp={"Code": -1, "Type": 8})
    assert await entry.read() == {**numbered, "Egress": False, "Protocol": 1, "Icmp": {"Code": -1, "Type": 8}}
    at = await association.create(NetworkAclId=id, SubnetId=id_of(subnet))
    assert at.physical_id.startswith("aclassoc-") and at.attributes == {"AssociationId": at.physical_id}
    assert await association.read() == {"NetworkAclId": id, "SubnetId": id_of(subnet)}
    options, of_vpc = life(bench, "DHCPOptions"), life(bench, "VPCDHCPOptionsAssociation")
    said = {"DomainName": "lab", "DomainNameServers": ["AmazonProvidedDNS"], "NetbiosNodeType": 2}
    set_id = (await options.create(**said)).physical_id
    assert await options.read() == said
    assert (await of_vpc.create(DhcpOptionsId=set_id, VpcId=id_of(vpc))).physical_id == f"{set_id}|{id_of(vpc)}"
    assert await of_vpc.read() == {"DhcpOptionsId": set_id, "VpcId": id_of(vpc)}
    for one in (association, association, entry, entry, acl, acl, of_vpc, of_vpc, options, options):
        await one.delete()
    assert [await one.read() for one in (association, entry, acl, of_vpc, options)] == [None] * 5
    after = await everything(bench)
    after["DescribeVpcs"] = [{**one, "DhcpOptionsId": ""} for one in after["DescribeVpcs"]]
    assert after == {**before, "DescribeVpcs": [{**one, "DhcpOptionsId": ""} for one in before["DescribeVpcs"]]}


async def test_no_type_is_an_instance() -> None:
    assert "AWS::EC2::Instance" not in TYPES
