"""One AWS service as it looks on the wire: requests become plain dicts in AWS spelling, results become responses."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import unquote_plus

from batchyard.model.fault import Fault
from batchyard.wire import errors
from batchyard.wire.bindings import Bindings, Router
from batchyard.wire.http import HttpRequest, HttpResponse
from batchyard.wire.query import decode_query, encode_query, parse_form
from batchyard.wire.restjson import JsonBodies, encode_json
from batchyard.wire.restxml import decode_body, encode_body
from batchyard.wire.servicemodel import ServiceModel, Shape, read_model
from batchyard.wire.validation import Checker, Problems
from batchyard.wire.xmlshapes import BadValue, XmlWriter

_ACTION = re.compile(r"(?:^|&)Action=([^&]*)")
_JSON_TYPES = ("application/json", "application/x-amz-json-")
_FORMS = ("query", "ec2")
_FORM_TYPE = "application/x-www-form-urlencoded"


class Service:
    """The codecs of one service, each compiled at its first use."""

    def __init__(self, name: str, model: ServiceModel) -> None:
        self.name = name
        self.model = model
        self.protocol = errors.protocol_of(model)
        self.operations = tuple(model.operations)
        self.validation_code = errors.validation_code(name, self.protocol)
        self.malformed_code = errors.malformed_code(name, self.protocol)
        self._checker = Checker(model, numbers_as_text=self.protocol == "rest-json")
        self._json = JsonBodies(model, self._checker, self.malformed_code, self.validation_code)
        self._bindings = Bindings(model, self._checker)
        self._bound_inputs = {name for name in model.operations if _is_bound(model.input_shape(name))}
        self._raw_inputs = {name for name in self._bound_inputs if _is_raw(model, model.input_shape(name))}
        self._plain_outputs = {name for name in model.operations if not _is_bound(model.output_shape(name))}

    @cached_property
    def xml(self) -> XmlWriter:
        """The writers of this service's XML."""
        return XmlWriter(self.model, millis=self.name == "s3")

    @cached_property
    def _router(self) -> Router:
        return Router(self.model)

    # ---- requests -----------------------------------------------------------------------------------------------

    def match(self, request: HttpRequest, body: bytes = b"") -> tuple[str, dict[str, str]]:
        """(operation, path labels). The query protocol names the operation in its form, hence `body`.

        Raises `Fault("UnknownOperationException")` when the request names none.
        """
        if self.protocol == "json":
            operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
            asked = operation or "nothing: the X-Amz-Target header is missing"
        elif self.protocol in _FORMS:
            operation = asked = action_of(request, body) or ""
        else:
            try:
                matched = self._router.match(request)
            except ValueError as error:
                raise Fault(self.malformed_code, "The path or query string of the request is not UTF-8.") from error
            if matched is not None:
                return matched
            operation, asked = "", f"{request.method} {request.raw_path[:128]}"
        if operation in self.model.operations:
            return operation, {}
        raise Fault("UnknownOperationException", _unknown(self, asked))

    def decode(self, operation: str, request: HttpRequest, body: bytes) -> dict[str, Any]:
        """The members of `operation`'s input, in AWS spelling, types and bounds checked as the model has them.

        Timestamps are float epoch seconds, blobs bytes. Raises a `Fault` with the service's code naming the field and the fix.
        """
        if self.protocol in _FORMS:
            return self._decode_query(operation, request, body)
        if self.protocol == "rest-xml":
            params = decode_body(self, operation, body)
        else:
            if body and operation not in self._raw_inputs:
                self._require_json(request)
            params = self._json.decode(operation, body)
        if operation in self._bound_inputs:
            params.update(self._decode_bound(operation, request))
        return params

    def check(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """What `decode` gives, for parameters that never were on the wire. Blobs may be bytes already. Raises the same `Fault`s."""
        checked, problems = self._checker.check(self.model.input_shape(operation), params)
        self._json.refuse(problems)
        return checked  # type: ignore[no-any-return]

    def _decode_bound(self, operation: str, request: HttpRequest) -> dict[str, Any]:
        problems = Problems()
        matched = self._router.match(request)
        labels = matched[1] if matched is not None else {}
        try:
            bound = self._bindings.decode(self.model.input_shape(operation), request, labels, problems)
        except (BadValue, ValueError) as error:
            raise Fault(self.validation_code, str(error)) from error
        self._json.refuse(problems)
        return bound

    def _decode_query(self, operation: str, request: HttpRequest, body: bytes) -> dict[str, Any]:
        kind = request.headers.get("content-type", _FORM_TYPE)
        if body and not kind.lower().startswith(_FORM_TYPE):
            raise Fault(self.malformed_code, f"Content-Type {kind[:64]!r} is not understood; send {_FORM_TYPE}.")
        try:
            fields = parse_form(request.raw_query) | parse_form(body)
        except ValueError as error:
            raise Fault(self.malformed_code, f"The form of the request could not be read: {error}") from error
        try:
            value = decode_query(self.model, operation, fields)
        except BadValue as error:
            raise Fault(self.validation_code, str(error)) from error
        params, problems = self._checker.check(self.model.input_shape(operation), value)
        if problems:
            raise Fault(self.validation_code, problems.message)
        return params  # type: ignore[no-any-return]

    def _require_json(self, request: HttpRequest) -> None:
        """A body that says it is something else is not guessed at. It also keeps web pages from posting to a server without
        signatures: a browser sends JSON to a foreign server only after asking it, and is not answered."""
        kind = request.headers.get("content-type", "")
        if kind.startswith(_JSON_TYPES):
            return
        if not kind.lower().startswith(_JSON_TYPES):
            wanted = "application/json" if self.protocol == "rest-json" else "application/x-amz-json-1.1"
            said = f"Content-Type {kind[:64]!r}" if kind else "A body without Content-Type"
            raise Fault("UnsupportedMediaTypeException", f"{said} is not understood; send {wanted}.")

    # ---- responses ----------------------------------------------------------------------------------------------

    def encode(self, operation: str, result: dict[str, Any], request_id: str) -> HttpResponse:
        """The response that carries `result` (AWS spelling) in the service's language."""
        if self.protocol == "json":
            headers = {"x-amzn-requestid": request_id, "content-type": "application/x-amz-json-1.1"}
            # json 1.1 answers nothing at all when the model has no output.
            has_output = self.model.operations[operation].output is not None
            return HttpResponse(200, headers, encode_json(result) if has_output else b"")
        if self.protocol in _FORMS:
            body = encode_query(self.model, self.xml, operation, result, request_id)
            return HttpResponse(200, {"x-amzn-requestid": request_id, "content-type": "text/xml"}, body)
        status = self.model.operations[operation].http.response_code
        if self.protocol == "rest-json" and operation in self._plain_outputs:
            headers = {"x-amzn-requestid": request_id, "content-type": "application/json"}
            return HttpResponse(status, headers, encode_json(result))
        return self._encode_bound(operation, result, request_id, status)

    def _encode_bound(self, operation: str, result: dict[str, Any], request_id: str, status: int) -> HttpResponse:
        shape = self.model.output_shape(operation)
        own_status, bound, rest = self._bindings.encode(shape, result)
        status = own_status or status
        if self.protocol == "rest-xml":
            headers = {"x-amz-request-id": request_id, "x-amz-id-2": errors.host_id(request_id)}
            body, kind = encode_body(self, operation, result), "application/xml"
        else:
            headers = {"x-amzn-requestid": request_id}
            body, kind = _payload_json(rest, shape.payload), "application/json"
        if body and status != 204:
            headers["content-type"] = kind
        return HttpResponse(status, headers | bound, b"" if status == 204 else body)

    def encode_fault(self, fault: Fault, request_id: str) -> HttpResponse:
        """The response that tells of `fault`."""
        return errors.encode_fault(self.name, self.model, self.protocol, fault, request_id)


def _payload_json(rest: dict[str, Any], payload: str | None) -> bytes:
    value = rest if payload is None else rest.get(payload)
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return b"" if value is None else encode_json(value)


def _is_bound(shape: Shape) -> bool:
    return shape.payload is not None or any(member.location is not None for member in shape.members.values())


def _is_raw(model: ServiceModel, shape: Shape) -> bool:
    """Whether the body is one member that is no JSON."""
    return shape.payload is not None and model.shapes[shape.members[shape.payload].shape].type in ("blob", "string")


def action_of(request: HttpRequest, body: bytes) -> str | None:
    """The `Action` that a query or form names."""
    found = _ACTION.search(body[:65536].decode("latin-1")) or _ACTION.search(request.raw_query)
    return unquote_plus(found[1]) if found else None


def _unknown(service: Service, asked: str) -> str:
    if service.protocol in _FORMS:
        return f"The action {asked[:128]} is not valid for this web service."
    return f"{service.model.metadata.service_full_name} has no operation for {asked[:160]}."


@lru_cache(maxsize=64)
def load(name: str) -> Service:
    """The service that botocore calls `name`: "batch", "logs", "sts", "s3" ... Raises `LookupError` for an unknown one."""
    return Service(name, read_model(name))


def check(service: Service, operation: str, result: dict[str, Any]) -> list[str]:
    """What is wrong with `result` as an answer of `operation`: members that the model does not know, wrong types, values
    outside an enum. Empty when all is well; bounds and required members are left out, since AWS itself does not keep them
    (JobDetail.startedAt)."""
    found: list[str] = []
    _check_value(service.model, service.model.output_shape(operation), result, operation, found)
    return found


_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list, tuple),
    "string": (str,),
    "character": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
    "blob": (bytes,),
}


def _check_value(model: ServiceModel, shape: Any, value: Any, path: str, found: list[str]) -> None:
    wanted: Any = _PYTHON_TYPES[shape.type]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        found.append(f"{path}: expected {shape.type}, got {type(value).__name__}")
    elif shape.type == "structure":
        for name, inner in value.items():
            member = shape.members.get(name)
            if member is None:
                found.append(f"{path}.{name}: the model has no such member")
            elif not member.streaming:
                _check_value(model, model.shapes[member.shape], inner, f"{path}.{name}", found)
    elif shape.type == "list":
        for index, inner in enumerate(value):
            _check_value(model, model.shapes[shape.member.shape], inner, f"{path}[{index}]", found)
    elif shape.type == "map":
        for key, inner in value.items():
            _check_value(model, model.shapes[shape.key.shape], key, f"{path} key", found)
            _check_value(model, model.shapes[shape.value.shape], inner, f"{path}.{key}", found)
    elif shape.enum and value not in shape.enum:
        found.append(f"{path}: {value!r} is not one of {', '.join(shape.enum)}")
