"""Gateways, addresses and endpoints: the ways in and out of a VPC, as records."""

from __future__ import annotations

import json
import secrets

from batchyard.model.fault import Fault
from batchyard.services import Params
from batchyard.services.ec2.book import (
    ADDRESS,
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
from batchyard.services.ec2.describing import described, filtered, members, paged
from batchyard.services.ec2.networks import network_of
from batchyard.store.shelf import Document

# --- internet gateways ---


def create_internet_gateway(book: Book, params: Params) -> Params:
    """API reference, CreateInternetGateway."""
    return {"InternetGateway": shown(book.make(INTERNET, params, Attachments=[]))}


def describe_internet_gateways(book: Book, params: Params) -> Params:
    """API reference, DescribeInternetGateways."""
    filters = members(internet_gateway_id="InternetGatewayId") | {
        "attachment.vpc-id": lambda gateway: [a["VpcId"] for a in gateway["Attachments"]],
        "attachment.state": lambda gateway: [a["State"] for a in gateway["Attachments"]],
    }

    return described(book, INTERNET, params, ids="InternetGatewayIds", member="InternetGateways", filters=filters)


def _attached(vpc_id: str) -> Document:
    """EC2 says "available", which its model does not know and Terraform waits for."""
    return {"State": "available", "VpcId": vpc_id}


def attach_internet_gateway(book: Book, params: Params) -> Params:
    """API reference, AttachInternetGateway."""
    gateway, vpc = book.require(INTERNET, params["InternetGatewayId"]), book.require(VPC, params["VpcId"])
    if gateway["Attachments"]:
        raise Fault("Resource.AlreadyAssociated", f"resource {gateway['InternetGatewayId']} is already attached to network")
    if any(a["VpcId"] == vpc["VpcId"] for other in book.all(INTERNET) for a in other["Attachments"]):
        raise invalid(f"Network {vpc['VpcId']} already has an internet gateway attached")
    book.put(INTERNET, {**gateway, "Attachments": [_attached(vpc["VpcId"])]})
    return {}


def detach_internet_gateway(book: Book, params: Params) -> Params:
    """API reference, DetachInternetGateway."""
    gateway = book.require(INTERNET, params["InternetGatewayId"])
    if not any(a["VpcId"] == params["VpcId"] for a in gateway["Attachments"]):
        raise Fault("Gateway.NotAttached", f"resource {gateway['InternetGatewayId']} is not attached to network {params['VpcId']}")
    if any(a.get("AssociationId") and a.get("VpcId") == params["VpcId"] for a in book.all(ADDRESS)):
        raise in_use(
            f"Network {params['VpcId']} has some mapped public address(es). Please unmap those public address(es) before detaching."
        )
    book.put(INTERNET, {**gateway, "Attachments": []})
    return {}


def delete_internet_gateway(book: Book, params: Params) -> Params:
    """API reference, DeleteInternetGateway."""
    gateway = book.require(INTERNET, params["InternetGatewayId"])
    if gateway["Attachments"]:
        raise in_use(f"The internetGateway '{gateway['InternetGatewayId']}' has dependencies and cannot be deleted.")
    book.delete(INTERNET, gateway["InternetGatewayId"])
    return {}


# --- addresses and NAT gateways ---


def allocate_address(book: Book, params: Params) -> Params:
    """API reference, AllocateAddress: from 203.0.113.0/24 and its like, which are nobody's (RFC 5737)."""
    not_available(params, "Address", "PublicIpv4Pool", "CustomerOwnedIpv4Pool", "IpamPoolId")
    taken = {address["PublicIp"] for address in book.all(ADDRESS)}
    free = [f"{net}.{host}" for net in ("203.0.113", "198.51.100", "192.0.2") for host in range(1, 255) if f"{net}.{host}" not in taken]
    if not free:
        raise Fault("AddressLimitExceeded", "The maximum number of addresses has been reached.")
    place = {"PublicIp": free[0], "Domain": "vpc", "PublicIpv4Pool": "amazon", "NetworkBorderGroup": book.region}
    address = book.make(ADDRESS, params, **place)
    return {"AllocationId": address["AllocationId"], **place}


def describe_addresses(book: Book, params: Params) -> Params:
    """API reference, DescribeAddresses: it knows no pages."""
    addresses = book.all(ADDRESS)
    for id in params.get("AllocationIds", []):
        book.require(ADDRESS, id)
    wanted = [a for a in addresses if a["AllocationId"] in params.get("AllocationIds", []) or a["PublicIp"] in params.get("PublicIps", [])]
    if params.get("AllocationIds") or params.get("PublicIps"):
        addresses = wanted
    filters = members(
        allocation_id="AllocationId", association_id="AssociationId", public_ip="PublicIp", domain="Domain", instance_id="InstanceId"
    )
    found = filtered(addresses, params.get("Filters", []), filters)
    hidden = ("OwnerId", "VpcId")
    return {"Addresses": [{name: value for name, value in shown(a).items() if name not in hidden} for a in found]}


def release_address(book: Book, params: Params) -> Params:
    """API reference, ReleaseAddress."""
    address = book.require(ADDRESS, params.get("AllocationId", ""))
    if address.get("AssociationId"):
        raise Fault("InvalidIPAddress.InUse", f"Address {address['PublicIp']} is in use.")
    book.delete(ADDRESS, address["AllocationId"])
    return {}


def create_nat_gateway(book: Book, params: Params) -> Params:
    """API reference, CreateNatGateway: available at once."""
    not_available(params, "SecondaryAllocationIds", "SecondaryPrivateIpAddresses", "AvailabilityZoneAddresses", "PrivateIpAddress")
    subnet = book.require(SUBNET, params.get("SubnetId", ""))
    is_public = one_of(params, "ConnectivityType", "public", "private") == "public"
    if is_public and not params.get("AllocationId"):
        raise Fault(
            "MissingParameter", "The request must include the AllocationId parameter. Add the required parameter and retry the request."
        )
    id, interface = new_id(NAT.prefix), new_id("eni-")
    address: Document = {"NetworkInterfaceId": interface, "PrivateIp": _private_ip(subnet), "IsPrimary": True, "Status": "succeeded"}
    if is_public:
        elastic = book.require(ADDRESS, params["AllocationId"])
        if elastic.get("AssociationId"):
            raise Fault("Resource.AlreadyAssociated", f"Elastic IP address [{elastic['AllocationId']}] is already associated")
        association = new_id("eipassoc-")
        address |= {"AllocationId": elastic["AllocationId"], "PublicIp": elastic["PublicIp"], "AssociationId": association}
        book.put(ADDRESS, {**elastic, "AssociationId": association, "NetworkInterfaceId": interface, "VpcId": subnet["VpcId"]})
    gateway = {
        "NatGatewayId": id,
        "SubnetId": subnet["SubnetId"],
        "VpcId": subnet["VpcId"],
        "State": "available",
        "ConnectivityType": "public" if is_public else "private",
        "CreateTime": book.now_s,
        "NatGatewayAddresses": [address],
        "Tags": tags_in(params, NAT.name),
    }
    book.put(NAT, gateway)
    return {"NatGateway": {**shown(gateway), "State": "pending"}}


def _private_ip(subnet: Document) -> str:
    """Some address of a subnet, above those that AWS keeps for itself."""
    network = network_of(subnet["CidrBlock"], "InvalidSubnet.Range")
    return str(network[4 + secrets.randbelow(network.num_addresses - 5)])


def describe_nat_gateways(book: Book, params: Params) -> Params:
    """API reference, DescribeNatGateways. Deleted ones are shown for a while, as on AWS."""
    filters = members(nat_gateway_id="NatGatewayId", state="State", subnet_id="SubnetId", vpc_id="VpcId")
    asked = {**params, "Filters": params.get("Filter") or params.get("Filters", [])}
    return described(book, NAT, asked, ids="NatGatewayIds", member="NatGateways", filters=filters)


def delete_nat_gateway(book: Book, params: Params) -> Params:
    """API reference, DeleteNatGateway."""
    gateway = book.require(NAT, params["NatGatewayId"])
    for address in gateway["NatGatewayAddresses"]:
        elastic = book.find(ADDRESS, address.get("AllocationId", ""))
        if elastic is not None:
            free = {k: v for k, v in elastic.items() if k not in ("AssociationId", "NetworkInterfaceId", "VpcId")}
            book.put(ADDRESS, free)
    book.put(NAT, {**gateway, "State": "deleted", "DeleteTime": book.now_s})
    return {"NatGatewayId": gateway["NatGatewayId"]}


# --- endpoints ---

_LETS_EVERYTHING = json.dumps(
    {"Version": "2008-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}
)


def create_vpc_endpoint(book: Book, params: Params) -> Params:
    """API reference, CreateVpcEndpoint: gateway and interface endpoints of AWS's services."""
    not_available(params, "ServiceNetworkArn", "ResourceConfigurationArn", "SubnetConfigurations", "ServiceRegion", "DnsOptions")
    vpc, service = book.require(VPC, params["VpcId"]), params.get("ServiceName", "")
    kind = params.get("VpcEndpointType", "Gateway")
    if kind not in ("Gateway", "Interface"):
        raise invalid(f"VpcEndpointType {kind} is not available in this version of Batchyard: use Gateway or Interface")
    if not service.startswith((f"com.amazonaws.{book.region}.", "aws.")):
        raise Fault("InvalidServiceName", f"The Vpc Endpoint Service '{service}' does not exist")
    for table in params.get("RouteTableIds", []):
        book.require(ROUTES, table)
    groups = [book.require(GROUP, id) for id in params.get("SecurityGroupIds", [])]
    subnets = [book.require(SUBNET, id)["SubnetId"] for id in params.get("SubnetIds", [])]
    if kind == "Interface" and not groups:
        groups = [group for group in book.of_vpc(GROUP, vpc["VpcId"]) if group["GroupName"] == "default"]
    record = book.make(
        ENDPOINT,
        params,
        VpcEndpointType=kind,
        VpcId=vpc["VpcId"],
        ServiceName=service,
        State="available",
        PolicyDocument=params.get("PolicyDocument") or _LETS_EVERYTHING,
        RouteTableIds=list(params.get("RouteTableIds", [])),
        SubnetIds=subnets,
        Groups=[{"GroupId": group["GroupId"], "GroupName": group["GroupName"]} for group in groups],
        PrivateDnsEnabled=params.get("PrivateDnsEnabled", kind == "Interface"),
        RequesterManaged=False,
        NetworkInterfaceIds=[new_id("eni-") for _ in subnets] if kind == "Interface" else [],
        DnsEntries=[],
        CreationTimestamp=book.now_s,
        IpAddressType=one_of(params, "IpAddressType", "ipv4", "dualstack", "ipv6"),
    )
    return {"VpcEndpoint": shown(record)}


def describe_vpc_endpoints(book: Book, params: Params) -> Params:
    """API reference, DescribeVpcEndpoints."""
    filters = members(
        vpc_endpoint_id="VpcEndpointId",
        vpc_id="VpcId",
        service_name="ServiceName",
        vpc_endpoint_type="VpcEndpointType",
        vpc_endpoint_state="State",
    )
    return described(book, ENDPOINT, params, ids="VpcEndpointIds", member="VpcEndpoints", filters=filters)


def modify_vpc_endpoint(book: Book, params: Params) -> Params:
    """API reference, ModifyVpcEndpoint."""
    not_available(params, "DnsOptions", "SubnetConfigurations")
    endpoint = dict(book.require(ENDPOINT, params["VpcEndpointId"]))
    if params.get("PolicyDocument") or params.get("ResetPolicy"):
        endpoint["PolicyDocument"] = _LETS_EVERYTHING if params.get("ResetPolicy") else params["PolicyDocument"]
    if params.get("IpAddressType"):
        endpoint["IpAddressType"] = one_of(params, "IpAddressType", "ipv4", "dualstack", "ipv6")
    if "PrivateDnsEnabled" in params:
        endpoint["PrivateDnsEnabled"] = params["PrivateDnsEnabled"]
    for member, kind, added, removed in (
        ("RouteTableIds", ROUTES, "AddRouteTableIds", "RemoveRouteTableIds"),
        ("SubnetIds", SUBNET, "AddSubnetIds", "RemoveSubnetIds"),
    ):
        for id in params.get(added, []):
            book.require(kind, id)
        kept = [id for id in endpoint[member] if id not in params.get(removed, [])]
        endpoint[member] = [*kept, *(id for id in params.get(added, []) if id not in kept)]
    new_groups = [book.require(GROUP, id) for id in params.get("AddSecurityGroupIds", [])]
    left = [group for group in endpoint["Groups"] if group["GroupId"] not in params.get("RemoveSecurityGroupIds", [])]
    endpoint["Groups"] = [*left, *({"GroupId": g["GroupId"], "GroupName": g["GroupName"]} for g in new_groups)]
    book.put(ENDPOINT, endpoint)
    return {"Return": True}


def delete_vpc_endpoints(book: Book, params: Params) -> Params:
    """API reference, DeleteVpcEndpoints: what is not there is listed."""
    unsuccessful = []
    for id in params["VpcEndpointIds"]:
        if book.find(ENDPOINT, id) is None:
            error = {"Code": ENDPOINT.code, "Message": ENDPOINT.words.format(id)}
            unsuccessful.append({"ResourceId": id, "Error": error})
        else:
            book.delete(ENDPOINT, id)
    return {"Unsuccessful": unsuccessful}


def describe_network_interfaces(book: Book, params: Params) -> Params:
    """API reference, DescribeNetworkInterfaces: those of NAT gateways and endpoints. Slices of this machine have none."""
    interfaces = []
    for nat in book.all(NAT):
        if nat["State"] != "deleted":
            address = nat["NatGatewayAddresses"][0]
            words = f"Interface for NAT Gateway {nat['NatGatewayId']}"
            interfaces.append(_interface(book, address["NetworkInterfaceId"], nat["SubnetId"], words, "natGateway", address["PrivateIp"]))
    for endpoint in book.all(ENDPOINT):
        words = f"VPC Endpoint Interface {endpoint['VpcEndpointId']}"
        for id, subnet in zip(endpoint["NetworkInterfaceIds"], endpoint["SubnetIds"], strict=False):
            interfaces.append({**_interface(book, id, subnet, words, "vpc_endpoint", ""), "Groups": endpoint["Groups"]})
    for id in params.get("NetworkInterfaceIds", []):
        if id not in [one["NetworkInterfaceId"] for one in interfaces]:
            raise Fault("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{id}' does not exist")
    if params.get("NetworkInterfaceIds"):
        interfaces = [one for one in interfaces if one["NetworkInterfaceId"] in params["NetworkInterfaceIds"]]
    filters = members(
        network_interface_id="NetworkInterfaceId",
        subnet_id="SubnetId",
        vpc_id="VpcId",
        status="Status",
        description="Description",
        availability_zone="AvailabilityZone",
        interface_type="InterfaceType",
    ) | {
        "group-id": lambda one: [group["GroupId"] for group in one["Groups"]],
        "group-name": lambda one: [group["GroupName"] for group in one["Groups"]],
        "attachment.instance-id": lambda one: None,
        "attachment.status": lambda one: "attached",
        "requester-managed": lambda one: True,
    }
    found = filtered(interfaces, params.get("Filters", []), filters)
    return paged(found, params, lambda one: str(one["NetworkInterfaceId"]), "NetworkInterfaces", lambda one: one)


def _interface(book: Book, id: str, subnet_id: str, words: str, kind: str, address: str) -> Document:
    subnet = book.find(SUBNET, subnet_id) or {}
    return {
        "NetworkInterfaceId": id,
        "SubnetId": subnet_id,
        "VpcId": subnet.get("VpcId", ""),
        "AvailabilityZone": subnet.get("AvailabilityZone", ""),
        "Description": words,
        "InterfaceType": kind,
        "OwnerId": book.account,
        "RequesterManaged": True,
        "Status": "in-use",
        "Groups": [],
        "TagSet": [],
        **({"PrivateIpAddress": address} if address else {}),
    }
