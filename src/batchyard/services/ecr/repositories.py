"""Repositories as records: there is no registry behind them, so no image is ever in one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.paging import page_of
from batchyard.services.tag_keys import RESERVED, is_reserved
from batchyard.store.shelf import Document, Drawer

KIND = "repository"
PAGE = 100
TAGS_MAX = 50
_MUTABILITY_WITH_FILTERS = ("IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION")


def require(drawer: Drawer, caller: Caller, params: Params) -> Document:
    """The repository that a request names. RepositoryNotFoundException, also for another account's registry."""
    name, registry = params["repositoryName"], params.get("registryId", caller.account)
    document = drawer.get(KIND, name) if registry == caller.account else None
    if document is None:
        raise not_found(name, registry)
    return document


def not_found(name: str, registry: str) -> Fault:
    return Fault("RepositoryNotFoundException", f"The repository with name '{name}' does not exist in the registry with id '{registry}'")


def invalid(member: str, why: str) -> Fault:
    return Fault("InvalidParameterException", f"Invalid parameter at '{member}' failed to satisfy constraint: '{why}'")


def arn_of(caller: Caller, name: str) -> str:
    return f"arn:aws:ecr:{caller.region}:{caller.account}:repository/{name}"


def _shown(caller: Caller, document: Document) -> Params:
    name = document["name"]
    shown: Params = {
        "repositoryArn": arn_of(caller, name),
        "registryId": caller.account,
        "repositoryName": name,
        "repositoryUri": f"{caller.account}.dkr.ecr.{caller.region}.amazonaws.com/{name}",
        "createdAt": document["created_at_ms"] / 1000,
        "imageTagMutability": document["mutability"],
        "imageScanningConfiguration": {"scanOnPush": document["scan_on_push"]},
        "encryptionConfiguration": document["encryption"],
    }
    if document.get("mutability_filters"):
        shown["imageTagMutabilityExclusionFilters"] = document["mutability_filters"]
    return shown


