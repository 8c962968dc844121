"""AWS::EC2::VPC, Subnet, InternetGateway and VPCGatewayAttachment."""

from __future__ import annotations

from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import Steps, call_if_there, given, refused, require_known
from batchyard.services.cloudformation.resources.ec2_records import SERVICE, change_tags, found, tagged, with_tags
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, Properties, ResourceType

# --- VPCs ---

_VPC = ("CidrBlock", "EnableDnsHostnames", "EnableDnsSupport", "InstanceTenancy", "Tags")
_DNS = {"EnableDnsSupport": True, "EnableDnsHostnames": False}  # what EC2 gives a VPC that says nothing


async def create_vpc(hands: Hands, asked: Asked) -> Made:
    """A VPC with its main route table, ACL and default security group. Ref is its id."""
    require_known(asked, _VPC, {"Ipv4IpamPoolId": "there is no IPAM", "Ipv4NetmaskLength": "there is no IPAM"})
    properties = asked.properties
    async with Steps(hands, SERVICE) as steps:
        vpc = (await steps.call("CreateVpc", {**given(properties, "CidrBlock", "InstanceTenancy"), **tagged("vpc", asked)}))["Vpc"]
        id = vpc["VpcId"]
        steps.undo("DeleteVpc", {"VpcId": id})
        await _set_dns(steps, id, _DNS, properties)
        mine = {"Filters": [{"Name": "vpc-id", "Values": [id]}]}
        (acl,) = (await steps.call("DescribeNetworkAcls", mine))["NetworkAcls"]
        (group,) = (await steps.call("DescribeSecurityGroups", mine))["SecurityGroups"]
    attributes = {
        "VpcId": id,
        "CidrBlock": vpc["CidrBlock"],
        "CidrBlockAssociations": [one["AssociationId"] for one in vpc["CidrBlockAssociationSet"]],
        "DefaultNetworkAcl": acl["NetworkAclId"],
        "DefaultSecurityGroup": group["GroupId"],
        "Ipv6CidrBlocks": [],
    }
    return Made(id, {**attributes, **_told(properties)})


def _told(properties: Properties) -> Properties:
    """The properties of a VPC that GetAtt gives as well."""
    dns = {name: _or_default(properties, name, otherwise) for name, otherwise in _DNS.items()}
    return {**dns, "InstanceTenancy": _or_default(properties, "InstanceTenancy", "default")}


async def _set_dns(steps: Steps, id: str, before: Properties, after: Properties) -> None:
    """Each attribute that is to differ: EC2 takes one at a time."""
    for name, otherwise in _DNS.items():
        old, new = _or_default(before, name, otherwise), _or_default(after, name, otherwise)
        if old != new:
            await steps.call("ModifyVpcAttribute", {"VpcId": id, name: {"Value": new}})
            steps.undo("ModifyVpcAttribute", {"VpcId": id, name: {"Value": old}})


def _or_default(properties: Properties, name: str, otherwise: Any) -> Any:
    value = properties.get(name)
    return otherwise if value is None else value


