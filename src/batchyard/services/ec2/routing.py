"""Route tables and their routes, as records."""

from __future__ import annotations

import ipaddress

from batchyard.model.fault import Fault
from batchyard.services import Params
from batchyard.services.ec2 import defaults
from batchyard.services.ec2.book import (
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
    shown,
    tags_in,
)
from batchyard.services.ec2.describing import described, members
from batchyard.services.ec2.networks import is_main
from batchyard.store.shelf import Document

_TARGETS = ("GatewayId", "NatGatewayId", "InstanceId", "NetworkInterfaceId", "TransitGatewayId", "VpcPeeringConnectionId")
_NO_TARGETS = (
    "InstanceId",
    "NetworkInterfaceId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "EgressOnlyInternetGatewayId",
    "VpcEndpointId",
)
_ROUTE_FILTERS = members(route_table_id="RouteTableId", vpc_id="VpcId") | {
    "association.main": lambda table: is_main(table),
    "association.subnet-id": lambda table: [a.get("SubnetId") for a in table["Associations"]],
    "association.route-table-association-id": lambda table: [a["RouteTableAssociationId"] for a in table["Associations"]],
    "association.route-table-id": lambda table: [a["RouteTableId"] for a in table["Associations"]],
    "route.destination-cidr-block": lambda table: [r.get("DestinationCidrBlock") for r in table["Routes"]],
    "route.gateway-id": lambda table: [r.get("GatewayId") for r in table["Routes"]],
    "route.nat-gateway-id": lambda table: [r.get("NatGatewayId") for r in table["Routes"]],
}


# --- route tables ---


def create_route_table(book: Book, params: Params) -> Params:
    """API reference, CreateRouteTable."""
    vpc = book.require(VPC, params["VpcId"])
    table = defaults.route_table(book.account, new_id("rtb-"), vpc["VpcId"], vpc["CidrBlock"])
    table["Tags"] = tags_in(params, ROUTES.name)
    book.put(ROUTES, table)
    return {"RouteTable": shown(table)}


def describe_route_tables(book: Book, params: Params) -> Params:
    """API reference, DescribeRouteTables."""
    return described(book, ROUTES, params, ids="RouteTableIds", member="RouteTables", filters=_ROUTE_FILTERS)


def delete_route_table(book: Book, params: Params) -> Params:
    """API reference, DeleteRouteTable."""
    table = book.require(ROUTES, params["RouteTableId"])
    if table["Associations"]:
        raise in_use(f"The routeTable '{table['RouteTableId']}' has dependencies and cannot be deleted.")
    book.delete(ROUTES, table["RouteTableId"])
    return {}


def associate_route_table(book: Book, params: Params) -> Params:
    """API reference, AssociateRouteTable: a subnet has one table besides its VPC's main one."""
    not_available(params, "GatewayId", "PublicIpv4Pool")
    table, subnet = book.require(ROUTES, params["RouteTableId"]), book.require(SUBNET, params.get("SubnetId", ""))
    if table["VpcId"] != subnet["VpcId"]:
        raise invalid(f"Route table {table['RouteTableId']} and subnet {subnet['SubnetId']} belong to different networks")
    for other in book.all(ROUTES):
        for there in other["Associations"]:
            if there.get("SubnetId") == subnet["SubnetId"]:
                id, name = there["RouteTableAssociationId"], subnet["SubnetId"]
                if other["RouteTableId"] == table["RouteTableId"]:
                    return {"AssociationId": id, "AssociationState": {"State": "associated"}}
                raise Fault("Resource.AlreadyAssociated", f"the specified association for route table {id} conflicts with that of {name}")
    association = {
        "Main": False,
        "RouteTableAssociationId": new_id("rtbassoc-"),
        "RouteTableId": table["RouteTableId"],
        "SubnetId": subnet["SubnetId"],
        "AssociationState": {"State": "associated"},
    }
    book.put(ROUTES, {**table, "Associations": [*table["Associations"], association]})
    return {"AssociationId": association["RouteTableAssociationId"], "AssociationState": {"State": "associated"}}


def _association(book: Book, id: str) -> tuple[Document, Document]:
    for table in book.all(ROUTES):
        for association in table["Associations"]:
            if association["RouteTableAssociationId"] == id:
                return table, association
    raise Fault("InvalidAssociationID.NotFound", f"The association ID '{id}' does not exist")