def create_repository(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateRepository."""
    name, registry = params["repositoryName"], params.get("registryId", caller.account)
    if registry != caller.account:
        raise invalid("registryId", "a repository can be created in one's own registry only")
    if drawer.get(KIND, name) is not None:
        raise Fault(
            "RepositoryAlreadyExistsException", f"The repository with name '{name}' already exists in the registry with id '{registry}'"
        )
    encryption = dict(params.get("encryptionConfiguration") or {"encryptionType": "AES256"})
    if encryption["encryptionType"] == "AES256" and encryption.get("kmsKey"):
        raise invalid("encryptionConfiguration", "kmsKey can be given with encryptionType KMS only")
    mutability, filters = _mutability(params)
    document = {
        "name": name,
        "created_at_ms": drawer.now_ms,
        "mutability": mutability,
        "mutability_filters": filters,
        "scan_on_push": bool(params.get("imageScanningConfiguration", {}).get("scanOnPush", False)),
        "encryption": encryption,
        "tags": _tags(caller, {}, params.get("tags", [])),
    }
    drawer.put(KIND, name, document)
    return {"repository": _shown(caller, document)}


def _mutability(params: Params) -> tuple[str, list[Any]]:
    mutability, filters = params.get("imageTagMutability", "MUTABLE"), params.get("imageTagMutabilityExclusionFilters") or []
    if bool(filters) != (mutability in _MUTABILITY_WITH_FILTERS):
        raise invalid("imageTagMutabilityExclusionFilters", f"filters go with {' and '.join(_MUTABILITY_WITH_FILTERS)}")
    return mutability, filters


def describe_repositories(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DescribeRepositories: by name, or all in order of their names."""
    registry, names = params.get("registryId", caller.account), params.get("repositoryNames")
    if names:
        if params.get("nextToken") or params.get("maxResults"):
            raise invalid("repositoryNames", "names cannot be combined with nextToken or maxResults")
        found = [require(drawer, caller, {"repositoryName": name, "registryId": registry}) for name in names]
        return {"repositories": [_shown(caller, document) for document in found]}
    documents = drawer.all(KIND) if registry == caller.account else []
    page, token = page_of(
        documents,
        lambda document: str(document["name"]),
        limit=params.get("maxResults") or PAGE,
        token=params.get("nextToken"),
        purpose=("DescribeRepositories", registry),
        invalid=invalid("nextToken", "Invalid token"),
    )
    return {"repositories": [_shown(caller, document) for document in page], **({"nextToken": token} if token else {})}


def delete_repository(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteRepository. It is always empty, so that `force` makes no difference."""
    document = require(drawer, caller, params)
    drawer.delete(KIND, document["name"])
    return {"repository": _shown(caller, document)}


def put_image_scanning_configuration(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, PutImageScanningConfiguration: recorded, for nothing is pushed that could be scanned."""
    document = require(drawer, caller, params)
    document["scan_on_push"] = bool(params["imageScanningConfiguration"].get("scanOnPush", False))
    drawer.put(KIND, document["name"], document)
    return {**_named(caller, document), "imageScanningConfiguration": {"scanOnPush": document["scan_on_push"]}}


def put_image_tag_mutability(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, PutImageTagMutability."""
    document = require(drawer, caller, params)
    document["mutability"], document["mutability_filters"] = _mutability(params)
    drawer.put(KIND, document["name"], document)
    answer = {**_named(caller, document), "imageTagMutability": document["mutability"]}
    filters = document["mutability_filters"]
    return {**answer, **({"imageTagMutabilityExclusionFilters": filters} if filters else {})}


def _named(caller: Caller, document: Document) -> Params:
    return {"registryId": caller.account, "repositoryName": document["name"]}


def list_images(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListImages: none, for there is no registry that could hold any."""
    require(drawer, caller, params)
    _refuse_token(params)
    return {"imageIds": []}


def describe_images(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DescribeImages: none; ImageNotFoundException for one that is named."""
    document = require(drawer, caller, params)
    _refuse_token(params)
    for image in params.get("imageIds") or []:
        told = f"{{imageDigest:'{image.get('imageDigest', 'null')}', imageTag:'{image.get('imageTag', 'null')}'}}"
        raise Fault(
            "ImageNotFoundException",
            f"The image with imageId {told} does not exist within the repository with name '{document['name']}' in the registry with id "
            f"'{caller.account}'",
        )
    return {"imageDetails": []}


def _refuse_token(params: Params) -> None:
    if params.get("nextToken"):
        raise invalid("nextToken", "Invalid token")


def tag_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, TagResource."""
    document = _tagged(drawer, caller, params["resourceArn"])
    document["tags"] = _tags(caller, document["tags"], params["tags"])
    drawer.put(KIND, document["name"], document)
    return {}


def untag_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UntagResource."""
    document = _tagged(drawer, caller, params["resourceArn"])
    _refuse_reserved(caller, params["tagKeys"])
    document["tags"] = {key: value for key, value in document["tags"].items() if key not in params["tagKeys"]}
    drawer.put(KIND, document["name"], document)
    return {}


def list_tags_for_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListTagsForResource."""
    tags = _tagged(drawer, caller, params["resourceArn"])["tags"]
    return {"tags": [{"Key": key, "Value": value} for key, value in sorted(tags.items())]}


def _tagged(drawer: Drawer, caller: Caller, arn: str) -> Document:
    prefix = arn_of(caller, "")
    if not arn.startswith(prefix):
        raise invalid("resourceArn", f"must be the ARN of a repository, like {prefix}name")
    return require(drawer, caller, {"repositoryName": arn.removeprefix(prefix)})


def _refuse_reserved(caller: Caller, keys: Iterable[str]) -> None:
    for key in keys:
        if is_reserved(caller, key):
            raise Fault("InvalidTagParameterException", f"Tag keys that begin with aws: are reserved: {key}")


def _tags(caller: Caller, before: dict[str, str], added: list[Params]) -> dict[str, str]:
    _refuse_reserved(caller, [tag["Key"] for tag in added])
    tags = {**before, **{tag["Key"]: tag["Value"] for tag in added}}
    if sum(not key.startswith(RESERVED) for key in tags) > TAGS_MAX:
        raise Fault("TooManyTagsException", f"A repository can have at most {TAGS_MAX} tags, not {len(tags)}.")
    return tags
