"""Parameters as they are kept, and how names, selectors and ARNs lead to them."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.desk import Sealing
from batchyard.services.images import IMAGES
from batchyard.store.shelf import Document, Drawer

KIND = "parameter"
VERSIONS_KEPT = 100
LEVELS_MAX = 15
_NAME = re.compile(r"[A-Za-z0-9_.\-/]+")
_NAME_RULE = (
    'Parameter name: can\'t be prefixed with "aws" or "ssm" (case-insensitive). If formed as a path, it can consist of sub-paths '
    "divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_"
)
PUBLIC_OWNER = ""  # AWS's own parameters belong to no account
PUBLISHED_AT_S = 1_790_812_800.0


class Selected(NamedTuple):
    """A version of a parameter, and the `:3` or `:label` that chose it."""

    document: Document
    version: Document
    selector: str


def refusal(message: str) -> Fault:
    """SSM's answer to a request that cannot be."""
    return Fault("ValidationException", message)


def require_name(name: str) -> None:
    """AWS's rules for the name of a new parameter."""
    first = name.strip("/").partition("/")[0].lower()
    if first.startswith("aws"):
        raise Fault("AccessDeniedException", f"No access to reserved parameter name: {name}.")
    if first.startswith("ssm") or not _NAME.fullmatch(name) or "//" in name:
        raise refusal(_NAME_RULE)
    if "/" in name and not name.startswith("/"):
        raise refusal("Parameter name must be a fully qualified name.")
    if name.count("/") > LEVELS_MAX or name.endswith("/"):
        raise Fault(
            "HierarchyLevelLimitExceededException", f"A parameter can have at most {LEVELS_MAX} levels, and no empty one at its end."
        )


def arn_of(caller_account: str, region: str, name: str) -> str:
    """`arn:aws:ssm:us-east-1:123456789012:parameter/name`; AWS's own parameters name no account."""
    account = PUBLIC_OWNER if name.startswith("/aws/") else caller_account
    return f"arn:aws:ssm:{region}:{account}:parameter/{name.removeprefix('/')}"


def split_selector(name: str) -> tuple[str, str]:
    """(name, selector with its colon or "") of `name`, `name:3`, `name:label` or an ARN of these."""
    selector = ""
    if name.startswith("arn:"):
        parts = name.split(":", 5)
        if len(parts) == 6 and parts[2] == "ssm" and parts[5].startswith("parameter/"):
            path = parts[5].removeprefix("parameter")
            name = path if "/" in path[1:] else path[1:]
    if ":" in name:
        name, colon, rest = name.partition(":")
        selector = colon + rest
    return name, selector


def find(drawer: Drawer, name: str) -> Selected | None:
    """The version of a parameter that `name` selects, by default the newest. Faults for a version or label that is not there."""
    plain, selector = split_selector(name)
    document = drawer.get(KIND, plain) or public_parameter(plain)
    if document is None and name.startswith("arn:"):
        document = drawer.get(KIND, "/" + plain)  # an ARN does not tell "name" from "/name"
    if document is None:
        return None
    versions = document["versions"]
    if not selector:
        return Selected(document, versions[-1], "")
    wanted = selector[1:]
    for version in versions:
        if str(version["version"]) == wanted or wanted in version.get("labels", ()):
            return Selected(document, version, selector)
    if wanted.isdigit():
        raise Fault(
            "ParameterVersionNotFound", f"Systems Manager could not find version {wanted} of {plain}. Verify the version and try again."
        )
    raise Fault(
        "ParameterVersionNotFound", f"Systems Manager could not find label {wanted} for parameter {plain}. Verify the label and try again."
    )


def require(drawer: Drawer, name: str) -> Selected:
    """As `find`, or ParameterNotFound."""
    found = find(drawer, name)
    if found is None:
        raise not_found(name)
    return found


def not_found(name: str) -> Fault:
    return Fault("ParameterNotFound", f"Parameter {name} not found.")


def context_of(account: str, region: str, name: str, version: int) -> str:
    """What a SecureString is sealed for: nobody can move it to another parameter."""
    return f"ssm {account} {region} {name} {version}"


def text_of(sealer: Sealing, drawer: Drawer, document: Document, version: Document) -> str:
    """The value in clear."""
    value: Any = version["value"]
    if isinstance(value, bytes):
        context = context_of(drawer.place.account, drawer.place.region, document["name"], version["version"])
        return sealer.open(value, context).decode()
    return str(value)


def rendered_tags(document: Document) -> list[Params]:
    return [{"Key": key, "Value": value} for key, value in sorted(document.get("tags", {}).items())]


def described(caller: Caller, document: Document, version: Document) -> Params:
    """What DescribeParameters and GetParameterHistory say of a version alike."""
    shown: Params = {
        "Name": document["name"],
        "Type": version["type"],
        "LastModifiedDate": version["modified_at_ms"] / 1000,
        "LastModifiedUser": version["user"],
        "Version": version["version"],
        "Tier": version["tier"],
        "Policies": [],
        "DataType": version["data_type"],
    }
    if version.get("description"):
        shown["Description"] = version["description"]
    if version["type"] == "SecureString":
        shown["KeyId"] = version.get("key_id") or "alias/aws/ssm"
    return shown


def public_parameter(name: str) -> Document | None:
    """AWS's own parameter of that name: ids of images, which are placeholders here."""
    if not name.startswith("/aws/service/"):
        return None
    return PUBLIC.get(name)


def _public(name: str, value: str, data_type: str = "text") -> Document:
    version = {
        "version": 1,
        "type": "String",
        "value": value,
        "modified_at_ms": int(PUBLISHED_AT_S * 1000),
        "user": "AWS",
        "tier": "Standard",
        "data_type": data_type,
    }
    return {"name": name, "versions": [version], "tags": {}}


def _public_parameters() -> dict[str, Document]:
    made = []
    for image in IMAGES:
        if "/ecs/" not in image.path:
            made.append(_public(image.path, image.id, "aws:ec2:image"))
            continue
        made.append(_public(f"{image.path}/image_id", image.id, "aws:ec2:image"))
        made.append(_public(f"{image.path}/image_name", image.name))
        made.append(_public(image.path, json.dumps({"image_id": image.id, "image_name": image.name, "os": "Amazon Linux"})))
    return {document["name"]: document for document in made}


PUBLIC = _public_parameters()
