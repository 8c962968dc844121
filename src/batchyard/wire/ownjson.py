"""The service's own routes, which AWS has no words for: `POST /batchyard/v1/<verb>`, JSON both ways, faults as Batch writes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from batchyard.model.fault import Fault
from batchyard.wire.errors import STATUS
from batchyard.wire.http import HttpRequest, HttpResponse
from batchyard.wire.restjson import encode_json
from batchyard.wire.routes import OWN, OWN_PATH


class OwnService:
    """The same face as `shapes.Service`, without a model: each handler checks its own few parameters."""

    def __init__(self, operations: Iterable[str]) -> None:
        self.name = OWN
        self.operations = tuple(operations)

    def match(self, request: HttpRequest, body: bytes = b"") -> tuple[str, dict[str, str]]:
        """(verb, no labels). Raises `Fault("UnknownOperationException")`."""
        verb = request.raw_path.removeprefix(OWN_PATH)
        if verb in self.operations and request.method == "POST":
            return verb, {}
        raise Fault("UnknownOperationException", f"Batchyard has no route {request.method} {request.raw_path[:128]}.")

    def decode(self, operation: str, request: HttpRequest, body: bytes) -> dict[str, Any]:
        """The object in the body; an empty body counts as `{}`. Null members are absent. Raises `Fault("ClientException")`."""
        if body and not request.headers.get("content-type", "").startswith("application/json"):
            raise Fault("UnsupportedMediaTypeException", "Send the body as application/json.")
        try:
            params = msgspec.json.decode(body or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Fault("ClientException", "The body of the request could not be read as JSON.") from error
        if not isinstance(params, dict):
            raise Fault("ClientException", "The body of the request must be a JSON object, like {}.")
        return {name: value for name, value in params.items() if value is not None}

    def encode(self, operation: str, result: dict[str, Any], request_id: str) -> HttpResponse:
        """`result` as JSON."""
        headers = {"x-amzn-requestid": request_id, "content-type": "application/json"}
        return HttpResponse(200, headers, encode_json(result))

    def encode_fault(self, fault: Fault, request_id: str) -> HttpResponse:
        """The fault in the form of rest-json."""
        headers = {"x-amzn-requestid": request_id, "content-type": "application/json", "x-amzn-errortype": fault.code}
        body = msgspec.json.encode({"message": fault.message, **fault.fields})
        return HttpResponse(STATUS.get(fault.code, 400), headers, body)
