"""EC2's records of an account in a region: those on the shelf, over the ones that exist from the start.

Documents are in AWS's spelling, as Describe shows them, but for `Tags`, which is a dict here. What exists from the start is not stored
until it is changed, since reads never write; when it is deleted, a mark that it is gone takes its place.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.ec2.defaults import records_of
from batchyard.services.tag_keys import RESERVED, is_reserved
from batchyard.store.shelf import Document, Drawer

GONE = "Gone"
TAGS_MAX = 50


class Kind(NamedTuple):
    """A kind of records: its name (that of its tags), the prefix of its ids, the member that holds them, and AWS's refusal."""

    name: str
    prefix: str
    member: str
    code: str
    words: str


VPC = Kind("vpc", "vpc-", "VpcId", "InvalidVpcID.NotFound", "The vpc ID '{}' does not exist")
SUBNET = Kind("subnet", "subnet-", "SubnetId", "InvalidSubnetID.NotFound", "The subnet ID '{}' does not exist")
GROUP = Kind("security-group", "sg-", "GroupId", "InvalidGroup.NotFound", "The security group '{}' does not exist")
ROUTES = Kind("route-table", "rtb-", "RouteTableId", "InvalidRouteTableID.NotFound", "The routeTable ID '{}' does not exist")
INTERNET = Kind(
    "internet-gateway", "igw-", "InternetGatewayId", "InvalidInternetGatewayID.NotFound", "The internetGateway ID '{}' does not exist"
)
NAT = Kind("natgateway", "nat-", "NatGatewayId", "NatGatewayNotFound", "The Nat Gateway {} was not found")
ADDRESS = Kind("elastic-ip", "eipalloc-", "AllocationId", "InvalidAllocationID.NotFound", "The allocation ID '{}' does not exist")
ENDPOINT = Kind("vpc-endpoint", "vpce-", "VpcEndpointId", "InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '{}' does not exist")
TEMPLATE = Kind(
    "launch-template",
    "lt-",
    "LaunchTemplateId",
    "InvalidLaunchTemplateId.NotFound",
    "The specified launch template, with template ID {}, does not exist.",
)
PLACEMENT = Kind("placement-group", "pg-", "GroupId", "InvalidPlacementGroup.Unknown", "The Placement Group '{}' is unknown.")
KEY_PAIR = Kind("key-pair", "key-", "KeyPairId", "InvalidKeyPair.NotFound", "The key pair '{}' does not exist")
ACL = Kind("network-acl", "acl-", "NetworkAclId", "InvalidNetworkAclID.NotFound", "The networkAcl ID '{}' does not exist")
DHCP = Kind("dhcp-options", "dopt-", "DhcpOptionsId", "InvalidDhcpOptionID.NotFound", "The dhcpOption ID '{}' does not exist")
KINDS = (VPC, SUBNET, GROUP, ROUTES, INTERNET, NAT, ADDRESS, ENDPOINT, TEMPLATE, PLACEMENT, KEY_PAIR, ACL, DHCP)


def new_id(prefix: str) -> str:
    """The prefix and 17 hexadecimal digits."""
    return prefix + secrets.token_hex(9)[:17]


class Book:
    """The records, as one transaction or snapshot sees them."""

    def __init__(self, drawer: Drawer) -> None:
        self.drawer = drawer
        self.account, self.region = drawer.place.account, drawer.place.region

    @property
    def now_s(self) -> float:
        return self.drawer.now_ms / 1000

    def find(self, kind: Kind, id: str) -> Document | None:
        """A record, or None."""
        kept = self.drawer.get(kind.name, id)
        if kept is None:
            return records_of(self.account, self.region).get(kind.name, {}).get(id)
        return None if kept.get(GONE) else kept

    def require(self, kind: Kind, id: str) -> Document:
        """A record, or AWS's refusal."""
        found = self.find(kind, id)
        if found is None:
            raise no_such(kind, id)
        return found

    def all(self, kind: Kind) -> list[Document]:
        """Every record of a kind, by id."""
        records = records_of(self.account, self.region).get(kind.name, {}) | dict(self.drawer.entries(kind.name))
        return [record for _, record in sorted(records.items()) if not record.get(GONE)]

    def put(self, kind: Kind, record: Document) -> None:
        self.drawer.put(kind.name, record[kind.member], record)

    def delete(self, kind: Kind, id: str) -> None:
        if id in records_of(self.account, self.region).get(kind.name, {}):
            self.drawer.put(kind.name, id, {GONE: True})
        else:
            self.drawer.delete(kind.name, id)

    def make(self, kind: Kind, params: Params, **members: object) -> Document:
        """A new record with the tags that the request gives it."""
        record: Document = {kind.member: new_id(kind.prefix), **members, "OwnerId": self.account, "Tags": tags_in(params, kind.name)}
        self.put(kind, record)
        return record

    def of_vpc(self, kind: Kind, vpc_id: str) -> list[Document]:
        """The records of a kind in a VPC."""
        return [record for record in self.all(kind) if record.get("VpcId") == vpc_id]


def no_such(kind: Kind, id: str) -> Fault:
    return Fault(kind.code, kind.words.format(id))


def in_use(message: str) -> Fault:
    return Fault("DependencyViolation", message)


def invalid(message: str) -> Fault:
    return Fault("InvalidParameterValue", message)


def one_of(params: Params, member: str, *known: str) -> str:
    """The value of a member that has few, the first of them when it is not given."""
    value = params.get(member) or known[0]
    if value not in known:
        raise invalid(f"Value ({value}) for parameter {member} is invalid. Valid values: {', '.join(known)}")
    return str(value)


def not_available(params: Params, *members: str) -> None:
    """Refuse members that this version would otherwise ignore."""
    for member in members:
        if params.get(member):
            raise Fault("UnsupportedOperation", f"{member} is not available in this version of Batchyard: leave it out.")


def tags_in(params: Params, resource_type: str) -> dict[str, str]:
    """The tags that TagSpecifications give to a new resource."""
    tags: dict[str, str] = {}
    for specification in params.get("TagSpecifications", []):
        if specification.get("ResourceType") == resource_type:
            tags = merged(tags, specification.get("Tags", []))
    return tags


def merged(before: dict[str, str], added: Sequence[Params]) -> dict[str, str]:
    """Tags with others put over them."""
    tags = dict(before)
    for tag in added:
        key = tag.get("Key", "")
        if not key:
            raise invalid("A tag must have a key that is not empty.")
        tags[key] = tag.get("Value", "")
    if sum(not key.startswith(RESERVED) for key in tags) > TAGS_MAX:
        raise Fault("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
    return tags


def refuse_reserved_tags(caller: Caller, params: Params) -> None:
    """Refuse tags whose keys are not the caller's to give or to take away."""
    given = [tag for one in params.get("TagSpecifications", []) for tag in one.get("Tags", [])]
    for tag in (*given, *params.get("Tags", [])):
        if is_reserved(caller, tag.get("Key", "")):
            raise invalid(f"Tag keys starting with 'aws:' are reserved for internal use: {tag['Key']!r}")


def shown_tags(record: Document) -> list[Params]:
    return [{"Key": key, "Value": value} for key, value in record.get("Tags", {}).items()]


def shown(record: Document) -> Params:
    """A record as Describe shows it: members that begin with a small letter are our own."""
    visible = {name: value for name, value in record.items() if name[0].isupper()}
    return {**visible, "Tags": shown_tags(record)}
