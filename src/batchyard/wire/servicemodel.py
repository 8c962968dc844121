"""Reads AWS's published service models, so that what the door understands is AWS's own description and nothing else.

botocore ships the models as data; only that folder is used, botocore itself is never imported. Decoding straight into the few
structs below, documentation skipped, takes 2 ms for Batch and 5 ms for S3: too quick to be worth a cache on disk.
"""

from __future__ import annotations

import gzip
import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec


class Member(msgspec.Struct, rename="camel", frozen=True):
    """How one shape is used inside another: which shape, and where and under which name it travels."""

    shape: str
    location: str | None = None
    location_name: str | None = None
    query_name: str | None = None
    flattened: bool = False
    xml_attribute: bool = False
    xml_namespace: Any = None
    timestamp_format: str | None = None
    streaming: bool = False


class ErrorTrait(msgspec.Struct, rename="camel", frozen=True):
    """What an exception shape says of its code and status."""

    code: str | None = None
    http_status_code: int | None = None
    sender_fault: bool = False


class Shape(msgspec.Struct, rename="camel", frozen=True):
    """One shape of the model: a structure, list, map or scalar with its bounds."""

    type: str
    members: dict[str, Member] = {}
    required: tuple[str, ...] = ()
    payload: str | None = None
    member: Member | None = None
    key: Member | None = None
    value: Member | None = None
    flattened: bool = False
    min: float | None = None
    max: float | None = None
    pattern: str | None = None
    enum: tuple[str, ...] = ()
    union: bool = False
    document: bool = False
    eventstream: bool = False
    location_name: str | None = None
    xml_namespace: Any = None
    timestamp_format: str | None = None
    exception: bool = False
    fault: bool = False
    error: ErrorTrait | None = None


class Http(msgspec.Struct, rename="camel", frozen=True):
    """Method, URI template and status of an operation."""

    method: str = "POST"
    request_uri: str = "/"
    response_code: int = 200


class ShapeRef(msgspec.Struct, rename="camel", frozen=True):
    """The input or output of an operation."""

    shape: str
    result_wrapper: str | None = None
    location_name: str | None = None
    xml_namespace: Any = None


class Operation(msgspec.Struct, rename="camel", frozen=True):
    """One operation of a service."""

    http: Http
    input: ShapeRef | None = None
    output: ShapeRef | None = None
    deprecated: bool = False


class Metadata(msgspec.Struct, rename="camel", frozen=True):
    """What the service says of itself."""

    api_version: str
    protocol: str
    endpoint_prefix: str
    signing_name: str | None = None
    target_prefix: str | None = None
    json_version: str | None = None
    service_full_name: str = ""
    xml_namespace: Any = None


class ServiceModel(msgspec.Struct, frozen=True):
    """A whole service: operations by name, shapes by name."""

    metadata: Metadata
    operations: dict[str, Operation]
    shapes: dict[str, Shape]

    def input_shape(self, operation: str) -> Shape:
        """The shape of what `operation` takes; an empty structure when it takes nothing."""
        ref = self.operations[operation].input
        return self.shapes[ref.shape] if ref else EMPTY

    def output_shape(self, operation: str) -> Shape:
        """The shape of what `operation` gives; an empty structure when it gives nothing."""
        ref = self.operations[operation].output
        return self.shapes[ref.shape] if ref else EMPTY


EMPTY = Shape(type="structure")


@lru_cache(maxsize=1)
def model_folder() -> Path:
    """The folder of service models that botocore ships. Raises `RuntimeError` when botocore is not installed."""
    spec = importlib.util.find_spec("botocore")
    if spec is None or spec.origin is None:
        raise RuntimeError("botocore is not installed; its service models are needed: pip install botocore")
    return Path(spec.origin).parent / "data"


@lru_cache(maxsize=64)
def read_model(service: str) -> ServiceModel:
    """The newest model of `service` (botocore's name of it, e.g. "batch"). Raises `LookupError` for an unknown service."""
    # The name may come from a request: it must not become a path.
    if not re.fullmatch(r"[a-z0-9-]{1,64}", service):
        raise LookupError(f"{service[:64]!r} is no name of a service")
    folder = model_folder() / service
    versions = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not versions:
        raise LookupError(f"botocore has no model of a service named {service!r}")
    packed = versions[-1] / "service-2.json.gz"
    text = gzip.decompress(packed.read_bytes()) if packed.exists() else (versions[-1] / "service-2.json").read_bytes()
    return msgspec.json.decode(text, type=ServiceModel)


def namespace_uri(xml_namespace: Any) -> str | None:
    """The URI of an `xmlNamespace` trait, which is written as a string or as an object with `uri`."""
    if isinstance(xml_namespace, dict):
        uri = xml_namespace.get("uri")
        return str(uri) if uri else None
    return str(xml_namespace) if xml_namespace else None
