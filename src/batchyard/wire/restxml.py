"""S3's language: XML bodies whose members may also travel in the path, the query and the headers."""

from __future__ import annotations

from typing import Any, Protocol

from batchyard.model.fault import Fault
from batchyard.wire.servicemodel import ServiceModel, Shape, namespace_uri
from batchyard.wire.xmlshapes import BadValue, XmlWriter, read_structure, read_value
from batchyard.wire.xmltree import NotXml, escape, parse_xml

S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

# S3's root elements are not named after the output shapes, botocore's model does not tell them, and the AWS common
# runtime looks for them by name. (S3 API reference, response syntax of each operation)
ROOTS = {
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "CreateSession": "CreateSessionResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "GetBucketAcl": "AccessControlPolicy",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketLifecycle": "LifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLocation": "LocationConstraint",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketNotification": "NotificationConfiguration",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetObjectAcl": "AccessControlPolicy",
    "GetObjectAttributes": "GetObjectAttributesResponse",
    "GetObjectTagging": "Tagging",
    "ListBucketAnalyticsConfigurations": "ListBucketAnalyticsConfigurationResult",
    "ListBucketInventoryConfigurations": "ListInventoryConfigurationsResult",
    "ListBucketMetricsConfigurations": "ListMetricsConfigurationsResult",
    "ListBuckets": "ListAllMyBucketsResult",
    "ListDirectoryBuckets": "ListAllMyDirectoryBucketsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListParts": "ListPartsResult",
}


class XmlService(Protocol):
    """A service with its model and the XML writers compiled from it, as `shapes.load` gives it."""

    @property
    def model(self) -> ServiceModel: ...
    @property
    def xml(self) -> XmlWriter: ...


def decode_body(service: XmlService, operation: str, xml_bytes: bytes) -> dict[str, Any]:
    """What the body of a request says, in the spelling of `operation`'s input: for DeleteObjects `{"Delete": {...}}`.

    An empty body gives `{}`. A payload that is text or bytes (PutBucketPolicy) comes as such under its member's name. Timestamps
    are float epoch seconds, blobs bytes; unknown elements are ignored. Raises `Fault("MalformedXML")` naming place and reason.
    """
    model = service.model
    shape = model.input_shape(operation)
    if not xml_bytes:
        return {}
    try:
        if shape.payload is None:
            return read_structure(model, shape, parse_xml(xml_bytes))
        member = shape.members[shape.payload]
        kind = model.shapes[member.shape].type
        if kind == "blob":
            return {shape.payload: xml_bytes}
        if kind == "string":
            return {shape.payload: xml_bytes.decode()}
        value = read_value(model, member, parse_xml(xml_bytes), shape.payload)
        return {shape.payload: _require(model, value, member.shape, shape.payload)}
    except (NotXml, BadValue, UnicodeDecodeError) as error:
        raise malformed(str(error)) from error


def malformed(reason: str) -> Fault:
    """S3's words for a body it cannot read, followed by the place and the reason."""
    return Fault(
        "MalformedXML",
        f"The XML you provided was not well-formed or did not validate against our published schema: {reason}",
    )


def _require(model: ServiceModel, value: Any, shape_name: str, at: str) -> Any:
    """`value` again, if nothing required is missing anywhere in it."""
    shape = model.shapes[shape_name]
    if shape.type == "structure":
        for name in shape.required:
            if name not in value:
                raise BadValue(at, f"element {name} is required")
        for name, inner in value.items():
            _require(model, inner, shape.members[name].shape, f"{at}.{name}")
    elif shape.type == "list" and shape.member is not None:
        for index, inner in enumerate(value):
            _require(model, inner, shape.member.shape, f"{at}[{index}]")
    return value


def encode_body(service: XmlService, operation: str, result: dict[str, Any]) -> bytes:
    """The body that `result` makes, `b""` when `operation` has none. Members that travel in headers are left out.

    `result` is in AWS spelling; timestamps are float epoch seconds, blobs bytes.
    """
    model = service.model
    shape = model.output_shape(operation)
    if operation == "GetBucketLocation":
        # The one S3 answer whose root element is itself the value.
        where = escape(result.get("LocationConstraint") or "")
        return f'{XML_DECLARATION}<LocationConstraint xmlns="{S3_NAMESPACE}">{where}</LocationConstraint>'.encode()
    if shape.payload is not None:
        return _payload(service.xml, shape, result)
    if not any(member.location is None for member in shape.members.values()):
        return b""
    root = ROOTS.get(operation) or shape.location_name or operation + "Result"
    parts = [f'{XML_DECLARATION}<{root} xmlns="{_namespace(model)}">']
    for name, write in service.xml.members(shape, "output of " + operation):
        value = result.get(name)
        if value is not None:
            write(parts, value)
    parts.append(f"</{root}>")
    return "".join(parts).encode()


def _namespace(model: ServiceModel) -> str:
    return namespace_uri(model.metadata.xml_namespace) or S3_NAMESPACE


def _payload(writer: XmlWriter, shape: Shape, result: dict[str, Any]) -> bytes:
    assert shape.payload is not None
    value = result.get(shape.payload)
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    member = shape.members[shape.payload]
    root = member.location_name or writer.model.shapes[member.shape].location_name or member.shape
    parts = [XML_DECLARATION]
    writer.writer(member, root)(parts, value)
    body = "".join(parts)
    if member.xml_namespace is None:
        opening = f"{XML_DECLARATION}<{root}"
        body = f'{opening} xmlns="{_namespace(writer.model)}"{body[len(opening) :]}'
    return body.encode()
