"""What a region of an account has from the start: a default VPC with a subnet in each of three zones, and what belongs to it.

Ids follow from account and region, so that they are the same at every start and nothing needs to be stored.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from batchyard.store.shelf import Document

CIDR = "172.31.0.0/16"
ZONES = ("a", "b", "c")
ANYWHERE = "0.0.0.0/0"


def zones_of(region: str) -> list[str]:
    """The zones' names: us-east-1a ..."""
    return [region + letter for letter in ZONES]


def zone_id(region: str, zone: str) -> str:
    """AWS's id of a zone: use1-az1."""
    area, _, rest = region.partition("-")
    way = "".join(part[0] if not part.isdigit() else part for part in rest.split("-"))
    return f"{area}{way}-az{ord(zone[-1]) - ord('a') + 1}"


def fixed_id(prefix: str, *parts: str) -> str:
    """An id that follows from `parts`."""
    return prefix + hashlib.sha256("/".join(parts).encode()).hexdigest()[:17]


def dhcp_options_of(account: str, region: str) -> str:
    """The id of the options that every new VPC gets."""
    return fixed_id("dopt-", account, region, "default")


@lru_cache(maxsize=64)
def records_of(account: str, region: str) -> dict[str, dict[str, Document]]:
    """By kind and id. Not to be changed: a change is stored on the shelf."""

    def named(prefix: str, *parts: str) -> str:
        return fixed_id(prefix, account, region, *parts)

    vpc, dhcp, gateway = named("vpc-", "default"), dhcp_options_of(account, region), named("igw-", "default")
    own: Document = {"OwnerId": account, "Tags": {}}
    subnets = [
        _subnet(account, region, named("subnet-", zone), vpc, zone, f"172.31.{16 * at}.0/20") for at, zone in enumerate(zones_of(region))
    ]
    routes = route_table(account, named("rtb-", "main"), vpc, CIDR, named("rtbassoc-", "main"))
    routes["Routes"].append({"DestinationCidrBlock": ANYWHERE, "GatewayId": gateway, "Origin": "CreateRoute", "State": "active"})
    records: dict[str, list[tuple[str, Document]]] = {
        "vpc": [(vpc, vpc_record(account, vpc, CIDR, dhcp, is_default=True))],
        "subnet": [(subnet["SubnetId"], subnet) for subnet in subnets],
        "route-table": [(routes["RouteTableId"], routes)],
        "internet-gateway": [
            (gateway, {"InternetGatewayId": gateway, "Attachments": [{"State": "available", "VpcId": vpc}], **own}),
        ],
        "security-group": [(named("sg-", "default"), security_group(account, region, named("sg-", "default"), vpc, "default"))],
        "network-acl": [(named("acl-", "default"), network_acl(account, named("acl-", "default"), vpc))],
        "dhcp-options": [(dhcp, _dhcp(account, region, dhcp))],
    }
    return {kind: dict(found) for kind, found in records.items()}


def vpc_record(account: str, id: str, cidr: str, dhcp: str, *, is_default: bool) -> Document:
    association = {"AssociationId": "vpc-cidr-assoc-" + id.partition("-")[2], "CidrBlock": cidr, "CidrBlockState": {"State": "associated"}}
    return {
        "VpcId": id,
        "CidrBlock": cidr,
        "CidrBlockAssociationSet": [association],
        "DhcpOptionsId": dhcp,
        "InstanceTenancy": "default",
        "IsDefault": is_default,
        "State": "available",
        "OwnerId": account,
        "Tags": {},
        "enableDnsSupport": True,
        "enableDnsHostnames": is_default,
        "enableNetworkAddressUsageMetrics": False,
    }


def _subnet(account: str, region: str, id: str, vpc: str, zone: str, cidr: str) -> Document:
    return {**subnet_record(account, region, id, vpc, zone, cidr), "DefaultForAz": True, "MapPublicIpOnLaunch": True}


def subnet_record(account: str, region: str, id: str, vpc: str, zone: str, cidr: str) -> Document:
    hosts: int = 2 ** (32 - int(cidr.rpartition("/")[2])) - 5
    return {
        "SubnetId": id,
        "SubnetArn": f"arn:aws:ec2:{region}:{account}:subnet/{id}",
        "VpcId": vpc,
        "CidrBlock": cidr,
        "AvailabilityZone": zone,
        "AvailabilityZoneId": zone_id(region, zone),
        "AvailableIpAddressCount": hosts,
        "State": "available",
        "DefaultForAz": False,
        "MapPublicIpOnLaunch": False,
        "AssignIpv6AddressOnCreation": False,
        "Ipv6CidrBlockAssociationSet": [],
        "MapCustomerOwnedIpOnLaunch": False,
        "EnableDns64": False,
        "Ipv6Native": False,
        "PrivateDnsNameOptionsOnLaunch": {
            "HostnameType": "ip-name",
            "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
        },
        "OwnerId": account,
        "Tags": {},
    }


def route_table(account: str, id: str, vpc: str, cidr: str, main_association: str = "") -> Document:
    associations = []
    if main_association:
        state = {"State": "associated"}
        associations = [{"Main": True, "RouteTableAssociationId": main_association, "RouteTableId": id, "AssociationState": state}]
    local = {"DestinationCidrBlock": cidr, "GatewayId": "local", "Origin": "CreateRouteTable", "State": "active"}
    return {
        "RouteTableId": id,
        "VpcId": vpc,
        "Routes": [local],
        "Associations": associations,
        "PropagatingVgws": [],
        "OwnerId": account,
        "Tags": {},
    }


def security_group(account: str, region: str, id: str, vpc: str, name: str, description: str = "default VPC security group") -> Document:
    """A group that lets everything out, and (the default one) everything in from itself."""
    rules = [{"id": fixed_id("sgr-", id, "out"), "is_egress": True, "IpProtocol": "-1", "CidrIpv4": ANYWHERE, "Tags": {}}]
    if name == "default":
        rules.append(
            {"id": fixed_id("sgr-", id, "in"), "is_egress": False, "IpProtocol": "-1", "GroupId": id, "UserId": account, "Tags": {}}
        )
    return {
        "GroupId": id,
        "GroupName": name,
        "Description": description,
        "SecurityGroupArn": f"arn:aws:ec2:{region}:{account}:security-group/{id}",
        "VpcId": vpc,
        "OwnerId": account,
        "Tags": {},
        "rules": rules,
    }


def network_acl(account: str, id: str, vpc: str) -> Document:
    entries = [
        {"CidrBlock": ANYWHERE, "Egress": egress, "Protocol": "-1", "RuleAction": action, "RuleNumber": number}
        for egress in (True, False)
        for action, number in (("allow", 100), ("deny", 32767))
    ]
    return {"NetworkAclId": id, "VpcId": vpc, "IsDefault": True, "Entries": entries, "Associations": [], "OwnerId": account, "Tags": {}}


def _dhcp(account: str, region: str, id: str) -> Document:
    domain = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    options = {"domain-name": domain, "domain-name-servers": "AmazonProvidedDNS"}
    return {
        "DhcpOptionsId": id,
        "DhcpConfigurations": [{"Key": key, "Values": [{"Value": value}]} for key, value in options.items()],
        "OwnerId": account,
        "Tags": {},
    }