async def update_vpc(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Its attributes, its tenancy (from dedicated to default) and its tags."""
    require_known(asked, _VPC)
    id, before, after = kept.physical_id, kept.properties, asked.properties
    async with Steps(hands, SERVICE) as steps:
        if _or_default(before, "InstanceTenancy", "default") != _or_default(after, "InstanceTenancy", "default"):
            await steps.call("ModifyVpcTenancy", {"VpcId": id, "InstanceTenancy": "default"})
        await _set_dns(steps, id, before, after)
        await change_tags(steps, id, asked, kept)
    return Made(id, {**kept.attributes, **_told(after)})


def replaces_vpc(before: Properties, after: Properties) -> frozenset[str]:
    """Only from dedicated to default can the tenancy of a VPC be changed."""
    old, new = _or_default(before, "InstanceTenancy", "default"), _or_default(after, "InstanceTenancy", "default")
    return frozenset(("InstanceTenancy",)) if old != new and (old, new) != ("dedicated", "default") else frozenset()


async def delete_vpc(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteVpc", {"VpcId": kept.physical_id})


async def read_vpc(hands: Hands, kept: Kept) -> Properties | None:
    """The VPC as EC2 has it."""
    vpc = await found(hands, "DescribeVpcs", "VpcIds", kept.physical_id, "Vpcs")
    if vpc is None:
        return None
    properties = given(vpc, "CidrBlock", "InstanceTenancy")
    for name in _DNS:
        attribute = {"VpcId": kept.physical_id, "Attribute": name[0].lower() + name[1:]}
        properties[name] = (await hands.call(SERVICE, "DescribeVpcAttribute", attribute))[name]["Value"]
    return with_tags(properties, vpc, kept)


# --- subnets ---

_SWITCHES = ("AssignIpv6AddressOnCreation", "EnableDns64", "MapPublicIpOnLaunch")
_NAMES = "PrivateDnsNameOptionsOnLaunch"
_SUBNET = ("AvailabilityZone", "AvailabilityZoneId", "CidrBlock", "Tags", "VpcId", _NAMES, *_SWITCHES)
_NAME_MEMBERS = {
    "HostnameType": "PrivateDnsHostnameTypeOnLaunch",
    "EnableResourceNameDnsARecord": "EnableResourceNameDnsARecordOnLaunch",
    "EnableResourceNameDnsAAAARecord": "EnableResourceNameDnsAAAARecordOnLaunch",
}


async def create_subnet(hands: Hands, asked: Asked) -> Made:
    """A subnet. Ref is its id."""
    require_known(asked, _SUBNET, {"Ipv6CidrBlock": "VPCs have no IPv6", "OutpostArn": "there are no Outposts"})
    async with Steps(hands, SERVICE) as steps:
        params = {**given(asked.properties, "VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId"), **tagged("subnet", asked)}
        subnet = (await steps.call("CreateSubnet", params))["Subnet"]
        id = subnet["SubnetId"]
        steps.undo("DeleteSubnet", {"SubnetId": id})
        await _set_switches(steps, id, {}, asked.properties)
        mine = {"Filters": [{"Name": "association.subnet-id", "Values": [id]}]}
        acls = (await steps.call("DescribeNetworkAcls", mine))["NetworkAcls"]
    associations = [one["NetworkAclAssociationId"] for acl in acls for one in acl["Associations"] if one["SubnetId"] == id]
    attributes = {
        **given(subnet, "SubnetId", "VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId"),
        "NetworkAclAssociationId": associations[0] if associations else "",
        "Ipv6CidrBlocks": [],
        "OutpostArn": "",
    }
    return Made(id, {**attributes, **_shown_switches(asked.properties)})


def _shown_switches(properties: Properties) -> dict[str, Any]:
    """The switches of a subnet, which GetAtt gives as well."""
    names = properties.get(_NAMES) or {}
    told = {f"{_NAMES}.{name}": names.get(name) or ("ip-name" if name == "HostnameType" else False) for name in _NAME_MEMBERS}
    return {**{name: bool(properties.get(name)) for name in _SWITCHES}, **told}


def _switches(properties: Properties) -> dict[str, Any]:
    """What ModifySubnetAttribute is to say, by its members."""
    wanted: dict[str, Any] = {name: {"Value": bool(properties.get(name))} for name in _SWITCHES}
    names = properties.get(_NAMES) or {}
    for name, member in _NAME_MEMBERS.items():
        wanted[member] = names.get(name) or "ip-name" if name == "HostnameType" else {"Value": bool(names.get(name))}
    return wanted


async def _set_switches(steps: Steps, id: str, before: Properties, after: Properties) -> None:
    """Each that is to differ: EC2 takes one at a time."""
    old, new = _switches(before), _switches(after)
    for member, value in new.items():
        if old[member] != value:
            await steps.call("ModifySubnetAttribute", {"SubnetId": id, member: value})
            steps.undo("ModifySubnetAttribute", {"SubnetId": id, member: old[member]})


async def update_subnet(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Its switches and tags."""
    require_known(asked, _SUBNET)
    async with Steps(hands, SERVICE) as steps:
        await _set_switches(steps, kept.physical_id, kept.properties, asked.properties)
        await change_tags(steps, kept.physical_id, asked, kept)
    return Made(kept.physical_id, {**kept.attributes, **_shown_switches(asked.properties)})


async def delete_subnet(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteSubnet", {"SubnetId": kept.physical_id})


async def read_subnet(hands: Hands, kept: Kept) -> Properties | None:
    """The subnet as EC2 has it."""
    subnet = await found(hands, "DescribeSubnets", "SubnetIds", kept.physical_id, "Subnets")
    if subnet is None:
        return None
    names = ("VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId", _NAMES, *_SWITCHES)
    return with_tags(given(subnet, *names), subnet, kept)


# --- internet gateways ---


async def create_gateway(hands: Hands, asked: Asked) -> Made:
    """An internet gateway. Ref is its id."""
    require_known(asked, ("Tags",))
    gateway = (await hands.call(SERVICE, "CreateInternetGateway", tagged("internet-gateway", asked)))["InternetGateway"]
    return Made(gateway["InternetGatewayId"], {"InternetGatewayId": gateway["InternetGatewayId"]})


async def update_tags(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """For what has nothing but tags that could be changed."""
    async with Steps(hands, SERVICE) as steps:
        await change_tags(steps, kept.physical_id, asked, kept)
    return Made(kept.physical_id, kept.attributes)


async def delete_gateway(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteInternetGateway", {"InternetGatewayId": kept.physical_id})


async def read_gateway(hands: Hands, kept: Kept) -> Properties | None:
    """Its tags: it has nothing else."""
    gateway = await found(hands, "DescribeInternetGateways", "InternetGatewayIds", kept.physical_id, "InternetGateways")
    return None if gateway is None else with_tags({}, gateway, kept)


# --- their attachments ---

_ATTACHMENT = ("InternetGatewayId", "VpcId")


def _attachment(asked: Asked) -> Properties:
    if asked.properties.get("VpnGatewayId"):
        raise refused(asked.type, "VpnGatewayId", "there are no VPNs")
    require_known(asked, _ATTACHMENT)
    if not asked.properties.get("InternetGatewayId"):
        raise refused(asked.type, "VpcId without InternetGatewayId")
    return given(asked.properties, *_ATTACHMENT)


async def attach(hands: Hands, asked: Asked) -> Made:
    """A gateway attached to a VPC. Ref is the kind of attachment and the VPC, `IGW|VPC-ID`."""
    params = _attachment(asked)
    await hands.call(SERVICE, "AttachInternetGateway", params)
    return Made(f"IGW|{params['VpcId']}", {"AttachmentType": "IGW"})


async def reattach(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Another gateway in the place of the one that is attached."""
    params, before = _attachment(asked), given(kept.properties, *_ATTACHMENT)
    if params != before:
        async with Steps(hands, SERVICE) as steps:
            if await steps.call_if_there("DetachInternetGateway", before):
                steps.undo("AttachInternetGateway", before)
            if not await steps.call_unless("Resource.AlreadyAssociated", "AttachInternetGateway", params):
                await _require_attached(steps, params)
    return Made(kept.physical_id, kept.attributes)


async def _require_attached(steps: Steps, params: Properties) -> None:
    """A gateway that is attached already must be attached to this VPC."""
    answer = await steps.call("DescribeInternetGateways", {"InternetGatewayIds": [params["InternetGatewayId"]]})
    if params["VpcId"] not in [one["VpcId"] for one in answer["InternetGateways"][0]["Attachments"]]:
        raise Fault("Resource.AlreadyAssociated", f"resource {params['InternetGatewayId']} is already attached to network")


async def detach(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DetachInternetGateway", given(kept.properties, *_ATTACHMENT))


async def read_attachment(hands: Hands, kept: Kept) -> Properties | None:
    """Whether it is attached, and which one is."""
    mine = {"Filters": [{"Name": "attachment.vpc-id", "Values": [kept.properties["VpcId"]]}]}
    for gateway in (await hands.call(SERVICE, "DescribeInternetGateways", mine))["InternetGateways"]:
        return {"VpcId": kept.properties["VpcId"], "InternetGatewayId": gateway["InternetGatewayId"]}
    return None


TYPES = (
    ResourceType("AWS::EC2::VPC", create_vpc, update_vpc, delete_vpc, read_vpc, has_stack_tags=True, replaces=replaces_vpc),
    ResourceType("AWS::EC2::Subnet", create_subnet, update_subnet, delete_subnet, read_subnet, has_stack_tags=True),
    ResourceType("AWS::EC2::InternetGateway", create_gateway, update_tags, delete_gateway, read_gateway, has_stack_tags=True),
    ResourceType("AWS::EC2::VPCGatewayAttachment", attach, reattach, detach, read_attachment),
)
