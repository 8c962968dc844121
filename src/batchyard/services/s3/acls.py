"""Access control lists: read from a request, kept as grants, shown again, and asked; pure.

A grant is a pair (grantee, permission); a grantee is `id:ACCOUNT` or `uri:GROUP`. An empty list stands for the owner's full
control alone. (S3 User Guide, "Access control list overview")
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.s3.owners import canonical_account, canonical_id
from batchyard.services.s3.route import not_implemented

Grants = list[tuple[str, str]]

EVERYBODY = "uri:http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED = "uri:http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "uri:http://acs.amazonaws.com/groups/s3/LogDelivery"
_GROUPS = (EVERYBODY, AUTHENTICATED, LOG_DELIVERY)
_PERMISSIONS = ("FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP")
_HEADERS = {f"x-amz-grant-{name.lower().replace('_', '-')}": name for name in _PERMISSIONS}
_GRANTEE = re.compile(r'\s*(id|uri|emailAddress)\s*=\s*"?([^",]*)"?\s*')
GRANTS_LIMIT = 100

# the canned lists besides the owner's full control, which all of them give; the owner of a bucket owns its objects here
_CANNED: dict[str, Grants] = {
    "private": [],
    "public-read": [(EVERYBODY, "READ")],
    "public-read-write": [(EVERYBODY, "READ"), (EVERYBODY, "WRITE")],
    "authenticated-read": [(AUTHENTICATED, "READ")],
    "bucket-owner-read": [],
    "bucket-owner-full-control": [],
    "log-delivery-write": [(LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP")],
}


def grants_in_headers(headers: Mapping[str, str], owner: str = "") -> Grants | None:
    """The grants of `x-amz-acl` or the `x-amz-grant-...` headers; None when there are none of these.

    Raises `InvalidArgument`, `InvalidRequest` for both at once, `NotImplemented` for what is granted to nobody here.
    """
    canned = headers.get("x-amz-acl", "")
    named = {name: headers[name] for name in _HEADERS if headers.get(name)}
    if canned and named:
        raise Fault("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
    if canned == "aws-exec-read":
        raise not_implemented("the canned ACL aws-exec-read")
    if canned:
        if canned not in _CANNED:
            raise Fault("InvalidArgument", "Argument format not recognized", ArgumentName="x-amz-acl", ArgumentValue=canned)
        return list(_CANNED[canned])
    if not named:
        return None
    grants = [(_grantee(*kind_and_name), _HEADERS[name]) for name, text in named.items() for kind_and_name in _grantees(name, text)]
    return normal(grants, owner)


def grants_in_document(policy: Mapping[str, Any], owner: str) -> Grants:
    """The grants of an AccessControlPolicy. Raises `MalformedACLError` or `AccessDenied` when it names another owner."""
    named = policy.get("Owner", {}).get("ID", "")
    if canonical_account(named) != owner:
        raise Fault("AccessDenied", "Access Denied") if named else malformed_acl()
    grants = []
    for grant in policy.get("Grants", []):
        grantee, permission = grant.get("Grantee", {}), grant.get("Permission")
        if permission not in _PERMISSIONS:
            raise malformed_acl()
        if grantee.get("EmailAddress"):
            grants.append((_grantee("emailAddress", grantee["EmailAddress"]), permission))
        elif grantee.get("ID"):
            grants.append((_grantee("id", grantee["ID"]), permission))
        else:
            grants.append((_grantee("uri", grantee.get("URI", "")), permission))
    return normal(grants, owner)


def normal(grants: Grants, owner: str) -> Grants:
    """The grants without the owner's full control, which goes without saying."""
    if len(grants) > GRANTS_LIMIT:
        raise Fault("InvalidArgument", f"The maximum number of grants is {GRANTS_LIMIT}.")
    return list(dict.fromkeys(grant for grant in grants if grant != (f"id:{owner}", "FULL_CONTROL")))


def is_public(grants: Sequence[Sequence[str]]) -> bool:
    """Whether everybody, or everybody with an account, is granted something."""
    return any(grantee in (EVERYBODY, AUTHENTICATED) for grantee, _ in grants)


def permits(grants: Sequence[Sequence[str]], account: str, permission: str, ignores_public: bool) -> bool:
    """Whether `account` ("" is anybody) is granted `permission`; grants to the public count only unless they are to be ignored."""
    for grantee, granted in grants:
        if granted not in (permission, "FULL_CONTROL"):
            continue
        if grantee == f"id:{account}" and account:
            return True
        if not ignores_public and (grantee == EVERYBODY or (grantee == AUTHENTICATED and account)):
            return True
    return False


def shown(grants: Sequence[Sequence[str]], owner: str) -> dict[str, Any]:
    """The answer of GetBucketAcl and GetObjectAcl."""
    person = {"DisplayName": owner, "ID": canonical_id(owner)}
    elements = [{"Grantee": {"Type": "CanonicalUser", **person}, "Permission": "FULL_CONTROL"}]
    for grantee, permission in grants:
        kind, _, name = grantee.partition(":")
        if kind == "uri":
            elements.append({"Grantee": {"Type": "Group", "URI": name}, "Permission": permission})
        else:
            other = {"DisplayName": name, "ID": canonical_id(name)}
            elements.append({"Grantee": {"Type": "CanonicalUser", **other}, "Permission": permission})
    return {"Owner": person, "Grants": elements}


def acl_not_supported() -> Fault:
    """What S3 says of ACLs on a bucket whose owner owns all objects, as every bucket made since April 2023 unless told otherwise."""
    return Fault("AccessControlListNotSupported", "The bucket does not allow ACLs")


def malformed_acl() -> Fault:
    """S3's refusal of an access control list that makes no sense."""
    return Fault("MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema")


def _grantees(header: str, text: str) -> list[tuple[str, str]]:
    found = []
    for part in text.split(","):
        match = _GRANTEE.fullmatch(part)
        if match is None:
            raise Fault("InvalidArgument", "Argument format not recognized", ArgumentName=header, ArgumentValue=text)
        found.append((match[1], match[2]))
    return found


def _grantee(kind: str, name: str) -> str:
    """Raises `InvalidArgument` for a group or account that cannot be."""
    if kind == "emailAddress":
        raise Fault("UnresolvableGrantByEmailAddress", "The e-mail address you provided does not match any account on record.")
    if kind == "uri":
        if f"uri:{name}" not in _GROUPS:
            raise Fault("InvalidArgument", "Invalid group uri", ArgumentName="uri", ArgumentValue=name)
        return f"uri:{name}"
    account = canonical_account(name)
    if not re.fullmatch(r"\d{12}", account):
        raise Fault("InvalidArgument", "Invalid id", ArgumentName="CanonicalUser/ID", ArgumentValue=name)
    return f"id:{account}"
