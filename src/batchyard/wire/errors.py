"""How refusals look on the wire: the one table from fault code to HTTP status, and the error body of each protocol.

Inside the house a fault carries one code. A few are AWS's own in one protocol and named otherwise in another; `_NAMES` holds
the other names, so that whoever raises them need not know which language the client speaks.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from batchyard.model.fault import Fault
from batchyard.wire.http import HttpResponse
from batchyard.wire.servicemodel import ServiceModel, namespace_uri
from batchyard.wire.xmltree import escape

Protocol = Literal["rest-json", "json", "query", "ec2", "rest-xml"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

# Codes of rest-json and query services. Those of a service's own model go before; what is not listed is 400.
STATUS = {
    "AccessDenied": 403,
    "AccessDeniedException": 403,
    "AuthFailure": 401,
    "DryRunOperation": 412,
    "ExpiredToken": 403,
    "ExpiredTokenException": 403,
    "IncompleteSignature": 403,
    "IncompleteSignatureException": 403,
    "InternalError": 500,
    "InternalFailure": 500,
    "InternalServerException": 500,
    "InvalidClientTokenId": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationToken": 403,
    "MissingAuthenticationTokenException": 403,
    "RequestEntityTooLargeException": 413,
    "RequestTimeoutException": 408,
    "ServerException": 500,
    "ServiceUnavailable": 503,
    "ServiceUnavailableException": 503,
    "SignatureDoesNotMatch": 403,
    "ThrottlingException": 429,
    "TooManyRequestsException": 429,
    "Unavailable": 503,
    "UnauthorizedOperation": 403,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 403,
    "UnsupportedMediaTypeException": 415,
}

# json 1.1 answers 400 to every mistake of a client, whatever it is called.
JSON_STATUS = {
    "InternalFailure": 500,
    "InternalServerException": 500,
    "RequestEntityTooLargeException": 413,
    "ServerException": 500,
    "ServiceUnavailable": 503,
    "ServiceUnavailableException": 503,
}

# S3's codes (S3 API reference, "List of error codes"); what is not listed is 400.
S3_STATUS = {
    "AccessControlListNotSupported": 400,
    "AccessDenied": 403,
    "AccountProblem": 403,
    "AllAccessDisabled": 403,
    "BucketAlreadyExists": 409,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "ConditionalRequestConflict": 409,
    "CrossLocationLoggingProhibited": 403,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidBucketState": 409,
    "InvalidObjectState": 403,
    "InvalidPartNumber": 416,
    "InvalidRange": 416,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchBucket": 404,
    "NoSuchBucketPolicy": 404,
    "NoSuchConfiguration": 404,
    "NoSuchCORSConfiguration": 404,
    "NoSuchKey": 404,
    "NoSuchLifecycleConfiguration": 404,
    "NoSuchPublicAccessBlockConfiguration": 404,
    "NoSuchTagSet": 404,
    "NoSuchUpload": 404,
    "NoSuchVersion": 404,
    "NoSuchWebsiteConfiguration": 404,
    "NotFound": 404,
    "NotImplemented": 501,
    "NotModified": 304,
    "ObjectLockConfigurationNotFoundError": 404,
    "OperationAborted": 409,
    "OwnershipControlsNotFoundError": 404,
    "PermanentRedirect": 301,
    "PreconditionFailed": 412,
    "ReplicationConfigurationNotFoundError": 404,
    "RequestTimeTooSkewed": 403,
    "ServerSideEncryptionConfigurationNotFoundError": 404,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "UnsupportedMediaType": 415,
}

# One code inside, several outside.
_NAMES: dict[Protocol, dict[str, str]] = {
    "rest-json": {},
    "json": {},
    "query": {
        "AccessDeniedException": "AccessDenied",
        "ExpiredTokenException": "ExpiredToken",
        "IncompleteSignatureException": "IncompleteSignature",
        "InvalidSignatureException": "SignatureDoesNotMatch",
        "MissingAuthenticationTokenException": "MissingAuthenticationToken",
        "ServiceUnavailableException": "ServiceUnavailable",
        "UnknownOperationException": "InvalidAction",
        "UnrecognizedClientException": "InvalidClientTokenId",
    },
    "ec2": {
        "AccessDeniedException": "UnauthorizedOperation",
        "ExpiredTokenException": "RequestExpired",
        "IncompleteSignatureException": "IncompleteSignature",
        "InternalFailure": "InternalError",
        "InvalidSignatureException": "AuthFailure",
        "MissingAuthenticationTokenException": "MissingAuthenticationToken",
        "ServiceUnavailableException": "Unavailable",
        "UnknownOperationException": "InvalidAction",
        "UnrecognizedClientException": "AuthFailure",
        "UnsupportedOperationException": "UnsupportedOperation",
    },
    "rest-xml": {
        "AccessDeniedException": "AccessDenied",
        "ExpiredTokenException": "ExpiredToken",
        "InternalFailure": "InternalError",
        "MissingAuthenticationTokenException": "AccessDenied",
        "RequestEntityTooLargeException": "EntityTooLarge",
        "RequestTimeoutException": "RequestTimeout",
        "ServiceUnavailableException": "ServiceUnavailable",
        "UnknownOperationException": "MethodNotAllowed",
    },
}

# What a service calls a request whose members miss the model's bounds, and one that cannot be read at all.
_VALIDATION = {
    "batch": "ClientException",
    "logs": "InvalidParameterException",
    "ecs": "InvalidParameterException",
    "ecr": "InvalidParameterException",
}
_MALFORMED = {"batch": "ClientException"}
_SERVER_FAULT = {"batch": "ServerException", "lambda": "ServiceException"}
_NOT_AVAILABLE = {"batch": "ClientException", "s3": "NotImplemented"}

_BY_PROTOCOL: dict[Protocol, tuple[str, str]] = {
    "rest-json": ("ValidationException", "SerializationException"),
    "json": ("ValidationException", "SerializationException"),
    "query": ("ValidationError", "MalformedQueryString"),
    "ec2": ("InvalidParameterValue", "MalformedQueryString"),
    "rest-xml": ("InvalidArgument", "MalformedXML"),
}


def protocol_of(model: ServiceModel) -> Protocol:
    """The protocol that a service speaks. Raises `LookupError` for one we do not know."""
    for protocol in PROTOCOLS:
        if protocol == model.metadata.protocol:
            return protocol
    raise LookupError(f"the protocol {model.metadata.protocol!r} is not spoken here")


def validation_code(service: str, protocol: Protocol) -> str:
    """The code for members that are missing, out of bounds or against their pattern."""
    return _VALIDATION.get(service) or _BY_PROTOCOL[protocol][0]


def malformed_code(service: str, protocol: Protocol) -> str:
    """The code for a body that cannot be read, or holds values of the wrong type."""
    return _MALFORMED.get(service) or _BY_PROTOCOL[protocol][1]


def server_fault(service: str) -> Fault:
    """What a client learns of a mistake of ours: that there was one."""
    return Fault(_SERVER_FAULT.get(service, "InternalFailure"), "An internal error occurred. Please try again.")


def disk_full(service: str) -> Fault:
    """The answer to a change that found no room on the disk: SDKs try again, and then show the message."""
    return Fault(
        _SERVER_FAULT.get(service, "ServiceUnavailableException"), "The disk of the service is full: free some space and try again."
    )


def not_available(service: str, operation: str, why: str) -> Fault:
    """The answer to an operation of AWS's model that is not served."""
    code = _NOT_AVAILABLE.get(service, "UnsupportedOperationException")
    reason = f" {why.rstrip('.')}." if why else ""
    return Fault(code, f"{operation} is not available in this version of Batchyard.{reason}")


