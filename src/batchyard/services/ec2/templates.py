"""Launch templates with their versions, placement groups, key pairs, and tags of everything: records that others refer to."""

from __future__ import annotations

import base64
import hashlib
import re

from batchyard.model.fault import Fault
from batchyard.services import Params
from batchyard.services.ec2.book import (
    KEY_PAIR,
    KINDS,
    PLACEMENT,
    TEMPLATE,
    Book,
    Kind,
    invalid,
    merged,
    no_such,
    not_available,
    one_of,
    shown,
    shown_tags,
)
from batchyard.services.ec2.describing import described, filtered, members, paged
from batchyard.services.ec2.security import tagged_rule
from batchyard.services.tag_keys import RESERVED
from batchyard.store.shelf import Document

_NAME = re.compile(r"[a-zA-Z0-9().\-/_]{3,128}")


# --- launch templates ---


def create_launch_template(book: Book, params: Params, creator: str) -> Params:
    """API reference, CreateLaunchTemplate."""
    not_available(params, "Operator")
    name = params["LaunchTemplateName"]
    if not _NAME.fullmatch(name):
        raise Fault("InvalidLaunchTemplateName.MalformedException", f"The name {name} is no name of a launch template.")
    if any(template["LaunchTemplateName"] == name for template in book.all(TEMPLATE)):
        raise Fault("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
    version = _version(book, params, 1, creator, params["LaunchTemplateData"])
    template = book.make(
        TEMPLATE,
        params,
        LaunchTemplateName=name,
        CreateTime=book.now_s,
        CreatedBy=creator,
        DefaultVersionNumber=1,
        LatestVersionNumber=1,
        versions=[version],
    )
    return {"LaunchTemplate": _shown(template)}


def _version(book: Book, params: Params, number: int, creator: str, content: Params) -> Document:
    return {
        "VersionNumber": number,
        "VersionDescription": params.get("VersionDescription", ""),
        "CreateTime": book.now_s,
        "CreatedBy": creator,
        "LaunchTemplateData": _as_shown(content),
    }


def _as_shown(content: Params) -> Params:
    """What was asked for, as it is shown: user data and all else come back as they were sent."""
    return dict(content)


def _shown(template: Document) -> Params:
    return {name: value for name, value in shown(template).items() if name != "OwnerId"}


def _template(book: Book, params: Params) -> Document:
    if params.get("LaunchTemplateId"):
        return book.require(TEMPLATE, params["LaunchTemplateId"])
    name = params.get("LaunchTemplateName")
    if not name:
        raise Fault("MissingParameter", "You must specify either launchTemplateId or launchTemplateName.")
    for template in book.all(TEMPLATE):
        if template["LaunchTemplateName"] == name:
            return template
    raise Fault("InvalidLaunchTemplateName.NotFoundException", f"The specified launch template, with template name {name}, does not exist.")


def describe_launch_templates(book: Book, params: Params) -> Params:
    """API reference, DescribeLaunchTemplates."""
    for name in params.get("LaunchTemplateNames", []):
        _template(book, {"LaunchTemplateName": name})
    ids = [
        *params.get("LaunchTemplateIds", []),
        *(_template(book, {"LaunchTemplateName": n})["LaunchTemplateId"] for n in params.get("LaunchTemplateNames", [])),
    ]
    filters = members(launch_template_name="LaunchTemplateName", create_time="CreateTime")
    asked = {**params, "ids": ids}
    return described(book, TEMPLATE, asked, ids="ids", member="LaunchTemplates", filters=filters, show=_shown)


def create_launch_template_version(book: Book, params: Params, creator: str) -> Params:
    """API reference, CreateLaunchTemplateVersion: with SourceVersion, over what that version says."""
    template = _template(book, params)
    content = dict(params["LaunchTemplateData"])
    if params.get("SourceVersion"):
        (source,) = _chosen(template, [params["SourceVersion"]])
        content = {**source["LaunchTemplateData"], **content}
    version = _version(book, params, template["LatestVersionNumber"] + 1, creator, content)
    number = version["VersionNumber"]
    template = {**template, "LatestVersionNumber": number, "versions": [*template["versions"], version]}
    book.put(TEMPLATE, template)
    return {"LaunchTemplateVersion": _shown_version(template, version)}


def _chosen(template: Document, names: list[str]) -> list[Document]:
    """The versions called by number, $Latest or $Default."""
    found = []
    for name in names:
        number = {"$Latest": template["LatestVersionNumber"], "$Default": template["DefaultVersionNumber"]}.get(name, name)
        version = next((v for v in template["versions"] if str(v["VersionNumber"]) == str(number)), None)
        if version is None:
            words = f"Could not find the specified version {name} for the launch template with ID {template['LaunchTemplateId']}."
            raise Fault("InvalidLaunchTemplateId.VersionNotFound", words)
        found.append(version)
    return found


def _number(params: Params, member: str, otherwise: int) -> int:
    text = params.get(member) or str(otherwise)
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise invalid(f"Value ({text}) for parameter {member} is invalid: it must be the number of a version")
    return int(text)


def _shown_version(template: Document, version: Document) -> Params:
    return {
        "LaunchTemplateId": template["LaunchTemplateId"],
        "LaunchTemplateName": template["LaunchTemplateName"],
        "DefaultVersion": version["VersionNumber"] == template["DefaultVersionNumber"],
        **version,
    }


def describe_launch_template_versions(book: Book, params: Params) -> Params:
    """API reference, DescribeLaunchTemplateVersions: newest first. Without a template: the $Latest or $Default of all."""
    wanted = params.get("Versions", [])
    if params.get("LaunchTemplateId") or params.get("LaunchTemplateName"):
        templates = [_template(book, params)]
    elif wanted and set(wanted) <= {"$Latest", "$Default"}:
        templates = book.all(TEMPLATE)
    else:
        raise Fault("MissingParameter", "You must specify either launchTemplateId or launchTemplateName.")
    low, high = _number(params, "MinVersion", 0), _number(params, "MaxVersion", 2**31)
    found = [
        (f"{template['LaunchTemplateId']} {10**9 - version['VersionNumber']:010}", _shown_version(template, version))
        for template in templates
        for version in (_chosen(template, wanted) if wanted else template["versions"])
        if low <= version["VersionNumber"] <= high
    ]
    return paged(found, {**params, "Filters": []}, lambda one: one[0], "LaunchTemplateVersions", lambda one: one[1])


def modify_launch_template(book: Book, params: Params) -> Params:
    """API reference, ModifyLaunchTemplate: another default version."""
    template = _template(book, params)
    if params.get("DefaultVersion"):
        (version,) = _chosen(template, [params["DefaultVersion"]])
        template = {**template, "DefaultVersionNumber": version["VersionNumber"]}
        book.put(TEMPLATE, template)
    return {"LaunchTemplate": _shown(template)}


def delete_launch_template(book: Book, params: Params) -> Params:
    """API reference, DeleteLaunchTemplate."""
    template = _template(book, params)
    book.delete(TEMPLATE, template["LaunchTemplateId"])
    return {"LaunchTemplate": _shown(template)}


def delete_launch_template_versions(book: Book, params: Params) -> Params:
    """API reference, DeleteLaunchTemplateVersions: the default one stays."""
    template = _template(book, params)
    names = {"LaunchTemplateId": template["LaunchTemplateId"], "LaunchTemplateName": template["LaunchTemplateName"]}
    done, failed = [], []
    for name in params["Versions"]:
        number = int(name) if name.isascii() and name.isdigit() and len(name) < 10 else 0
        is_there = any(version["VersionNumber"] == number for version in template["versions"])
        if not is_there or number == template["DefaultVersionNumber"]:
            code = "launchTemplateVersionDoesNotExist" if not is_there else "unexpectedError"
            words = "The version does not exist." if not is_there else "The default version cannot be deleted."
            failed.append({**names, "VersionNumber": number, "ResponseError": {"Code": code, "Message": words}})
            continue
        template = {**template, "versions": [v for v in template["versions"] if v["VersionNumber"] != number]}
        done.append({**names, "VersionNumber": number})
    book.put(TEMPLATE, template)
    return {"SuccessfullyDeletedLaunchTemplateVersions": done, "UnsuccessfullyDeletedLaunchTemplateVersions": failed}


# --- placement groups and key pairs ---


def create_placement_group(book: Book, params: Params) -> Params:
    """API reference, CreatePlacementGroup."""
    not_available(params, "Operator", "LinkedGroupId", "ParentGroupId")
    name, strategy = params.get("GroupName", ""), one_of(params, "Strategy", "cluster", "spread", "partition")
    if any(group["GroupName"] == name for group in book.all(PLACEMENT)):
        raise Fault("InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists.")
    parts = {"PartitionCount": params.get("PartitionCount", 2)} if strategy == "partition" else {}
    spread = {"SpreadLevel": one_of(params, "SpreadLevel", "rack", "host")} if strategy == "spread" else {}
    arn = f"arn:aws:ec2:{book.region}:{book.account}:placement-group/{name}"
    made = book.make(PLACEMENT, params, GroupName=name, GroupArn=arn, State="available", Strategy=strategy, **parts, **spread)
    return {"PlacementGroup": _shown(made)}


def describe_placement_groups(book: Book, params: Params) -> Params:
    """API reference, DescribePlacementGroups."""
    groups = book.all(PLACEMENT)
    for name in params.get("GroupNames", []):
        if name not in [group["GroupName"] for group in groups]:
            raise no_such(PLACEMENT, name)
    asked = [*params.get("GroupNames", []), *params.get("GroupIds", [])]
    filters = members(group_name="GroupName", group_arn="GroupArn", state="State", strategy="Strategy")
    found = filtered(groups, params.get("Filters", []), filters)
    return {"PlacementGroups": [_shown(g) for g in found if not asked or g["GroupName"] in asked or g["GroupId"] in asked]}


def delete_placement_group(book: Book, params: Params) -> Params:
    """API reference, DeletePlacementGroup."""
    for group in book.all(PLACEMENT):
        if group["GroupName"] == params["GroupName"]:
            book.delete(PLACEMENT, group["GroupId"])
            return {}
    raise no_such(PLACEMENT, params["GroupName"])


def import_key_pair(book: Book, params: Params) -> Params:
    """API reference, ImportKeyPair: nobody logs in to slices of this machine, but templates name keys."""
    name, material = params["KeyName"], params["PublicKeyMaterial"]
    if any(pair["KeyName"] == name for pair in book.all(KEY_PAIR)):
        raise Fault("InvalidKeyPair.Duplicate", f"The keypair '{name}' already exists.")
    parts = material.decode("latin-1").split()
    kind = {"ssh-rsa": "rsa", "ssh-ed25519": "ed25519"}.get(parts[0] if parts else "")
    if kind is None or len(parts) < 2:
        raise Fault("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
    try:
        digest = hashlib.sha256(base64.b64decode(parts[1], validate=True)).digest()
    except ValueError:
        raise Fault("InvalidKey.Format", "Key is not in valid OpenSSH public key format") from None
    fingerprint = base64.b64encode(digest).decode()
    pair = book.make(KEY_PAIR, params, KeyName=name, KeyFingerprint=fingerprint, KeyType=kind, CreateTime=book.now_s)
    shown_pair = _shown(pair)
    return {name: shown_pair[name] for name in ("KeyName", "KeyPairId", "KeyFingerprint", "Tags")}


def describe_key_pairs(book: Book, params: Params) -> Params:
    """API reference, DescribeKeyPairs."""
    pairs = book.all(KEY_PAIR)
    for name in params.get("KeyNames", []):
        if name not in [pair["KeyName"] for pair in pairs]:
            raise no_such(KEY_PAIR, name)
    asked = [*params.get("KeyNames", []), *params.get("KeyPairIds", [])]
    filters = members(key_name="KeyName", key_pair_id="KeyPairId", fingerprint="KeyFingerprint")
    found = filtered(pairs, params.get("Filters", []), filters)
    return {"KeyPairs": [_shown(p) for p in found if not asked or p["KeyName"] in asked or p["KeyPairId"] in asked]}


def delete_key_pair(book: Book, params: Params) -> Params:
    """API reference, DeleteKeyPair: one that is not there is no mistake."""
    for pair in book.all(KEY_PAIR):
        if params.get("KeyName") == pair["KeyName"] or params.get("KeyPairId") == pair["KeyPairId"]:
            book.delete(KEY_PAIR, pair["KeyPairId"])
            return {"Return": True, "KeyPairId": pair["KeyPairId"]}
    return {"Return": True}


# --- tags ---


def _kind_of(id: str) -> Kind | None:
    return next((kind for kind in KINDS if id.startswith(kind.prefix)), None)


def create_tags(book: Book, params: Params) -> Params:
    """API reference, CreateTags."""
    for id in params["Resources"]:
        kind = _kind_of(id)
        record = book.find(kind, id) if kind is not None else None
        if record is not None and kind is not None:
            book.put(kind, {**record, "Tags": merged(record["Tags"], params["Tags"])})
        elif not (id.startswith("sgr-") and tagged_rule(book, id, params["Tags"], None)):
            raise no_such(kind, id) if kind else Fault("InvalidID", f"The ID '{id}' is not valid")
    return {}


def delete_tags(book: Book, params: Params) -> Params:
    """API reference, DeleteTags: without Tags all of them; with a value only where it is that."""
    for id in params["Resources"]:
        kind = _kind_of(id)
        record = book.find(kind, id) if kind is not None else None
        asked = params.get("Tags")
        if record is not None and kind is not None:
            every = [key for key in record["Tags"] if not key.startswith(RESERVED)]
            gone = {tag.get("Key"): tag.get("Value") for tag in asked} if asked else dict.fromkeys(every)
            kept = {k: v for k, v in record["Tags"].items() if k not in gone or gone[k] not in (None, v)}
            book.put(kind, {**record, "Tags": kept})
        elif id.startswith("sgr-"):
            tagged_rule(book, id, [], [tag.get("Key", "") for tag in asked or []])
    return {}


def describe_tags(book: Book, params: Params) -> Params:
    """API reference, DescribeTags."""
    found = [
        {"Key": tag["Key"], "Value": tag["Value"], "ResourceId": record[kind.member], "ResourceType": kind.name}
        for kind in KINDS
        for record in book.all(kind)
        for tag in shown_tags(record)
    ]
    filters = members(key="Key", value="Value", resource_id="ResourceId", resource_type="ResourceType")
    return paged(
        filtered(found, params.get("Filters", []), filters), params, lambda t: f"{t['ResourceId']} {t['Key']}", "Tags", lambda t: t
    )
