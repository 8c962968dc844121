"""What roles, users and groups have alike: inline policies, attached ones, a permissions boundary, tags."""

from __future__ import annotations

from collections.abc import Callable

from batchyard.core.policy_documents import Malformed, read_policy
from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.iam.records import (
    GROUP,
    PROFILE,
    ROLE,
    USER,
    encoded,
    keep,
    malformed,
    merged_tags,
    paged,
    policy_document,
    require,
    shown_tags,
)
from batchyard.services.iam.roles import SERVICE_PATH, boundary_of
from batchyard.store.shelf import Document, Drawer

Act = Callable[[Drawer, Caller, Params], Params]
ATTACHED_MAX = 10
INLINE_CHARACTERS = {ROLE: 10_240, USER: 2_048, GROUP: 5_120}


class Bearer:
    """The operations on the policies of one kind: `title` is Role, User or Group."""

    def __init__(self, kind: str, title: str) -> None:
        self.kind, self.title = kind, title

    def operations(self) -> dict[str, Act]:
        """By AWS's name; those that change something are `WRITES`."""
        t = self.title
        return {
            f"Put{t}Policy": self.put,
            f"Get{t}Policy": self.get,
            f"Delete{t}Policy": self.delete,
            f"List{t}Policies": self.list_inline,
            f"Attach{t}Policy": self.attach,
            f"Detach{t}Policy": self.detach,
            f"ListAttached{t}Policies": self.list_attached,
        }

    def _of(self, drawer: Drawer, params: Params, *, is_write: bool = False) -> Document:
        document = require(drawer, self.kind, params[f"{self.title}Name"])
        if is_write and document["path"].startswith(SERVICE_PATH):
            words = f"Cannot perform the operation on the protected role '{document['name']}' - this role is only modifiable by AWS"
            raise Fault("UnmodifiableEntity", words)
        return document

    def put(self, drawer: Drawer, caller: Caller, params: Params) -> Params:
        document, text = self._of(drawer, params, is_write=True), params["PolicyDocument"]
        try:
            read_policy(text)
        except Malformed as error:
            raise malformed(error) from None
        document["inline"][params["PolicyName"]] = text
        limit = INLINE_CHARACTERS[self.kind]
        if sum(len("".join(one.split())) for one in document["inline"].values()) > limit:
            raise Fault("LimitExceeded", f"Maximum policy size of {limit} bytes exceeded for {self.kind} {document['name']}")
        keep(drawer, self.kind, document)
        return {}

    def get(self, drawer: Drawer, caller: Caller, params: Params) -> Params:
        document, name = self._of(drawer, params), params["PolicyName"]
        if name not in document["inline"]:
            raise self._no_policy(name)
        return {f"{self.title}Name": document["name"], "PolicyName": name, "PolicyDocument": encoded(document["inline"][name])}

    def delete(self, drawer: Drawer, caller: Caller, params: Params) -> Params:
        document, name = self._of(drawer, params, is_write=True), params["PolicyName"]
        if document["inline"].pop(name, None) is None:
            raise self._no_policy(name)
        keep(drawer, self.kind, document)
        return {}

    def _no_policy(self, name: str) -> Fault:
        return Fault("NoSuchEntity", f"The {self.kind} policy with name {name} cannot be found.")

    def list_inline(self, drawer: Drawer, caller: Caller, params: Params) -> Params:
        return paged(params, list(self._of(drawer, params)["inline"]), str, "PolicyNames", str)

    def attach(self, drawer: Drawer, caller: Caller, params: Params) -> Params:
        document, arn = self._of(drawer, params, is_write=True), params["PolicyArn"]
        if not arn.startswith("arn:"):
            raise Fault("InvalidInput", f"ARN {arn} is not valid.")
        if policy_document(drawer, arn) is None:
            raise Fault("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.")
        if arn in document["attached"]:
            return {}
        if len(document["attached"]) >= ATTACHED_MAX:
            raise Fault("LimitExceeded", f"Cannot exceed quota for PoliciesPer{self.title}: {ATTACHED_MAX}")
        document["attached"].append(arn)
        keep(drawer, self.kind, document)
        return {}

    def detach(self, drawer: Drawer, caller: Caller, params: Params) -> Params:
        document, arn = self._of(drawer, params, is_write=True), params["PolicyArn"]
        if arn not in document["attached"]:
            raise Fault("NoSuchEntity", f"Policy {arn} was not found.")
        document["attached"].remove(arn)
        keep(drawer, self.kind, document)
        return {}

    def list_attached(self, drawer: Drawer, caller: Caller, params: Params) -> Params:
        prefix = params.get("PathPrefix", "/")
        found = [arn for arn in self._of(drawer, params)["attached"] if path_in(arn).startswith(prefix)]
        return paged(params, found, str, "AttachedPolicies", lambda arn: {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn})


def path_in(policy_arn: str) -> str:
    """The path of a policy, from its ARN: `/service-role/`."""
    return policy_arn.partition(":policy")[2].rpartition("/")[0] + "/"


def put_boundary(kind: str, title: str) -> Act:
    """PutRolePermissionsBoundary, PutUserPermissionsBoundary."""

    def act(drawer: Drawer, caller: Caller, params: Params) -> Params:
        document = require(drawer, kind, params[f"{title}Name"])
        document["boundary"] = boundary_of(drawer, params["PermissionsBoundary"])
        keep(drawer, kind, document)
        return {}

    return act


def delete_boundary(kind: str, title: str) -> Act:
    """DeleteRolePermissionsBoundary, DeleteUserPermissionsBoundary."""

    def act(drawer: Drawer, caller: Caller, params: Params) -> Params:
        document = require(drawer, kind, params[f"{title}Name"])
        if not document.pop("boundary", None):
            raise Fault("NoSuchEntity", f"{title} {document['name']} does not have a permissions boundary.")
        keep(drawer, kind, document)
        return {}

    return act


def tag(kind: str, title: str) -> Act:
    """TagRole, TagUser, TagInstanceProfile."""

    def act(drawer: Drawer, caller: Caller, params: Params) -> Params:
        document = require(drawer, kind, params[f"{title}Name"])
        document["tags"] = merged_tags(document.get("tags", {}), params["Tags"])
        keep(drawer, kind, document)
        return {}

    return act


def untag(kind: str, title: str) -> Act:
    """UntagRole, UntagUser, UntagInstanceProfile."""

    def act(drawer: Drawer, caller: Caller, params: Params) -> Params:
        document = require(drawer, kind, params[f"{title}Name"])
        gone = {key.lower() for key in params["TagKeys"]}
        document["tags"] = {key: value for key, value in document.get("tags", {}).items() if key.lower() not in gone}
        keep(drawer, kind, document)
        return {}

    return act


def list_tags(kind: str, title: str) -> Act:
    """ListRoleTags, ListUserTags, ListInstanceProfileTags."""

    def act(drawer: Drawer, caller: Caller, params: Params) -> Params:
        found = shown_tags(require(drawer, kind, params[f"{title}Name"]))
        return paged(params, found, lambda one: str(one["Key"]), "Tags", dict)

    return act


BEARERS = (Bearer(ROLE, "Role"), Bearer(USER, "User"), Bearer(GROUP, "Group"))
TAGGED = ((ROLE, "Role"), (USER, "User"), (PROFILE, "InstanceProfile"))
BOUNDED = ((ROLE, "Role"), (USER, "User"))
