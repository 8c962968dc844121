"""Network ACLs and sets of DHCP options, as records: nothing flows through the network that they would bind."""

from __future__ import annotations

import ipaddress

from batchyard.model.fault import Fault
from batchyard.services import Params
from batchyard.services.ec2 import defaults
from batchyard.services.ec2.book import ACL, DHCP, SUBNET, VPC, Book, in_use, invalid, new_id, shown, tags_in
from batchyard.services.ec2.describing import described, members
from batchyard.store.shelf import Document

RULES_MAX = 32_766
_WITH_PORTS = ("6", "17")
_OPTIONS = (
    "domain-name-servers",
    "domain-name",
    "ntp-servers",
    "netbios-name-servers",
    "netbios-node-type",
    "ipv6-address-preferred-lease-time",
)


# --- ACLs ---


def create_network_acl(book: Book, params: Params) -> Params:
    """API reference, CreateNetworkAcl: it lets nothing through until it has entries."""
    vpc = book.require(VPC, params["VpcId"])
    acl = defaults.network_acl(book.account, new_id(ACL.prefix), vpc["VpcId"])
    denied = [entry for entry in acl["Entries"] if entry["RuleAction"] == "deny"]
    acl |= {"IsDefault": False, "Entries": denied, "Tags": tags_in(params, ACL.name)}
    book.put(ACL, acl)
    return {"NetworkAcl": _shown(book, acl)}


def _subnets(book: Book, acl: Document) -> dict[str, str]:
    """The subnets of an ACL, with the ids of the associations: the default one has all that are in no other one."""
    named: dict[str, str] = acl.get("subnets", {})
    there = [subnet["SubnetId"] for subnet in book.of_vpc(SUBNET, acl["VpcId"])]
    if not acl["IsDefault"]:
        return {id: association for id, association in named.items() if id in there}
    others = [other for other in book.of_vpc(ACL, acl["VpcId"]) if not other["IsDefault"]]
    taken = {id for other in others for id in other.get("subnets", {})}
    return {id: named.get(id) or defaults.fixed_id("aclassoc-", acl["NetworkAclId"], id) for id in there if id not in taken}


def _shown(book: Book, acl: Document) -> Params:
    id = acl["NetworkAclId"]
    associations = [
        {"NetworkAclAssociationId": association, "NetworkAclId": id, "SubnetId": subnet}
        for subnet, association in _subnets(book, acl).items()
    ]
    return {**shown(acl), "Associations": associations}


def describe_network_acls(book: Book, params: Params) -> Params:
    """API reference, DescribeNetworkAcls."""
    filters = members(network_acl_id="NetworkAclId", vpc_id="VpcId", default="IsDefault") | {
        "association.subnet-id": lambda acl: list(_subnets(book, acl)),
        "association.association-id": lambda acl: list(_subnets(book, acl).values()),
        "association.network-acl-id": lambda acl: acl["NetworkAclId"],
    }
    return described(book, ACL, params, ids="NetworkAclIds", member="NetworkAcls", filters=filters, show=lambda acl: _shown(book, acl))


def delete_network_acl(book: Book, params: Params) -> Params:
    """API reference, DeleteNetworkAcl: the default one stays with its VPC."""
    acl = book.require(ACL, params["NetworkAclId"])
    id = acl["NetworkAclId"]
    if acl["IsDefault"]:
        raise invalid(f"cannot delete default network ACL {id}")
    if _subnets(book, acl):
        raise in_use(f"The networkAcl '{id}' has dependencies and cannot be deleted.")
    book.delete(ACL, id)
    return {}


def replace_network_acl_association(book: Book, params: Params) -> Params:
    """API reference, ReplaceNetworkAclAssociation: a subnet goes from one ACL to another."""
    target, asked = book.require(ACL, params["NetworkAclId"]), params["AssociationId"]
    for acl in book.all(ACL):
        for subnet, association in _subnets(book, acl).items():
            if association == asked:
                return {"NewAssociationId": _move(book, subnet, acl, target)}
    raise Fault("InvalidAssociationID.NotFound", f"The association ID '{asked}' does not exist")


def _move(book: Book, subnet: str, source: Document, target: Document) -> str:
    if source["VpcId"] != target["VpcId"]:
        raise invalid(f"Network ACL {target['NetworkAclId']} and subnet {subnet} belong to different networks")
    association = new_id("aclassoc-")
    left = {id: other for id, other in source.get("subnets", {}).items() if id != subnet}
    book.put(ACL, {**source, "subnets": left})
    target = book.require(ACL, target["NetworkAclId"])
    book.put(ACL, {**target, "subnets": {**target.get("subnets", {}), subnet: association}})
    return association


# --- their entries ---


