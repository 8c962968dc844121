"""Parameters are put, deleted, labelled and tagged."""

from __future__ import annotations

import re

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.desk import Sealing
from batchyard.services.ssm.records import (
    KIND,
    VERSIONS_KEPT,
    context_of,
    find,
    not_found,
    refusal,
    rendered_tags,
    require,
    require_name,
    split_selector,
)
from batchyard.services.tag_keys import RESERVED, is_reserved
from batchyard.store.shelf import Document, Drawer

STANDARD_MAX = 4096
ADVANCED_MAX = 8192
LABELS_MAX = 10
TAGS_MAX = 50
_LABEL = re.compile(r"(?!aws|ssm|[0-9])[A-Za-z0-9_.-]{1,100}", re.IGNORECASE)
_TYPES = ("SecureString", "StringList", "String")
_TIERS = ("Standard", "Advanced", "Intelligent-Tiering")
_EXISTS = "The parameter already exists. To overwrite this value, set the overwrite option in the request to true."
_TAGS_AND_OVERWRITE = (
    "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. "
    "To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource."
)
_TOO_LONG = (
    "Standard tier parameters support a maximum parameter value of 4096 characters. To create a larger parameter value, upgrade the "
    "parameter to use the advanced-parameter tier. For more information, see "
    "https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html"
)


