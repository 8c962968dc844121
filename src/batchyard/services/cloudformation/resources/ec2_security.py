"""AWS::EC2::SecurityGroup, SecurityGroupIngress and SecurityGroupEgress."""

from __future__ import annotations

from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import Steps, call_if_there, changed, given, is_gone, refused, require_known
from batchyard.services.cloudformation.resources.ec2_records import SERVICE, change_tags, found, tagged, with_tags
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

_GROUP = ("GroupDescription", "GroupName", "SecurityGroupEgress", "SecurityGroupIngress", "Tags", "VpcId")
_BOTH = ("CidrIp", "CidrIpv6", "Description", "FromPort", "IpProtocol", "ToPort")
_IN = (*_BOTH, "SourcePrefixListId", "SourceSecurityGroupId", "SourceSecurityGroupName", "SourceSecurityGroupOwnerId")
_OUT = (*_BOTH, "DestinationPrefixListId", "DestinationSecurityGroupId")
_EVERYTHING_OUT = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
_SIDES = {"SecurityGroupIngress": "Ingress", "SecurityGroupEgress": "Egress"}


def permission(hands: Hands, type_name: str, rule: Properties, known: tuple[str, ...]) -> dict[str, Any]:
    """A rule of a template as EC2 takes it. Refuses one that names nobody."""
    for name in rule:
        if name not in known and rule[name] not in (None, ""):
            raise refused(type_name, name)
    if rule.get("SourceSecurityGroupOwnerId", hands.account) != hands.account:
        raise refused(type_name, "SourceSecurityGroupOwnerId", "there are no groups of other accounts")
    said = given(rule, "Description")
    made: dict[str, Any] = given(rule, "IpProtocol", "FromPort", "ToPort")
    if rule.get("CidrIp"):
        made["IpRanges"] = [{"CidrIp": rule["CidrIp"], **said}]
    if rule.get("CidrIpv6"):
        made["Ipv6Ranges"] = [{"CidrIpv6": rule["CidrIpv6"], **said}]
    for name in ("SourcePrefixListId", "DestinationPrefixListId"):
        if rule.get(name):
            made["PrefixListIds"] = [{"PrefixListId": rule[name], **said}]
    for name, member in (
        ("SourceSecurityGroupId", "GroupId"),
        ("DestinationSecurityGroupId", "GroupId"),
        ("SourceSecurityGroupName", "GroupName"),
    ):
        if rule.get(name):
            made["UserIdGroupPairs"] = [{member: rule[name], **said}]
    if not any(member in made for member in ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")):
        raise Fault("InvalidRequest", f"{type_name}: a rule must name an address range, a prefix list or a security group.")
    return made


def _permissions(hands: Hands, asked: Asked | Kept, side: str) -> list[dict[str, Any]]:
    rules = asked.properties.get(f"SecurityGroup{side}") or []
    return [permission(hands, asked.type, rule, _OUT if side == "Egress" else _IN) for rule in rules]


# --- groups with their rules ---


async def create_group(hands: Hands, asked: Asked) -> Made:
    """A group. Ref is its id. With rules for what goes out, EC2's own, which lets everything out, is taken away."""
    require_known(asked, _GROUP)
    properties = asked.properties
    ingress, egress = _permissions(hands, asked, "Ingress"), _permissions(hands, asked, "Egress")
    async with Steps(hands, SERVICE) as steps:
        answer = await steps.call(
            "CreateSecurityGroup",
            {
                "GroupName": properties.get("GroupName") or asked.name,
                "Description": properties["GroupDescription"],
                **given(properties, "VpcId"),
                **tagged("security-group", asked),
            },
        )
        id = answer["GroupId"]
        steps.undo("DeleteSecurityGroup", {"GroupId": id})
        if ingress:
            await steps.call("AuthorizeSecurityGroupIngress", {"GroupId": id, "IpPermissions": ingress})
        if egress:
            await steps.call("RevokeSecurityGroupEgress", {"GroupId": id, "IpPermissions": [_EVERYTHING_OUT]})
            await steps.call("AuthorizeSecurityGroupEgress", {"GroupId": id, "IpPermissions": egress})
        (group,) = (await steps.call("DescribeSecurityGroups", {"GroupIds": [id]}))["SecurityGroups"]
    named = {"GroupName": group["GroupName"], "GroupDescription": group["Description"]}
    return Made(id, {"GroupId": id, "Id": id, "VpcId": group["VpcId"], **named})


async def update_group(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Rules that differ, and tags. A rule that says something else is another rule: the old one goes before the new one comes."""
    require_known(asked, _GROUP)
    id = kept.physical_id
    async with Steps(hands, SERVICE) as steps:
        for side in _SIDES.values():
            before, after = _permissions(hands, kept, side), _permissions(hands, asked, side)
            if side == "Egress" and after and not before:
                before = [_EVERYTHING_OUT]  # EC2's own
            if side == "Egress" and before and not after and asked.is_undoing:
                after = [_EVERYTHING_OUT]  # the same, back again; who merely removes all rules gets none, as on AWS
            for one in before:
                params = {"GroupId": id, "IpPermissions": [one]}
                if one not in after and await steps.call_if_there(f"RevokeSecurityGroup{side}", params):
                    steps.undo(f"AuthorizeSecurityGroup{side}", params)
            for one in after:
                params = {"GroupId": id, "IpPermissions": [one]}
                is_new = one not in before
                if is_new and await steps.call_unless("InvalidPermission.Duplicate", f"AuthorizeSecurityGroup{side}", params):
                    steps.undo(f"RevokeSecurityGroup{side}", params)
        await change_tags(steps, id, asked, kept)
    return Made(id, kept.attributes)


async def delete_group(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteSecurityGroup", {"GroupId": kept.physical_id})


async def read_group(hands: Hands, kept: Kept) -> Properties | None:
    """The group as EC2 has it. Of its rules those that the resource names are told, as it names them: others may be resources too."""
    group = await found(hands, "DescribeSecurityGroups", "GroupIds", kept.physical_id, "SecurityGroups")
    if group is None:
        return None
    properties = {"GroupDescription": group["Description"], **given(group, "GroupName", "VpcId")}
    rules = await _rules_of(hands, kept.physical_id)
    for name, side in _SIDES.items():
        named = kept.properties.get(name)
        if named:
            there = [_meaning(rule) for rule in rules if rule["IsEgress"] is (side == "Egress")]
            properties[name] = [one for one in named if _meaning_of(one) in there]
    return with_tags(properties, group, kept)


async def _rules_of(hands: Hands, id: str) -> list[dict[str, Any]]:
    mine = {"Filters": [{"Name": "group-id", "Values": [id]}]}
    return (await hands.call(SERVICE, "DescribeSecurityGroupRules", mine))["SecurityGroupRules"]  # type: ignore[no-any-return]


_PROTOCOLS = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "all": "-1"}


def _meaning(rule: dict[str, Any]) -> tuple[Any, ...]:
    """What a rule of EC2 says; ports are -1 where it has none."""
    peer = rule.get("CidrIpv4") or rule.get("CidrIpv6") or rule.get("PrefixListId") or rule.get("ReferencedGroupInfo", {}).get("GroupId")
    return rule["IpProtocol"], rule.get("FromPort", -1), rule.get("ToPort", -1), peer, rule.get("Description")


def _meaning_of(rule: Properties) -> tuple[Any, ...]:
    """The same of a rule in a template."""
    protocol = str(rule["IpProtocol"]).lower()
    protocol = _PROTOCOLS.get(protocol, protocol)
    peers = ("CidrIp", "CidrIpv6", "SourcePrefixListId", "DestinationPrefixListId", "SourceSecurityGroupId", "DestinationSecurityGroupId")
    peer = next((rule[name] for name in peers if rule.get(name)), rule.get("SourceSecurityGroupName"))
    ports = (-1, -1) if protocol == "-1" else (rule.get("FromPort", -1), rule.get("ToPort", rule.get("FromPort", -1)))
    return protocol, *ports, peer, rule.get("Description")


# --- rules by themselves ---


def _single(side: str, known: tuple[str, ...], prefix_list: str, peer_group: str) -> ResourceType:
    """AWS::EC2::SecurityGroupIngress and -Egress. Ref is the rule's id; all but its description makes another rule."""
    type_name = f"AWS::EC2::SecurityGroup{side}"

    def group(properties: Properties) -> Properties:
        return given(properties, "GroupId") or given(properties, "GroupName")

    async def create(hands: Hands, asked: Asked) -> Made:
        """A rule of a group. Ref is the id of the rule."""
        require_known(asked, (*known, "GroupId", "GroupName"))
        rule = {name: value for name, value in asked.properties.items() if name not in ("GroupId", "GroupName")}
        one = permission(hands, type_name, rule, known)
        answer = await hands.call(SERVICE, f"AuthorizeSecurityGroup{side}", {**group(asked.properties), "IpPermissions": [one]})
        id = answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]
        return Made(id, {"Id": id})

    async def update(hands: Hands, asked: Asked, kept: Kept) -> Made:
        require_known(asked, (*known, "GroupId", "GroupName"))
        if changed(kept.properties, asked.properties, "Description"):
            said = {"SecurityGroupRuleId": kept.physical_id, "Description": asked.properties.get("Description") or ""}
            params = {**group(kept.properties), "SecurityGroupRuleDescriptions": [said]}
            await hands.call(SERVICE, f"UpdateSecurityGroupRuleDescriptions{side}", params)
        return Made(kept.physical_id, kept.attributes)

    async def delete(hands: Hands, kept: Kept) -> None:
        params = {**group(kept.properties), "SecurityGroupRuleIds": [kept.physical_id]}
        await call_if_there(hands, SERVICE, f"RevokeSecurityGroup{side}", params)

    async def read(hands: Hands, kept: Kept) -> Properties | None:
        try:
            rules = await hands.call(SERVICE, "DescribeSecurityGroupRules", {"SecurityGroupRuleIds": [kept.physical_id]})
        except Fault as fault:
            if is_gone(fault):
                return None
            raise
        rule = rules["SecurityGroupRules"][0]
        properties = given(rule, "IpProtocol", "Description", "CidrIpv6")
        ports = given(rule, "FromPort", "ToPort") if rule["IpProtocol"] != "-1" else given(kept.properties, "FromPort", "ToPort")
        peers = {"CidrIpv4": "CidrIp", "PrefixListId": prefix_list}
        properties |= {name: rule[member] for member, name in peers.items() if member in rule}
        if "ReferencedGroupInfo" in rule:
            properties[peer_group] = rule["ReferencedGroupInfo"]["GroupId"]
        return {**given(kept.properties, "GroupId", "GroupName"), **ports, **properties}

    return ResourceType(type_name, create, update, delete, read)


TYPES = (
    ResourceType(
        "AWS::EC2::SecurityGroup",
        create_group,
        update_group,
        delete_group,
        read_group,
        named=NameRule("GroupName", 255),
        has_stack_tags=True,
    ),
    _single("Ingress", _IN, "SourcePrefixListId", "SourceSecurityGroupId"),
    _single("Egress", _OUT, "DestinationPrefixListId", "DestinationSecurityGroupId"),
)
