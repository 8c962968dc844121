"""AWS::EC2::NetworkAcl, NetworkAclEntry, SubnetNetworkAclAssociation, DHCPOptions and VPCDHCPOptionsAssociation."""

from __future__ import annotations

from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import call_if_there, changed, given, require_known
from batchyard.services.cloudformation.resources.ec2_network import update_tags
from batchyard.services.cloudformation.resources.ec2_records import SERVICE, found, tagged, with_tags
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

# --- ACLs ---


async def create_acl(hands: Hands, asked: Asked) -> Made:
    """An ACL that lets nothing through. Ref is its id."""
    require_known(asked, ("Tags", "VpcId"))
    params = {"VpcId": asked.properties["VpcId"], **tagged("network-acl", asked)}
    id = (await hands.call(SERVICE, "CreateNetworkAcl", params))["NetworkAcl"]["NetworkAclId"]
    return Made(id, {"Id": id})


async def delete_acl(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteNetworkAcl", {"NetworkAclId": kept.physical_id})


async def read_acl(hands: Hands, kept: Kept) -> Properties | None:
    """The ACL as EC2 has it."""
    acl = await found(hands, "DescribeNetworkAcls", "NetworkAclIds", kept.physical_id, "NetworkAcls")
    return None if acl is None else with_tags(given(acl, "VpcId"), acl, kept)


# --- their entries ---

_ENTRY = ("CidrBlock", "Egress", "Icmp", "Ipv6CidrBlock", "NetworkAclId", "PortRange", "Protocol", "RuleAction", "RuleNumber")


def _named(properties: Properties) -> dict[str, Any]:
    """What names an entry."""
    return {**given(properties, "NetworkAclId", "RuleNumber"), "Egress": bool(properties.get("Egress"))}


def _entry(asked: Asked) -> dict[str, Any]:
    require_known(asked, _ENTRY)
    properties = asked.properties
    entry = {**_named(properties), **given(properties, "CidrBlock", "Ipv6CidrBlock", "PortRange", "RuleAction")}
    entry["Protocol"] = str(properties["Protocol"])
    if properties.get("Icmp"):
        entry["IcmpTypeCode"] = given(properties["Icmp"], "Code", "Type")
    return entry


async def create_entry(hands: Hands, asked: Asked) -> Made:
    """An entry of an ACL. Ref is a name of its own."""
    await hands.call(SERVICE, "CreateNetworkAclEntry", _entry(asked))
    return Made(asked.name, {"Id": asked.name})


async def update_entry(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """The entry says something else under the same number."""
    if changed(kept.properties, asked.properties, *_ENTRY):
        await hands.call(SERVICE, "ReplaceNetworkAclEntry", _entry(asked))
    return Made(kept.physical_id, kept.attributes)


async def delete_entry(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteNetworkAclEntry", _named(kept.properties))


async def read_entry(hands: Hands, kept: Kept) -> Properties | None:
    """The entry as its ACL has it."""
    named = _named(kept.properties)
    acl = await found(hands, "DescribeNetworkAcls", "NetworkAclIds", named["NetworkAclId"], "NetworkAcls")
    for entry in (acl or {}).get("Entries", []):
        if (entry["RuleNumber"], entry["Egress"]) == (named["RuleNumber"], named["Egress"]):
            shown = {**named, **given(entry, "CidrBlock", "Ipv6CidrBlock", "PortRange", "RuleAction"), "Protocol": int(entry["Protocol"])}
            return {**shown, "Icmp": entry["IcmpTypeCode"]} if "IcmpTypeCode" in entry else shown
    return None


# --- which subnet has which ACL ---


async def _acls(hands: Hands, **filters: str) -> list[dict[str, Any]]:
    asked = [{"Name": name.replace("__", ".").replace("_", "-"), "Values": [value]} for name, value in filters.items()]
    return (await hands.call(SERVICE, "DescribeNetworkAcls", {"Filters": asked}))["NetworkAcls"]  # type: ignore[no-any-return]


async def associate_acl(hands: Hands, asked: Asked) -> Made:
    """A subnet that has an ACL instead of the one it had. Ref is the association's id."""
    require_known(asked, ("NetworkAclId", "SubnetId"))
    subnet = asked.properties["SubnetId"]
    before = [
        one["NetworkAclAssociationId"]
        for acl in await _acls(hands, association__subnet_id=subnet)
        for one in acl["Associations"]
        if one["SubnetId"] == subnet
    ]
    if not before:
        raise Fault("InvalidSubnetID.NotFound", f"The subnet ID '{subnet}' does not exist")
    params = {"AssociationId": before[0], "NetworkAclId": asked.properties["NetworkAclId"]}
    id = (await hands.call(SERVICE, "ReplaceNetworkAclAssociation", params))["NewAssociationId"]
    return Made(id, {"AssociationId": id})


async def dissociate_acl(hands: Hands, kept: Kept) -> None:
    """The subnet has its VPC's default ACL again."""
    for acl in await _acls(hands, association__association_id=kept.physical_id):
        (default,) = await _acls(hands, vpc_id=acl["VpcId"], default="true")
        params = {"AssociationId": kept.physical_id, "NetworkAclId": default["NetworkAclId"]}
        await call_if_there(hands, SERVICE, "ReplaceNetworkAclAssociation", params)


async def read_acl_association(hands: Hands, kept: Kept) -> Properties | None:
    """The association, wherever it is now."""
    for acl in await _acls(hands, association__association_id=kept.physical_id):
        for one in acl["Associations"]:
            if one["NetworkAclAssociationId"] == kept.physical_id:
                return given(one, "NetworkAclId", "SubnetId")
    return None


# --- DHCP options ---

_OPTIONS = {
    "DomainName": "domain-name",
    "DomainNameServers": "domain-name-servers",
    "Ipv6AddressPreferredLeaseTime": "ipv6-address-preferred-lease-time",
    "NetbiosNameServers": "netbios-name-servers",
    "NetbiosNodeType": "netbios-node-type",
    "NtpServers": "ntp-servers",
}


async def create_options(hands: Hands, asked: Asked) -> Made:
    """A set of DHCP options. Ref is its id."""
    require_known(asked, (*_OPTIONS, "Tags"))
    configurations = []
    for name, key in _OPTIONS.items():
        value = asked.properties.get(name)
        if value not in (None, "", []):
            configurations.append({"Key": key, "Values": [str(one) for one in (value if isinstance(value, list) else [value])]})
    params = {"DhcpConfigurations": configurations, **tagged("dhcp-options", asked)}
    id = (await hands.call(SERVICE, "CreateDhcpOptions", params))["DhcpOptions"]["DhcpOptionsId"]
    return Made(id, {"DhcpOptionsId": id})


async def delete_options(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteDhcpOptions", {"DhcpOptionsId": kept.physical_id})


async def read_options(hands: Hands, kept: Kept) -> Properties | None:
    """The options as EC2 has them."""
    options = await found(hands, "DescribeDhcpOptions", "DhcpOptionsIds", kept.physical_id, "DhcpOptions")
    if options is None:
        return None
    names = {key: name for name, key in _OPTIONS.items()}
    properties: Properties = {}
    for one in options["DhcpConfigurations"]:
        values: list[Any] = [value["Value"] for value in one["Values"]]
        name = names[one["Key"]]
        if name in ("NetbiosNodeType", "Ipv6AddressPreferredLeaseTime"):
            values = [int(value) for value in values]
        properties[name] = values if name.endswith("Servers") else values[0]
    return with_tags(properties, options, kept)


async def associate_options(hands: Hands, asked: Asked) -> Made:
    """A VPC that has a set of options, or with `default` none. Ref is the set and the VPC."""
    require_known(asked, ("DhcpOptionsId", "VpcId"))
    params = given(asked.properties, "DhcpOptionsId", "VpcId")
    await hands.call(SERVICE, "AssociateDhcpOptions", params)
    return Made(f"{params['DhcpOptionsId']}|{params['VpcId']}")


async def dissociate_options(hands: Hands, kept: Kept) -> None:
    """The VPC has none, unless it has another set by now."""
    vpc = await found(hands, "DescribeVpcs", "VpcIds", kept.properties["VpcId"], "Vpcs")
    if vpc is not None and vpc["DhcpOptionsId"] == kept.properties["DhcpOptionsId"]:
        await call_if_there(hands, SERVICE, "AssociateDhcpOptions", {"DhcpOptionsId": "default", "VpcId": vpc["VpcId"]})


async def read_options_association(hands: Hands, kept: Kept) -> Properties | None:
    """Which set the VPC has."""
    vpc = await found(hands, "DescribeVpcs", "VpcIds", kept.properties["VpcId"], "Vpcs")
    return None if vpc is None or vpc["DhcpOptionsId"] == "default" else given(vpc, "DhcpOptionsId", "VpcId")


TYPES = (
    ResourceType("AWS::EC2::NetworkAcl", create_acl, update_tags, delete_acl, read_acl, has_stack_tags=True),
    ResourceType("AWS::EC2::NetworkAclEntry", create_entry, update_entry, delete_entry, read_entry, named=NameRule("Id", 255)),
    ResourceType("AWS::EC2::SubnetNetworkAclAssociation", associate_acl, None, dissociate_acl, read_acl_association),
    ResourceType("AWS::EC2::DHCPOptions", create_options, update_tags, delete_options, read_options, has_stack_tags=True),
    ResourceType("AWS::EC2::VPCDHCPOptionsAssociation", associate_options, None, dissociate_options, read_options_association),
)
