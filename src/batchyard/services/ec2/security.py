"""Security groups and their rules. They are records: slices of this machine are not fenced off by them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Params
from batchyard.services.ec2 import defaults
from batchyard.services.ec2.book import ENDPOINT, GROUP, VPC, Book, in_use, invalid, merged, new_id, shown, shown_tags, tags_in
from batchyard.services.ec2.describing import described, filtered, members, paged
from batchyard.store.shelf import Document

RULE_TAGS = "security-group-rule"
_PROTOCOLS = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "all": "-1"}
_PEERS = ("CidrIpv4", "CidrIpv6", "PrefixListId", "GroupId")
_FILTERS = members(group_id="GroupId", group_name="GroupName", vpc_id="VpcId", description="Description") | {
    f"{prefix}ip-permission.{name}": (
        lambda group, egress=egress, member=member: [r.get(member) for r in group["rules"] if r["is_egress"] is egress]
    )
    for prefix, egress in (("", False), ("egress.", True))
    for name, member in (
        ("cidr", "CidrIpv4"),
        ("from-port", "FromPort"),
        ("to-port", "ToPort"),
        ("protocol", "IpProtocol"),
        ("group-id", "GroupId"),
    )
}


def create_security_group(book: Book, params: Params) -> Params:
    """API reference, CreateSecurityGroup: in the default VPC unless it names one."""
    name, vpc_id = params["GroupName"], params.get("VpcId")
    if vpc_id is None:
        vpc_id = next((vpc["VpcId"] for vpc in book.all(VPC) if vpc["IsDefault"]), None)
        if vpc_id is None:
            raise Fault("VPCIdNotSpecified", "No default VPC for this user")
    book.require(VPC, vpc_id)
    if name == "default":
        raise invalid("Cannot use reserved security group name: default")
    if name.startswith("sg-"):
        raise invalid(f"Value ({name}) for parameter GroupName is invalid. Group names may not be in the format sg-*")
    if any(group["GroupName"] == name for group in book.of_vpc(GROUP, vpc_id)):
        raise Fault("InvalidGroup.Duplicate", f"The security group '{name}' already exists for VPC '{vpc_id}'")
    record = defaults.security_group(book.account, book.region, new_id("sg-"), vpc_id, name, params["Description"])
    record["Tags"] = tags_in(params, GROUP.name)
    book.put(GROUP, record)
    return {"GroupId": record["GroupId"], "SecurityGroupArn": record["SecurityGroupArn"], "Tags": shown_tags(record)}


def describe_security_groups(book: Book, params: Params) -> Params:
    """API reference, DescribeSecurityGroups. Names find groups of the default VPC."""
    names = params.get("GroupNames") or []
    if names:
        found = {group["GroupName"]: group["GroupId"] for group in book.all(GROUP) if _is_in_default(book, group)}
        for name in names:
            if name not in found:
                raise Fault("InvalidGroup.NotFound", f"The security group '{name}' does not exist in default VPC")
        params = {**params, "GroupIds": [*params.get("GroupIds", []), *(found[name] for name in names)]}
    return described(book, GROUP, params, ids="GroupIds", member="SecurityGroups", filters=_FILTERS, show=_shown_group)


def _is_in_default(book: Book, group: Document) -> bool:
    vpc = book.find(VPC, group["VpcId"])
    return vpc is not None and bool(vpc["IsDefault"])


def _shown_group(group: Document) -> Params:
    return {
        **shown(group),
        "IpPermissions": _permissions(rule for rule in group["rules"] if not rule["is_egress"]),
        "IpPermissionsEgress": _permissions(rule for rule in group["rules"] if rule["is_egress"]),
    }


def _permissions(rules: Iterator[Document]) -> list[Params]:
    """Rules in the older form: those of the same protocol and ports together."""
    found: dict[tuple[Any, ...], Params] = {}
    for rule in rules:
        key = (rule["IpProtocol"], rule.get("FromPort"), rule.get("ToPort"))
        ports = {name: rule[name] for name in ("FromPort", "ToPort") if rule.get(name) is not None}
        empty: Params = {"IpRanges": [], "Ipv6Ranges": [], "PrefixListIds": [], "UserIdGroupPairs": []}
        permission = found.setdefault(key, {"IpProtocol": rule["IpProtocol"], **ports, **empty})
        said = {"Description": rule["Description"]} if rule.get("Description") else {}
        if "CidrIpv4" in rule:
            permission["IpRanges"].append({"CidrIp": rule["CidrIpv4"], **said})
        elif "CidrIpv6" in rule:
            permission["Ipv6Ranges"].append({"CidrIpv6": rule["CidrIpv6"], **said})
        elif "PrefixListId" in rule:
            permission["PrefixListIds"].append({"PrefixListId": rule["PrefixListId"], **said})
        else:
            permission["UserIdGroupPairs"].append({"GroupId": rule["GroupId"], "UserId": rule["UserId"], **said})
    return list(found.values())


def delete_security_group(book: Book, params: Params) -> Params:
    """API reference, DeleteSecurityGroup."""
    group = _group(book, params)
    id = group["GroupId"]
    if group["GroupName"] == "default":
        raise Fault("CannotDelete", f'the specified group: "{id}" name: "default" cannot be deleted by a user')
    others = (other for other in book.all(GROUP) if other["GroupId"] != id)
    if any(rule.get("GroupId") == id for other in others for rule in other["rules"]) or any(
        id in [g["GroupId"] for g in endpoint["Groups"]] for endpoint in book.all(ENDPOINT)
    ):
        raise in_use(f"resource {id} has a dependent object")
    book.delete(GROUP, id)
    return {"Return": True, "GroupId": id}


def _group(book: Book, params: Params) -> Document:
    if params.get("GroupId"):
        return book.require(GROUP, params["GroupId"])
    name = params.get("GroupName")
    for group in book.all(GROUP):
        if group["GroupName"] == name and _is_in_default(book, group):
            return group
    if not name:
        raise Fault("MissingParameter", "The request must contain the parameter groupName or groupId")
    raise Fault("InvalidGroup.NotFound", f"The security group '{name}' does not exist in default VPC")


# --- rules ---


def authorize(book: Book, params: Params, *, is_egress: bool) -> Params:
    """API reference, AuthorizeSecurityGroupIngress and -Egress."""
    group = _group(book, params)
    added = [{"id": new_id("sgr-"), **rule, "Tags": tags_in(params, RULE_TAGS)} for rule in _rules(book, params, is_egress=is_egress)]
    if not added:
        raise Fault("MissingParameter", "The request must contain the parameter ipPermissions")
    there = [_meaning(rule) for rule in group["rules"]]
    for rule in added:
        if _meaning(rule) in there:
            raise Fault("InvalidPermission.Duplicate", f'the specified rule "{_words(rule)}" already exists')
        there.append(_meaning(rule))
    book.put(GROUP, {**group, "rules": [*group["rules"], *added]})
    return {"Return": True, "SecurityGroupRules": [_shown_rule(book, group, rule) for rule in added]}


def revoke(book: Book, params: Params, *, is_egress: bool) -> Params:
    """API reference, RevokeSecurityGroupIngress and -Egress: by ids of rules, or by what they say."""
    group = _group(book, params)
    ids = params.get("SecurityGroupRuleIds", [])
    wanted = {_meaning(rule) for rule in _rules(book, params, is_egress=is_egress)}
    gone = [r for r in group["rules"] if r["is_egress"] is is_egress and (r["id"] in ids or _meaning(r) in wanted)]
    missing = [id for id in ids if id not in [rule["id"] for rule in gone]]
    if missing:
        raise Fault("InvalidSecurityGroupRuleId.NotFound", f"The security group rule ID '{missing[0]}' does not exist")
    if len(gone) < len(wanted) or not gone:
        raise Fault("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
    book.put(GROUP, {**group, "rules": [rule for rule in group["rules"] if rule not in gone]})
    revoked = [
        {
            "SecurityGroupRuleId": rule["id"],
            "GroupId": group["GroupId"],
            "IsEgress": is_egress,
            **{name: rule[name] for name in ("IpProtocol", "FromPort", "ToPort", "CidrIpv4", "CidrIpv6", "PrefixListId") if name in rule},
            **({"ReferencedGroupId": rule["GroupId"]} if "GroupId" in rule else {}),
        }
        for rule in gone
    ]
    return {"Return": True, "RevokedSecurityGroupRules": revoked}


def describe_rules_anew(book: Book, params: Params, *, is_egress: bool) -> Params:
    """API reference, UpdateSecurityGroupRuleDescriptionsIngress and -Egress: by ids of rules, or by what they say."""
    group = _group(book, params)
    wanted = {one.get("SecurityGroupRuleId"): one.get("Description", "") for one in params.get("SecurityGroupRuleDescriptions", [])}
    meant = {_meaning(rule): rule.get("Description", "") for rule in _rules(book, params, is_egress=is_egress)}
    rules, count = [], 0
    for rule in group["rules"]:
        said = wanted.get(rule["id"], meant.get(_meaning(rule))) if rule["is_egress"] is is_egress else None
        if said is not None:
            rule = {**{name: value for name, value in rule.items() if name != "Description"}, **({"Description": said} if said else {})}
            count += 1
        rules.append(rule)
    if count < len(wanted) + len(meant) or not count:
        raise Fault("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
    book.put(GROUP, {**group, "rules": rules})
    return {"Return": True}


def _rules(book: Book, params: Params, *, is_egress: bool) -> list[Document]:
    """What a request says, as single rules: the old flat members and IpPermissions alike."""
    permissions = list(params.get("IpPermissions", []))
    if params.get("IpProtocol") or params.get("CidrIp"):
        flat = {name: params[name] for name in ("IpProtocol", "FromPort", "ToPort") if name in params}
        permissions.append({**flat, "IpRanges": [{"CidrIp": params["CidrIp"]}] if params.get("CidrIp") else []})
    if params.get("SourceSecurityGroupName"):
        permissions.append({"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupName": params["SourceSecurityGroupName"]}]})
    return [rule for permission in permissions for rule in _of_permission(book, permission, is_egress=is_egress)]


def _of_permission(book: Book, permission: Params, *, is_egress: bool) -> Iterator[Document]:
    protocol = str(permission.get("IpProtocol", "-1")).lower()
    protocol = _PROTOCOLS.get(protocol, protocol)
    base: Document = {"is_egress": is_egress, "IpProtocol": protocol}
    if protocol in ("tcp", "udp", "icmp", "icmpv6"):
        base |= {name: permission[name] for name in ("FromPort", "ToPort") if name in permission}
        first = int(base.get("FromPort", 0))
        if protocol in ("tcp", "udp") and not 0 <= first <= int(base.get("ToPort", first)) <= 65535:
            raise invalid(f"Invalid value for portRange. Ports of {protocol} go from 0 to 65535, the first one not above the last.")
    for one in permission.get("IpRanges", []):
        yield {**base, "CidrIpv4": _cidr(one.get("CidrIp"), ipaddress.IPv4Network), **_described(one)}
    for one in permission.get("Ipv6Ranges", []):
        yield {**base, "CidrIpv6": _cidr(one.get("CidrIpv6"), ipaddress.IPv6Network), **_described(one)}
    for one in permission.get("PrefixListIds", []):
        yield {**base, "PrefixListId": one.get("PrefixListId", ""), **_described(one)}
    for one in permission.get("UserIdGroupPairs", []):
        group = _group(book, one)
        yield {**base, "GroupId": group["GroupId"], "UserId": book.account, **_described(one)}


def _cidr(text: str | None, network: Any) -> str:
    try:
        return str(network(text or "", strict=False))
    except ValueError:
        raise invalid(f"CIDR block {text} is malformed") from None


def _described(one: Params) -> Document:
    return {"Description": one["Description"]} if one.get("Description") else {}


def _meaning(rule: Document) -> tuple[Any, ...]:
    return (rule["is_egress"], rule["IpProtocol"], rule.get("FromPort"), rule.get("ToPort"), *(rule.get(peer) for peer in _PEERS))


def _words(rule: Document) -> str:
    peer = next(rule[name] for name in _PEERS if name in rule)
    protocol = "ALL" if rule["IpProtocol"] == "-1" else rule["IpProtocol"].upper()
    ports = f", from port: {rule['FromPort']}, to port: {rule.get('ToPort', rule['FromPort'])}" if "FromPort" in rule else ""
    return f"peer: {peer}, {protocol}{ports}, ALLOW"


def _shown_rule(book: Book, group: Document, rule: Document) -> Params:
    ports = {"FromPort": rule.get("FromPort", -1), "ToPort": rule.get("ToPort", rule.get("FromPort", -1))}
    return {
        "SecurityGroupRuleId": rule["id"],
        "SecurityGroupRuleArn": f"arn:aws:ec2:{book.region}:{book.account}:security-group-rule/{rule['id']}",
        "GroupId": group["GroupId"],
        "GroupOwnerId": book.account,
        "IsEgress": rule["is_egress"],
        "IpProtocol": rule["IpProtocol"],
        **ports,
        **{name: rule[name] for name in ("CidrIpv4", "CidrIpv6", "PrefixListId", "Description") if name in rule},
        **({"ReferencedGroupInfo": {"GroupId": rule["GroupId"], "UserId": rule["UserId"]}} if "GroupId" in rule else {}),
        "Tags": shown_tags(rule),
    }


def describe_security_group_rules(book: Book, params: Params) -> Params:
    """API reference, DescribeSecurityGroupRules."""
    found = [{**rule, "owner": group} for group in book.all(GROUP) for rule in group["rules"]]
    ids = params.get("SecurityGroupRuleIds") or []
    for id in ids:
        if id not in [rule["id"] for rule in found]:
            raise Fault("InvalidSecurityGroupRuleId.NotFound", f"The security group rule ID '{id}' does not exist")
    filters = {"group-id": lambda rule: rule["owner"]["GroupId"], "security-group-rule-id": lambda rule: rule["id"]}
    wanted = filtered([rule for rule in found if not ids or rule["id"] in ids], params.get("Filters", []), filters)
    return paged(wanted, params, lambda rule: str(rule["id"]), "SecurityGroupRules", lambda rule: _shown_rule(book, rule["owner"], rule))


def tagged_rule(book: Book, id: str, added: list[Params], removed: list[str] | None) -> bool:
    """Change the tags of a rule; whether there is such a rule. `removed` None adds, a list takes keys away."""
    for group in book.all(GROUP):
        for rule in group["rules"]:
            if rule["id"] == id:
                tags = {k: v for k, v in rule["Tags"].items() if k not in removed} if removed is not None else merged(rule["Tags"], added)
                rules = [{**other, "Tags": tags} if other["id"] == id else other for other in group["rules"]]
                book.put(GROUP, {**group, "rules": rules})
                return True
    return False
