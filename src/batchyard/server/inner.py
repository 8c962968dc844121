"""The door inside the house: operations called by the steps of a stack, with the checks that a request from outside goes through."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from batchyard.model.fault import Fault
from batchyard.server.app import Authorize, S3Handler, ServiceModule
from batchyard.services import Caller
from batchyard.wire import errors, shapes
from batchyard.wire.http import HttpRequest

OBJECT_LIMIT = 8 * 1024 * 1024


class InnerDoor:
    """`await door(caller, "ec2", "CreateVpc", {...})`: check - authorize - call, and the answer in AWS spelling."""

    def __init__(self, desk: Any, services: Mapping[str, ServiceModule], s3: S3Handler, authorize: Authorize) -> None:
        self._desk = desk
        self._services = services
        self._s3 = s3
        self._authorize = authorize

    async def __call__(self, caller: Caller, service: str, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """What the operation answers. Raises its Fault, the same as a request over the wire gets."""
        caller = replace(caller, request_id=str(uuid.uuid4()))
        if service == "s3":
            return await self._of_s3(caller, operation, params)
        module = self._services[service]
        handler = module.OPERATIONS.get(operation)
        if handler is None:
            raise errors.not_available(service, operation, module.NOT_YET.get(operation, ""))
        asked = shapes.load(service).check(operation, dict(params))
        self._authorize(caller, service, operation, asked)
        return await handler(self._desk, caller, asked)

    async def _of_s3(self, caller: Caller, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """S3 speaks HTTP alone: botocore writes the request and reads the response. For small bodies."""
        request, shape = _request_of(operation, params)
        self._authorize(caller, "s3", request.method, request)
        response = await self._s3(self._desk, caller, request)
        body = response.body if isinstance(response.body, bytes) else await _whole(response.body)
        is_object = operation == "GetObject" and response.status < 300
        # What is in an object is not for the parser, which would take it for a text.
        whole = {"status_code": response.status, "headers": response.headers, "body": b"" if is_object else body}
        answer: dict[str, Any] = _parser().parse(whole, shape)
        if response.status >= 300:
            error = answer.get("Error", {})
            raise Fault(error.get("Code", "InternalError"), error.get("Message", ""))
        answer.pop("ResponseMetadata", None)
        if is_object:
            answer["Body"] = body
        return answer


def _request_of(operation: str, params: Mapping[str, Any]) -> tuple[HttpRequest, Any]:
    from urllib.parse import urlencode

    model = _s3_model().operation_model(operation)
    made = _serializer().serialize_to_request(dict(params), model)
    bucket = params.get("Bucket", "")
    path = made["url_path"]
    if bucket and not path.startswith(f"/{bucket}"):
        path = f"/{bucket}{path if path != '/' else ''}"
    path, _, flags = path.partition("?")
    query = "&".join(part for part in (flags, urlencode(made["query_string"])) if part)
    body: bytes = made["body"] or b""
    headers = {name.lower(): value for name, value in made["headers"].items()} | {"content-length": str(len(body)), "host": "s3"}
    return HttpRequest(made["method"], path, query, headers, _chunks(body)), model.output_shape


async def _whole(chunks: AsyncIterable[bytes]) -> bytes:
    """A body, in memory: one that is larger than what any step reads is refused, not gathered."""
    found: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > OBJECT_LIMIT:
            raise Fault("EntityTooLarge", f"The object is larger than {OBJECT_LIMIT} bytes.")
        found.append(chunk)
    return b"".join(found)


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


@lru_cache(maxsize=1)
def _s3_model() -> Any:
    import botocore.loaders
    import botocore.model

    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("s3", "service-2"))


@lru_cache(maxsize=1)
def _serializer() -> Any:
    import botocore.serialize

    return botocore.serialize.create_serializer("rest-xml", include_validation=False)


@lru_cache(maxsize=1)
def _parser() -> Any:
    import botocore.parsers

    return botocore.parsers.create_parser("rest-xml")
