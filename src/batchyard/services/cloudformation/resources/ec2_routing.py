"""AWS::EC2::RouteTable, Route, SubnetRouteTableAssociation, EIP and NatGateway."""

from __future__ import annotations

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import Steps, call_if_there, changed, given, is_gone, refused, require_known
from batchyard.services.cloudformation.resources.ec2_network import update_tags
from batchyard.services.cloudformation.resources.ec2_records import SERVICE, change_tags, found, tagged, with_tags
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, Properties, ResourceType

# --- route tables ---


async def create_table(hands: Hands, asked: Asked) -> Made:
    """A route table with its local route. Ref is its id."""
    require_known(asked, ("Tags", "VpcId"))
    params = {"VpcId": asked.properties["VpcId"], **tagged("route-table", asked)}
    table = (await hands.call(SERVICE, "CreateRouteTable", params))["RouteTable"]
    return Made(table["RouteTableId"], {"RouteTableId": table["RouteTableId"], "VpcId": table["VpcId"]})


async def delete_table(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteRouteTable", {"RouteTableId": kept.physical_id})


async def read_table(hands: Hands, kept: Kept) -> Properties | None:
    """The table as EC2 has it."""
    table = await found(hands, "DescribeRouteTables", "RouteTableIds", kept.physical_id, "RouteTables")
    return None if table is None else with_tags(given(table, "VpcId"), table, kept)


# --- routes ---

_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")
_TARGETS = ("GatewayId", "NatGatewayId")
_NO_TARGETS = {
    "InstanceId": "slices of this machine route nothing",
    "NetworkInterfaceId": "slices of this machine route nothing",
    "VpcPeeringConnectionId": "VPCs are not connected",
    "TransitGatewayId": "VPCs are not connected",
    "EgressOnlyInternetGatewayId": "VPCs have no IPv6",
    "DestinationPrefixListId": "there are no prefix lists",
}
_ROUTE = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "RouteTableId", *_TARGETS)


def _route(asked: Asked) -> Properties:
    require_known(asked, _ROUTE, _NO_TARGETS)
    return given(asked.properties, *_ROUTE)


def _way(properties: Properties) -> Properties:
    """What names a route."""
    return given(properties, "RouteTableId", *_DESTINATIONS)


async def create_route(hands: Hands, asked: Asked) -> Made:
    """A route. Ref is its table and its destination, `TABLE-ID|0.0.0.0/0`."""
    params = _route(asked)
    await hands.call(SERVICE, "CreateRoute", params)
    destination = next((params[name] for name in _DESTINATIONS if name in params), "")
    return Made(f"{params['RouteTableId']}|{destination}", {"CidrBlock": destination})