def disassociate_route_table(book: Book, params: Params) -> Params:
    """API reference, DisassociateRouteTable."""
    table, association = _association(book, params["AssociationId"])
    if association["Main"]:
        raise invalid(f"cannot disassociate the main route table association {params['AssociationId']}")
    book.put(ROUTES, {**table, "Associations": [a for a in table["Associations"] if a != association]})
    return {}


def replace_route_table_association(book: Book, params: Params) -> Params:
    """API reference, ReplaceRouteTableAssociation: also the way to another main table."""
    table, association = _association(book, params["AssociationId"])
    target = book.require(ROUTES, params["RouteTableId"])
    moved = {**association, "RouteTableAssociationId": new_id("rtbassoc-"), "RouteTableId": target["RouteTableId"]}
    book.put(ROUTES, {**table, "Associations": [a for a in table["Associations"] if a != association]})
    target = book.require(ROUTES, params["RouteTableId"])
    book.put(ROUTES, {**target, "Associations": [*target["Associations"], moved]})
    return {"NewAssociationId": moved["RouteTableAssociationId"], "AssociationState": {"State": "associated"}}


# --- routes ---


def _destination(params: Params) -> tuple[str, str]:
    not_available(params, "DestinationPrefixListId", "CarrierGatewayId", "LocalGatewayId", "CoreNetworkArn", "OdbNetworkArn")
    if params.get("DestinationIpv6CidrBlock"):
        return "DestinationIpv6CidrBlock", params["DestinationIpv6CidrBlock"]
    cidr = params.get("DestinationCidrBlock", "")
    try:
        return "DestinationCidrBlock", str(ipaddress.IPv4Network(cidr, strict=False))
    except ValueError:
        words = f"Value ({cidr}) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block."
        raise invalid(words) from None


def _target(book: Book, params: Params, table: Document) -> Document:
    not_available(params, *_NO_TARGETS)
    if params.get("NatGatewayId"):
        return {"NatGatewayId": book.require(NAT, params["NatGatewayId"])["NatGatewayId"]}
    gateway = params.get("GatewayId")
    if not gateway:
        raise Fault("InvalidParameterCombination", "The request must contain exactly one of gatewayId, natGatewayId")
    if gateway != "local":
        attached = [a["VpcId"] for a in book.require(INTERNET, gateway)["Attachments"]]
        if table["VpcId"] not in attached:
            raise invalid(f"route table {table['RouteTableId']} and network gateway {gateway} belong to different networks")
    return {"GatewayId": gateway}


def create_route(book: Book, params: Params) -> Params:
    """API reference, CreateRoute."""
    table = book.require(ROUTES, params["RouteTableId"])
    member, cidr = _destination(params)
    if any(route.get(member) == cidr for route in table["Routes"]):
        raise Fault("RouteAlreadyExists", f"The route identified by {cidr} already exists.")
    route = {member: cidr, **_target(book, params, table), "Origin": "CreateRoute", "State": "active"}
    book.put(ROUTES, {**table, "Routes": [*table["Routes"], route]})
    return {"Return": True}


def replace_route(book: Book, params: Params) -> Params:
    """API reference, ReplaceRoute."""
    table = book.require(ROUTES, params["RouteTableId"])
    member, cidr = _destination(params)
    left = [route for route in table["Routes"] if route.get(member) != cidr]
    if len(left) == len(table["Routes"]):
        raise invalid(f"There is no route defined for '{cidr}' in the route table. Use CreateRoute instead.")
    route = {member: cidr, **_target(book, params, table), "Origin": "CreateRoute", "State": "active"}
    book.put(ROUTES, {**table, "Routes": [*left, route]})
    return {}


def delete_route(book: Book, params: Params) -> Params:
    """API reference, DeleteRoute."""
    table = book.require(ROUTES, params["RouteTableId"])
    member, cidr = _destination(params)
    gone = [route for route in table["Routes"] if route.get(member) == cidr]
    if not gone:
        raise Fault("InvalidRoute.NotFound", f"no route with destination-cidr-block {cidr} in route table {table['RouteTableId']}")
    if gone[0].get("GatewayId") == "local":
        raise invalid(f"cannot remove local route {cidr} in route table {table['RouteTableId']}")
    book.put(ROUTES, {**table, "Routes": [route for route in table["Routes"] if route not in gone]})
    return {}
