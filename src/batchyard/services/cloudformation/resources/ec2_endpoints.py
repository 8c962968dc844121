"""AWS::EC2::VPCEndpoint: gateway and interface endpoints of AWS's services."""

from __future__ import annotations

from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import Steps, changed, document_of, document_text, given, require_known
from batchyard.services.cloudformation.resources.ec2_records import SERVICE, change_tags, found, tagged, with_tags
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, Properties, ResourceType

_LISTS = {"RouteTableIds": "RouteTableIds", "SubnetIds": "SubnetIds", "SecurityGroupIds": "SecurityGroupIds"}
_KNOWN = ("IpAddressType", "PolicyDocument", "PrivateDnsEnabled", "ServiceName", "Tags", "VpcEndpointType", "VpcId", *_LISTS)
_PATIENCE_S = 600.0


def _policy(properties: Properties) -> str | None:
    return document_text(properties["PolicyDocument"]) if properties.get("PolicyDocument") else None


async def create_endpoint(hands: Hands, asked: Asked) -> Made:
    """An endpoint, once it is available. Ref is its id."""
    require_known(asked, _KNOWN, {"ServiceNetworkArn": "there are no service networks", "DnsOptions": "there is no DNS"})
    properties = asked.properties
    params = given(properties, "ServiceName", "VpcId", "VpcEndpointType", "PrivateDnsEnabled", "IpAddressType", *_LISTS)
    if params.get("VpcEndpointType") == "Interface":
        params.setdefault("PrivateDnsEnabled", False)  # as CloudFormation has it; the API's own default is true
    if (text := _policy(properties)) is not None:
        params["PolicyDocument"] = text
    async with Steps(hands, SERVICE) as steps:
        id = (await steps.call("CreateVpcEndpoint", {**params, **tagged("vpc-endpoint", asked)}))["VpcEndpoint"]["VpcEndpointId"]
        steps.undo("DeleteVpcEndpoints", {"VpcEndpointIds": [id]})

        async def available() -> dict[str, Any] | None:
            endpoint = await found(hands, "DescribeVpcEndpoints", "VpcEndpointIds", id, "VpcEndpoints")
            return endpoint if endpoint is not None and endpoint["State"] == "available" else None

        endpoint = await hands.until(available, patience_s=_PATIENCE_S, what=f"{id} to be available")
    attributes = {
        "Id": id,
        "CreationTimestamp": str(endpoint["CreationTimestamp"]),
        "DnsEntries": [f"{one.get('HostedZoneId', '')}:{one.get('DnsName', '')}" for one in endpoint["DnsEntries"]],
        "NetworkInterfaceIds": endpoint["NetworkInterfaceIds"],
    }
    return Made(id, attributes)


async def update_endpoint(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """What it is reachable from, its policy, its addresses, its tags."""
    require_known(asked, _KNOWN)
    id, before, after = kept.physical_id, kept.properties, asked.properties
    there, back = _changes(before, after), _changes(after, before)
    async with Steps(hands, SERVICE) as steps:
        if there:
            await steps.call("ModifyVpcEndpoint", {"VpcEndpointId": id, **there})
            steps.undo("ModifyVpcEndpoint", {"VpcEndpointId": id, **back})
        await change_tags(steps, id, asked, kept)
    return Made(id, kept.attributes)


def _changes(before: Properties, after: Properties) -> dict[str, Any]:
    """What ModifyVpcEndpoint must be told."""
    params: dict[str, Any] = {}
    for name, member in _LISTS.items():
        old, new = before.get(name) or [], after.get(name) or []
        if added := [id for id in new if id not in old]:
            params[f"Add{member}"] = added
        if removed := [id for id in old if id not in new]:
            params[f"Remove{member}"] = removed
    if _policy(before) != _policy(after):
        params |= {"PolicyDocument": _policy(after)} if _policy(after) else {"ResetPolicy": True}
    if bool(before.get("PrivateDnsEnabled")) != bool(after.get("PrivateDnsEnabled")):
        params["PrivateDnsEnabled"] = bool(after.get("PrivateDnsEnabled"))
    if changed(before, after, "IpAddressType"):
        params["IpAddressType"] = after.get("IpAddressType") or "ipv4"
    return params


async def delete_endpoint(hands: Hands, kept: Kept) -> None:
    """Deletes it; EC2 lists what it could not delete."""
    answer = await hands.call(SERVICE, "DeleteVpcEndpoints", {"VpcEndpointIds": [kept.physical_id]})
    for one in answer.get("Unsuccessful", []):
        if "NotFound" not in one["Error"]["Code"]:
            raise Fault(one["Error"]["Code"], one["Error"]["Message"])

    async def gone() -> bool:
        return await found(hands, "DescribeVpcEndpoints", "VpcEndpointIds", kept.physical_id, "VpcEndpoints") is None

    await hands.until(gone, patience_s=_PATIENCE_S, what=f"{kept.physical_id} to be deleted")


async def read_endpoint(hands: Hands, kept: Kept) -> Properties | None:
    """The endpoint as EC2 has it."""
    endpoint = await found(hands, "DescribeVpcEndpoints", "VpcEndpointIds", kept.physical_id, "VpcEndpoints")
    if endpoint is None:
        return None
    names = ("IpAddressType", "PrivateDnsEnabled", "RouteTableIds", "ServiceName", "SubnetIds", "VpcEndpointType", "VpcId")
    properties = {**given(endpoint, *names), "SecurityGroupIds": [group["GroupId"] for group in endpoint["Groups"]]}
    properties["PolicyDocument"] = document_of(endpoint["PolicyDocument"])
    return with_tags(properties, endpoint, kept)


TYPES = (ResourceType("AWS::EC2::VPCEndpoint", create_endpoint, update_endpoint, delete_endpoint, read_endpoint, has_stack_tags=True),)
