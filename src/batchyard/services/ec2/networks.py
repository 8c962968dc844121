"""VPCs and subnets: records with the checks that AWS makes of addresses and of what is in use."""

from __future__ import annotations

import ipaddress

from batchyard.model.fault import Fault
from batchyard.services import Params
from batchyard.services.ec2 import defaults
from batchyard.services.ec2.book import (
    ACL,
    ENDPOINT,
    GROUP,
    INTERNET,
    NAT,
    ROUTES,
    SUBNET,
    VPC,
    Book,
    in_use,
    invalid,
    new_id,
    not_available,
    one_of,
    shown,
    tags_in,
)
from batchyard.services.ec2.describing import described, members
from batchyard.store.shelf import Document

_VPC_FILTERS = members(
    vpc_id="VpcId",
    cidr="CidrBlock",
    cidr_block="CidrBlock",
    state="State",
    is_default="IsDefault",
    isDefault="IsDefault",
    dhcp_options_id="DhcpOptionsId",
) | {"cidr-block-association.cidr-block": lambda vpc: vpc["CidrBlock"]}
_SUBNET_FILTERS = members(
    subnet_id="SubnetId",
    subnet_arn="SubnetArn",
    vpc_id="VpcId",
    cidr="CidrBlock",
    cidr_block="CidrBlock",
    cidrBlock="CidrBlock",
    availability_zone="AvailabilityZone",
    availabilityZone="AvailabilityZone",
    availability_zone_id="AvailabilityZoneId",
    default_for_az="DefaultForAz",
    defaultForAz="DefaultForAz",
    map_public_ip_on_launch="MapPublicIpOnLaunch",
    state="State",
)
_ATTRIBUTES = {
    "enableDnsSupport": "EnableDnsSupport",
    "enableDnsHostnames": "EnableDnsHostnames",
    "enableNetworkAddressUsageMetrics": "EnableNetworkAddressUsageMetrics",
}
_IPV6 = ("Ipv6Pool", "Ipv6CidrBlock", "AmazonProvidedIpv6CidrBlock", "Ipv4IpamPoolId", "Ipv6IpamPoolId", "VpcEncryptionControl")


def network_of(cidr: str | None, code: str, member: str = "cidrBlock") -> ipaddress.IPv4Network:
    """A block of /16 to /28 whose host bits are zero. Raises the fault `code`, or AWS's for something that is no block."""
    try:
        network = ipaddress.IPv4Network(cidr or "")
    except ValueError:
        try:
            network = ipaddress.IPv4Network(cidr or "", strict=False)
        except ValueError:
            raise Fault(
                "InvalidParameterValue", f"Value ({cidr}) for parameter {member} is invalid. This is not a valid CIDR block."
            ) from None
        return network_of(str(network), code)  # AWS takes the network that the address is in
    if not 16 <= network.prefixlen <= 28:
        raise Fault(code, f"The CIDR '{cidr}' is invalid.")
    return network


# --- VPCs ---


def create_vpc(book: Book, params: Params) -> Params:
    """API reference, CreateVpc: with its main route table, network ACL and default security group."""
    not_available(params, *_IPV6)
    cidr = str(network_of(params.get("CidrBlock"), "InvalidVpc.Range"))
    id = new_id(VPC.prefix)
    record = defaults.vpc_record(book.account, id, cidr, defaults.dhcp_options_of(book.account, book.region), is_default=False)
    record |= {"InstanceTenancy": one_of(params, "InstanceTenancy", "default", "dedicated"), "Tags": tags_in(params, VPC.name)}
    book.put(VPC, record)
    book.put(ROUTES, defaults.route_table(book.account, new_id("rtb-"), id, cidr, new_id("rtbassoc-")))
    book.put(ACL, defaults.network_acl(book.account, new_id("acl-"), id))
    book.put(GROUP, defaults.security_group(book.account, book.region, new_id("sg-"), id, "default"))
    return {"Vpc": {**shown(record), "State": "pending"}}


def describe_vpcs(book: Book, params: Params) -> Params:
    """API reference, DescribeVpcs."""
    return described(book, VPC, params, ids="VpcIds", member="Vpcs", filters=_VPC_FILTERS, show=_shown_vpc)


def _shown_vpc(record: Document) -> Params:
    return {**shown(record), "Ipv6CidrBlockAssociationSet": []}


def delete_vpc(book: Book, params: Params) -> Params:
    """API reference, DeleteVpc."""
    vpc = book.require(VPC, params["VpcId"])
    id = vpc["VpcId"]
    own_groups = [group for group in book.of_vpc(GROUP, id) if group["GroupName"] != "default"]
    own_tables = [table for table in book.of_vpc(ROUTES, id) if not is_main(table)]
    gateways = [gateway for gateway in book.all(INTERNET) if any(a["VpcId"] == id for a in gateway["Attachments"])]
    nats = [nat for nat in book.of_vpc(NAT, id) if nat["State"] != "deleted"]
    own_acls = [acl for acl in book.of_vpc(ACL, id) if not acl["IsDefault"]]
    if own_acls or own_groups or own_tables or gateways or nats or book.of_vpc(SUBNET, id) or book.of_vpc(ENDPOINT, id):
        raise in_use(f"The vpc '{id}' has dependencies and cannot be deleted.")
    for kind in (ROUTES, ACL, GROUP):
        for record in book.of_vpc(kind, id):
            book.delete(kind, record[kind.member])
    book.delete(VPC, id)
    return {}