def status_of(code: str, model: ServiceModel, protocol: Protocol) -> int:
    """The HTTP status of a fault: the service's own model first, then the table of its protocol, else 400."""
    modelled = model.shapes.get(code) or model.shapes.get(code + "Exception")
    if modelled is not None and modelled.exception:
        if modelled.error is not None and modelled.error.http_status_code is not None:
            return modelled.error.http_status_code
        if modelled.fault:
            return 500
    table = {"json": JSON_STATUS, "rest-xml": S3_STATUS}.get(protocol, STATUS)
    return table.get(code, 400)


def encode_fault(service: str, model: ServiceModel, protocol: Protocol, fault: Fault, request_id: str) -> HttpResponse:
    """The response that tells of `fault` in the language of `service`."""
    code = _NAMES[protocol].get(fault.code, fault.code)
    status = status_of(code, model, protocol)
    if protocol == "rest-xml":
        return _rest_xml(status, code, fault, request_id)
    if protocol == "ec2":
        return _ec2(status, code, fault, request_id)
    if protocol == "query":
        return _query(status, code, fault, request_id, model)
    headers = {"x-amzn-requestid": request_id, "content-type": "application/json"}
    body = {"message": fault.message, **fault.fields}
    if protocol == "rest-json":
        headers["x-amzn-errortype"] = code
    else:
        headers["content-type"] = "application/x-amz-json-1.1"
        body = {"__type": code, **body}
    return HttpResponse(status, headers, msgspec.json.encode(body))


def _query(status: int, code: str, fault: Fault, request_id: str, model: ServiceModel) -> HttpResponse:
    side = "Receiver" if status >= 500 else "Sender"
    fields = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in fault.fields.items())
    body = (
        f'<ErrorResponse xmlns="{namespace_uri(model.metadata.xml_namespace) or ""}">\n  <Error>\n    <Type>{side}</Type>\n'
        f"    <Code>{escape(code)}</Code>\n    <Message>{escape(fault.message)}</Message>{fields}\n  </Error>\n"
        f"  <RequestId>{request_id}</RequestId>\n</ErrorResponse>\n"
    )
    return HttpResponse(status, {"x-amzn-requestid": request_id, "content-type": "text/xml"}, body.encode())


def _ec2(status: int, code: str, fault: Fault, request_id: str) -> HttpResponse:
    """EC2 names its request id otherwise, and wraps its errors once more."""
    error = f"<Error><Code>{escape(code)}</Code><Message>{escape(fault.message)}</Message></Error>"
    body = f"{XML_DECLARATION}<Response><Errors>{error}</Errors><RequestID>{request_id}</RequestID></Response>"
    return HttpResponse(status, {"x-amzn-requestid": request_id, "content-type": "text/xml"}, body.encode())


def _rest_xml(status: int, code: str, fault: Fault, request_id: str) -> HttpResponse:
    headers = {"x-amz-request-id": request_id, "x-amz-id-2": host_id(request_id)}
    if status == 304:
        return HttpResponse(status, headers)
    headers["content-type"] = "application/xml"
    fields = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in fault.fields.items())
    body = (
        f"{XML_DECLARATION}<Error><Code>{escape(code)}</Code><Message>{escape(fault.message)}</Message>{fields}"
        f"<RequestId>{request_id}</RequestId><HostId>{host_id(request_id)}</HostId></Error>"
    )
    return HttpResponse(status, headers, body.encode())


def host_id(request_id: str) -> str:
    """S3's second request id: here it says no more than the first."""
    return f"batchyard/{request_id}"