def _entry(params: Params) -> Document:
    number, protocol = params["RuleNumber"], str(params["Protocol"])
    if not 1 <= number <= RULES_MAX:
        raise invalid(f"Value ({number}) for parameter ruleNumber is invalid. It must be from 1 to {RULES_MAX}")
    if params["RuleAction"] not in ("allow", "deny"):
        raise invalid(f"Value ({params['RuleAction']}) for parameter ruleAction is invalid. Valid values: allow, deny")
    protocol = {"tcp": "6", "udp": "17", "icmp": "1", "all": "-1"}.get(protocol.lower(), protocol)
    entry = {"RuleNumber": number, "Protocol": protocol, "RuleAction": params["RuleAction"], "Egress": params["Egress"]}
    if protocol in _WITH_PORTS and not params.get("PortRange"):
        raise Fault("MissingParameter", "The request must contain the parameter portRange")
    for member in ("PortRange", "IcmpTypeCode"):
        if params.get(member):
            entry[member] = params[member]
    if bool(params.get("CidrBlock")) is bool(params.get("Ipv6CidrBlock")):
        raise Fault("InvalidParameterCombination", "The request must contain exactly one of cidrBlock, ipv6CidrBlock")
    try:
        if params.get("CidrBlock"):
            entry["CidrBlock"] = str(ipaddress.IPv4Network(params["CidrBlock"], strict=False))
        else:
            entry["Ipv6CidrBlock"] = str(ipaddress.IPv6Network(params["Ipv6CidrBlock"], strict=False))
    except ValueError:
        cidr = params.get("CidrBlock") or params.get("Ipv6CidrBlock")
        raise invalid(f"Value ({cidr}) for parameter cidrBlock is invalid. This is not a valid CIDR block.") from None
    return entry


def _others(acl: Document, params: Params) -> list[Document]:
    """The entries but the one that a request names."""
    return [entry for entry in acl["Entries"] if (entry["RuleNumber"], entry["Egress"]) != (params["RuleNumber"], params["Egress"])]


def create_network_acl_entry(book: Book, params: Params) -> Params:
    """API reference, CreateNetworkAclEntry."""
    acl, entry = book.require(ACL, params["NetworkAclId"]), _entry(params)
    if len(_others(acl, params)) < len(acl["Entries"]):
        raise Fault("NetworkAclEntryAlreadyExists", f"The network acl entry identified by {params['RuleNumber']} already exists.")
    book.put(ACL, {**acl, "Entries": _in_order([*acl["Entries"], entry])})
    return {}


def _in_order(entries: list[Document]) -> list[Document]:
    return sorted(entries, key=lambda entry: (not entry["Egress"], entry["RuleNumber"]))


def _no_entry(params: Params) -> Fault:
    way = "egress" if params["Egress"] else "ingress"
    words = f"no {way} network acl entry with rule number {params['RuleNumber']} in network ACL {params['NetworkAclId']}"
    return Fault("InvalidNetworkAclEntry.NotFound", words)


def replace_network_acl_entry(book: Book, params: Params) -> Params:
    """API reference, ReplaceNetworkAclEntry."""
    acl, entry = book.require(ACL, params["NetworkAclId"]), _entry(params)
    others = _others(acl, params)
    if len(others) == len(acl["Entries"]):
        raise _no_entry(params)
    book.put(ACL, {**acl, "Entries": _in_order([*others, entry])})
    return {}


def delete_network_acl_entry(book: Book, params: Params) -> Params:
    """API reference, DeleteNetworkAclEntry: the last one, which denies the rest, stays."""
    acl = book.require(ACL, params["NetworkAclId"])
    others = _others(acl, params)
    if len(others) == len(acl["Entries"]) or params["RuleNumber"] > RULES_MAX:
        raise _no_entry(params)
    book.put(ACL, {**acl, "Entries": others})
    return {}


# --- DHCP options ---


def create_dhcp_options(book: Book, params: Params) -> Params:
    """API reference, CreateDhcpOptions."""
    configurations = []
    for one in params["DhcpConfigurations"]:
        key, values = one.get("Key", ""), one.get("Values", [])
        if key not in _OPTIONS or not values:
            raise invalid(
                f"Value ({key}) for parameter dhcpConfigurations is invalid. Each needs values and one of the keys {', '.join(_OPTIONS)}"
            )
        configurations.append({"Key": key, "Values": [{"Value": value} for value in values]})
    return {"DhcpOptions": shown(book.make(DHCP, params, DhcpConfigurations=configurations))}


def describe_dhcp_options(book: Book, params: Params) -> Params:
    """API reference, DescribeDhcpOptions."""
    filters = members(dhcp_options_id="DhcpOptionsId", key="DhcpConfigurations.Key")
    return described(book, DHCP, params, ids="DhcpOptionsIds", member="DhcpOptions", filters=filters)


def associate_dhcp_options(book: Book, params: Params) -> Params:
    """API reference, AssociateDhcpOptions: `default` is none."""
    vpc, id = book.require(VPC, params["VpcId"]), params["DhcpOptionsId"]
    if id != "default":
        book.require(DHCP, id)
    book.put(VPC, {**vpc, "DhcpOptionsId": id})
    return {}


def delete_dhcp_options(book: Book, params: Params) -> Params:
    """API reference, DeleteDhcpOptions."""
    id = book.require(DHCP, params["DhcpOptionsId"])["DhcpOptionsId"]
    if any(vpc["DhcpOptionsId"] == id for vpc in book.all(VPC)):
        raise in_use(f"The dhcpOptions '{id}' has dependencies and cannot be deleted.")
    book.delete(DHCP, id)
    return {}