def is_main(table: Document) -> bool:
    """Whether a route table is the main one of its VPC."""
    return any(association["Main"] for association in table["Associations"])


def describe_vpc_attribute(book: Book, params: Params) -> Params:
    """API reference, DescribeVpcAttribute."""
    vpc, attribute = book.require(VPC, params["VpcId"]), params["Attribute"]
    if attribute not in _ATTRIBUTES:
        raise invalid(f"Value ({attribute}) for parameter attribute is invalid. Unknown vpc attribute")
    return {"VpcId": vpc["VpcId"], _ATTRIBUTES[attribute]: {"Value": vpc.get(attribute, False)}}


def modify_vpc_attribute(book: Book, params: Params) -> Params:
    """API reference, ModifyVpcAttribute."""
    vpc = dict(book.require(VPC, params["VpcId"]))
    for attribute, member in _ATTRIBUTES.items():
        if member in params:
            vpc[attribute] = params[member].get("Value", False)
    book.put(VPC, vpc)
    return {}


def modify_vpc_tenancy(book: Book, params: Params) -> Params:
    """API reference, ModifyVpcTenancy: to default, which is the only way."""
    vpc = book.require(VPC, params["VpcId"])
    if params["InstanceTenancy"] != "default":
        raise invalid(f"Value ({params['InstanceTenancy']}) for parameter instanceTenancy is invalid. Valid values: default")
    book.put(VPC, {**vpc, "InstanceTenancy": "default"})
    return {"ReturnValue": True}


# --- subnets ---


def create_subnet(book: Book, params: Params) -> Params:
    """API reference, CreateSubnet."""
    not_available(params, "Ipv6CidrBlock", "Ipv6Native", "OutpostArn", "Ipv4IpamPoolId", "Ipv6IpamPoolId")
    vpc = book.require(VPC, params["VpcId"])
    network = network_of(params.get("CidrBlock"), "InvalidSubnet.Range")
    if not network.subnet_of(ipaddress.IPv4Network(vpc["CidrBlock"])):
        raise Fault("InvalidSubnet.Range", f"The CIDR '{network}' is invalid.")
    for other in book.of_vpc(SUBNET, vpc["VpcId"]):
        if network.overlaps(ipaddress.IPv4Network(other["CidrBlock"])):
            raise Fault("InvalidSubnet.Conflict", f"The CIDR '{network}' conflicts with another subnet")
    zones = defaults.zones_of(book.region)
    by_id = {defaults.zone_id(book.region, zone): zone for zone in zones}
    zone = params.get("AvailabilityZone") or by_id.get(params.get("AvailabilityZoneId", ""), zones[0])
    if zone not in zones:
        raise invalid(
            f"Value ({zone}) for parameter availabilityZone is invalid. Subnets can currently only be created in the following "
            f"availability zones: {', '.join(zones)}."
        )
    record = defaults.subnet_record(book.account, book.region, new_id(SUBNET.prefix), vpc["VpcId"], zone, str(network))
    record["Tags"] = tags_in(params, SUBNET.name)
    book.put(SUBNET, record)
    return {"Subnet": shown(record)}


def describe_subnets(book: Book, params: Params) -> Params:
    """API reference, DescribeSubnets."""
    return described(book, SUBNET, params, ids="SubnetIds", member="Subnets", filters=_SUBNET_FILTERS)


def delete_subnet(book: Book, params: Params) -> Params:
    """API reference, DeleteSubnet: its association with a route table goes with it."""
    id = book.require(SUBNET, params["SubnetId"])["SubnetId"]
    nats = [nat for nat in book.all(NAT) if nat["SubnetId"] == id and nat["State"] != "deleted"]
    if nats or any(id in endpoint["SubnetIds"] for endpoint in book.all(ENDPOINT)):
        raise in_use(f"The subnet '{id}' has dependencies and cannot be deleted.")
    for table in book.all(ROUTES):
        left = [association for association in table["Associations"] if association.get("SubnetId") != id]
        if len(left) != len(table["Associations"]):
            book.put(ROUTES, {**table, "Associations": left})
    book.delete(SUBNET, id)
    return {}


def modify_subnet_attribute(book: Book, params: Params) -> Params:
    """API reference, ModifySubnetAttribute."""
    not_available(params, "CustomerOwnedIpv4Pool", "EnableLniAtDeviceIndex")
    subnet = dict(book.require(SUBNET, params["SubnetId"]))
    for member in ("MapPublicIpOnLaunch", "AssignIpv6AddressOnCreation", "EnableDns64", "MapCustomerOwnedIpOnLaunch"):
        if member in params:
            subnet[member] = params[member].get("Value", False)
    names = dict(subnet["PrivateDnsNameOptionsOnLaunch"])
    if "PrivateDnsHostnameTypeOnLaunch" in params:
        names["HostnameType"] = one_of(params, "PrivateDnsHostnameTypeOnLaunch", "ip-name", "resource-name")
    for member, shown_as in (
        ("EnableResourceNameDnsARecordOnLaunch", "EnableResourceNameDnsARecord"),
        ("EnableResourceNameDnsAAAARecordOnLaunch", "EnableResourceNameDnsAAAARecord"),
    ):
        if member in params:
            names[shown_as] = params[member].get("Value", False)
    book.put(SUBNET, {**subnet, "PrivateDnsNameOptionsOnLaunch": names})
    return {}