def put_parameter(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, PutParameter."""
    name, overwrite = split_selector(params["Name"])[0], params.get("Overwrite", False)
    require_name(name)
    _refuse_not_available(params)
    if overwrite and params.get("Tags"):
        raise refusal(_TAGS_AND_OVERWRITE)
    document = drawer.get(KIND, name)
    if document is not None and not overwrite:
        raise Fault("ParameterAlreadyExists", _EXISTS)
    if document is None:
        document = {"name": name, "versions": [], "tags": _tags_of(caller, {}, params.get("Tags", []))}
    version = _next_version(document, caller, params, drawer.now_ms)
    if version["type"] == "SecureString":
        context = context_of(caller.account, caller.region, name, version["version"])
        version["value"] = sealer.seal(params["Value"].encode(), context)
    document["versions"] = [*_with_room(document), version]
    drawer.put(KIND, name, document)
    return {"Version": version["version"], "Tier": version["tier"]}


def _require_one_of(member: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise refusal(
            f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{', '.join(known)}]"
        )


def _next_version(document: Document, caller: Caller, params: Params, now_ms: int) -> Document:
    before = document["versions"][-1] if document["versions"] else {}
    kind = params.get("Type") or before.get("type")
    if not kind:
        raise refusal("A parameter type is required when you create a parameter.")
    _require_one_of("type", kind, _TYPES)
    _require_one_of("tier", params.get("Tier", "Standard"), _TIERS)
    if before and kind != before["type"] and "/" in document["name"]:
        raise Fault(
            "HierarchyTypeMismatchException", "Parameter Store does not support changing a parameter type in a hierarchy: delete it first."
        )
    version = {
        "version": before.get("version", 0) + 1,
        "type": kind,
        "value": params["Value"],
        "description": params.get("Description", before.get("description", "")),
        "tier": _tier(params, before),
        "data_type": params.get("DataType") or before.get("data_type", "text"),
        "modified_at_ms": now_ms,
        "user": caller.arn,
        "labels": [],
    }
    if kind == "SecureString":
        version["key_id"] = params.get("KeyId") or before.get("key_id") or "alias/aws/ssm"
    elif params.get("KeyId"):
        raise refusal("KeyId is required for SecureString type parameter only.")
    return version


def _tier(params: Params, before: Document) -> str:
    length = len(params["Value"])
    if not length:
        raise refusal("Value: a parameter cannot be empty")
    asked = params.get("Tier") or before.get("tier", "Standard")
    if asked == "Intelligent-Tiering":
        asked = "Advanced" if length > STANDARD_MAX or before.get("tier") == "Advanced" else "Standard"
    if before.get("tier") == "Advanced" and asked == "Standard":
        raise refusal("This parameter uses the advanced-parameter tier. You can't downgrade a parameter to the standard-parameter tier.")
    if asked == "Standard" and length > STANDARD_MAX:
        raise refusal(_TOO_LONG)
    if length > ADVANCED_MAX:
        raise refusal(f"Advanced tier parameters support a maximum parameter value of {ADVANCED_MAX} characters.")
    return str(asked)


def _refuse_not_available(params: Params) -> None:
    if params.get("AllowedPattern"):
        raise Fault("InvalidAllowedPatternException", "AllowedPattern is not available in this version of Batchyard: leave it out.")
    if params.get("Policies"):
        raise refusal("Policies: parameter policies are not available in this version of Batchyard: leave them out.")
    if params.get("DataType", "text") not in ("text", "aws:ec2:image"):
        raise refusal(f"The following data type is not supported: {params['DataType']} (Data type names are all lowercase.)")


def _with_room(document: Document) -> list[Document]:
    """The versions that are kept beside a new one: the oldest goes, unless it has a label."""
    versions: list[Document] = document["versions"]
    if len(versions) < VERSIONS_KEPT:
        return versions
    if versions[0].get("labels"):
        raise Fault(
            "ParameterMaxVersionLimitExceeded",
            f"You attempted to create a new version of {document['name']} by calling the PutParameter API with the overwrite flag. "
            f"Version {versions[0]['version']}, the oldest version, can't be deleted because it has a label associated with it. "
            "Move the label to another version of the parameter, and try again.",
        )
    return versions[1:]


def delete_parameter(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteParameter."""
    if not drawer.delete(KIND, split_selector(params["Name"])[0]):
        raise not_found(params["Name"])
    return {}


def delete_parameters(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteParameters."""
    names = list(dict.fromkeys(params["Names"]))
    deleted = [name for name in names if drawer.delete(KIND, split_selector(name)[0])]
    return {"DeletedParameters": deleted, "InvalidParameters": [name for name in names if name not in deleted]}


def label_parameter_version(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, LabelParameterVersion: a label is on one version only, and moves."""
    document, version = _version(drawer, params)
    invalid = [label for label in params["Labels"] if not _LABEL.fullmatch(label)]
    wanted = [label for label in params["Labels"] if label not in invalid]
    if len({*version.get("labels", []), *wanted}) > LABELS_MAX:
        raise Fault("ParameterVersionLabelLimitExceeded", "A parameter version can have a maximum of ten labels.")
    for other in document["versions"]:
        other["labels"] = [label for label in other.get("labels", []) if label not in wanted]
    version["labels"] += list(dict.fromkeys(wanted))
    drawer.put(KIND, document["name"], document)
    return {"InvalidLabels": invalid, "ParameterVersion": version["version"]}


def unlabel_parameter_version(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UnlabelParameterVersion."""
    document, version = _version(drawer, params)
    removed = [label for label in params["Labels"] if label in version.get("labels", [])]
    version["labels"] = [label for label in version.get("labels", []) if label not in removed]
    drawer.put(KIND, document["name"], document)
    return {"RemovedLabels": removed, "InvalidLabels": [label for label in params["Labels"] if label not in removed]}


def _version(drawer: Drawer, params: Params) -> tuple[Document, Document]:
    """The document as it is changed, and the version of it that is meant (which is part of it)."""
    name = split_selector(params["Name"])[0]
    number = params.get("ParameterVersion")
    selected = require(drawer, f"{name}:{number}" if number else name)
    return selected.document, selected.version


def add_tags_to_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, AddTagsToResource (parameters)."""
    document = _tagged(drawer, params)
    document["tags"] = _tags_of(caller, document.get("tags", {}), params["Tags"])
    drawer.put(KIND, document["name"], document)
    return {}


def remove_tags_from_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, RemoveTagsFromResource (parameters)."""
    document = _tagged(drawer, params)
    for key in params["TagKeys"]:
        if is_reserved(caller, key):
            raise refusal(f"Tag keys that begin with aws: are reserved: {key}")
    document["tags"] = {key: value for key, value in document.get("tags", {}).items() if key not in params["TagKeys"]}
    drawer.put(KIND, document["name"], document)
    return {}


def list_tags_for_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListTagsForResource (parameters)."""
    return {"TagList": rendered_tags(_tagged(drawer, params))}


def _tagged(drawer: Drawer, params: Params) -> Document:
    if params["ResourceType"] != "Parameter":
        raise Fault("InvalidResourceType", f"ResourceType: {params['ResourceType']} cannot be tagged here: only Parameter can.")
    name, selector = split_selector(params["ResourceId"])
    selected = None if selector else find(drawer, name)
    if selected is None or drawer.get(KIND, name) is None:
        raise Fault("InvalidResourceId", f"The resource ID {params['ResourceId']!r} is not valid. Verify the ID and try again.")
    return selected.document


def _tags_of(caller: Caller, before: dict[str, str], added: list[Params]) -> dict[str, str]:
    for tag in added:
        if is_reserved(caller, tag["Key"]):
            raise refusal(f"Tag keys that begin with aws: are reserved: {tag['Key']}")
    tags = {**before, **{tag["Key"]: tag["Value"] for tag in added}}
    if sum(not key.startswith(RESERVED) for key in tags) > TAGS_MAX:
        raise Fault("TooManyTagsError", f"A parameter can have at most {TAGS_MAX} tags, not {len(tags)}.")
    return tags