async def update_route(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Another target."""
    params = _route(asked)
    if changed(kept.properties, asked.properties, *_TARGETS):
        await hands.call(SERVICE, "ReplaceRoute", params)
    return Made(kept.physical_id, kept.attributes)


async def delete_route(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteRoute", _way(kept.properties))


async def read_route(hands: Hands, kept: Kept) -> Properties | None:
    """The route as its table has it."""
    table = await found(hands, "DescribeRouteTables", "RouteTableIds", kept.properties["RouteTableId"], "RouteTables")
    wanted = kept.attributes.get("CidrBlock")
    for route in (table or {}).get("Routes", []):
        if wanted in (route.get("DestinationCidrBlock"), route.get("DestinationIpv6CidrBlock")):
            return {"RouteTableId": kept.properties["RouteTableId"], **given(route, *_DESTINATIONS, *_TARGETS)}
    return None


# --- which subnet has which table ---


async def associate(hands: Hands, asked: Asked) -> Made:
    """A subnet associated with a table. Ref is the association's id."""
    require_known(asked, ("RouteTableId", "SubnetId"))
    id = (await hands.call(SERVICE, "AssociateRouteTable", given(asked.properties, "RouteTableId", "SubnetId")))["AssociationId"]
    return Made(id, {"Id": id})


async def disassociate(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DisassociateRouteTable", {"AssociationId": kept.physical_id})


async def read_association(hands: Hands, kept: Kept) -> Properties | None:
    """The association, wherever it is now."""
    mine = {"Filters": [{"Name": "association.route-table-association-id", "Values": [kept.physical_id]}]}
    for table in (await hands.call(SERVICE, "DescribeRouteTables", mine))["RouteTables"]:
        for one in table["Associations"]:
            if one["RouteTableAssociationId"] == kept.physical_id:
                return given(one, "RouteTableId", "SubnetId")
    return None


# --- addresses ---

_EIP = ("Domain", "NetworkBorderGroup", "Tags")


async def create_address(hands: Hands, asked: Asked) -> Made:
    """An address of nobody's network. Ref is the address."""
    properties = asked.properties
    require_known(asked, (*_EIP, "PublicIpv4Pool"), {"InstanceId": "instances come and go with compute environments"})
    if properties.get("NetworkBorderGroup", hands.region) != hands.region:
        raise refused(asked.type, "NetworkBorderGroup", "there are no zones but the region's own")
    if properties.get("PublicIpv4Pool", "amazon") != "amazon":
        raise refused(asked.type, "PublicIpv4Pool", "addresses come from Amazon's pool")
    params = {"Domain": properties.get("Domain") or "vpc", **tagged("elastic-ip", asked)}
    address = await hands.call(SERVICE, "AllocateAddress", params)
    return Made(address["PublicIp"], {"PublicIp": address["PublicIp"], "AllocationId": address["AllocationId"]})


async def update_address(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Its tags."""
    require_known(asked, (*_EIP, "PublicIpv4Pool"))
    async with Steps(hands, SERVICE) as steps:
        await change_tags(steps, kept.attributes["AllocationId"], asked, kept)
    return Made(kept.physical_id, kept.attributes)


async def delete_address(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "ReleaseAddress", {"AllocationId": kept.attributes["AllocationId"]})


async def read_address(hands: Hands, kept: Kept) -> Properties | None:
    """The address as EC2 has it."""
    address = await found(hands, "DescribeAddresses", "AllocationIds", kept.attributes["AllocationId"], "Addresses")
    return None if address is None else with_tags(given(address, "Domain", "NetworkBorderGroup"), address, kept)


# --- NAT gateways ---

_NAT = ("AllocationId", "AvailabilityMode", "ConnectivityType", "SubnetId", "Tags")
_PATIENCE_S = 600.0


async def create_nat(hands: Hands, asked: Asked) -> Made:
    """A NAT gateway, once it is available. Ref is its id."""
    _require_nat(asked)
    async with Steps(hands, SERVICE) as steps:
        params = {**given(asked.properties, "AllocationId", "ConnectivityType", "SubnetId"), **tagged("natgateway", asked)}
        id = (await steps.call("CreateNatGateway", params))["NatGateway"]["NatGatewayId"]
        steps.undo("DeleteNatGateway", {"NatGatewayId": id})

        async def available() -> Properties | None:
            gateway = await found(hands, "DescribeNatGateways", "NatGatewayIds", id, "NatGateways")
            if gateway is not None and gateway["State"] == "failed":
                raise Fault("NotStabilized", f"NatGateway {id} is in state failed and hence detected as failure to create.")
            return gateway if gateway is not None and gateway["State"] == "available" else None

        gateway = await hands.until(available, patience_s=_PATIENCE_S, what=f"{id} to be available")
    return Made(id, {"NatGatewayId": id, "EniId": gateway["NatGatewayAddresses"][0]["NetworkInterfaceId"]})


def _require_nat(asked: Asked) -> None:
    require_known(asked, _NAT, {"SecondaryAllocationIds": "a NAT gateway has one address"})
    if asked.properties.get("AvailabilityMode", "zonal") != "zonal":
        raise refused(asked.type, "AvailabilityMode", "a NAT gateway is in one subnet")


async def update_nat(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Its tags."""
    _require_nat(asked)
    return await update_tags(hands, asked, kept)


async def delete_nat(hands: Hands, kept: Kept) -> None:
    """Deletes it, and waits until its address is free."""
    id = kept.physical_id
    try:
        await hands.call(SERVICE, "DeleteNatGateway", {"NatGatewayId": id})
    except Fault as fault:
        if is_gone(fault):
            return
        raise

    async def deleted() -> bool:
        gateway = await found(hands, "DescribeNatGateways", "NatGatewayIds", id, "NatGateways")
        return gateway is None or gateway["State"] == "deleted"

    await hands.until(deleted, patience_s=_PATIENCE_S, what=f"{id} to be deleted")


async def read_nat(hands: Hands, kept: Kept) -> Properties | None:
    """The gateway as EC2 has it; deleted ones are shown for a while."""
    gateway = await found(hands, "DescribeNatGateways", "NatGatewayIds", kept.physical_id, "NatGateways")
    if gateway is None or gateway["State"] in ("deleting", "deleted"):
        return None
    properties = {**given(gateway, "ConnectivityType", "SubnetId"), **given(gateway["NatGatewayAddresses"][0], "AllocationId")}
    return with_tags(properties, gateway, kept)


TYPES = (
    ResourceType("AWS::EC2::RouteTable", create_table, update_tags, delete_table, read_table, has_stack_tags=True),
    ResourceType("AWS::EC2::Route", create_route, update_route, delete_route, read_route),
    ResourceType("AWS::EC2::SubnetRouteTableAssociation", associate, None, disassociate, read_association),
    ResourceType("AWS::EC2::EIP", create_address, update_address, delete_address, read_address, has_stack_tags=True),
    ResourceType("AWS::EC2::NatGateway", create_nat, update_nat, delete_nat, read_nat, has_stack_tags=True),
)
