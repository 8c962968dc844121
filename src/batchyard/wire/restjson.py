"""JSON bodies, as rest-json (Batch) and json 1.1 (Logs) have them: bytes to a checked dict and a dict to bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from batchyard.model.fault import Fault
from batchyard.wire.jsontypes import JsonTypes
from batchyard.wire.servicemodel import ServiceModel
from batchyard.wire.validation import Checker, Problems

_plain_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class JsonBodies:
    """Decoders of one service's request bodies, each compiled at its first use."""

    def __init__(self, model: ServiceModel, checker: Checker, malformed_code: str, validation_code: str) -> None:
        self._model = model
        self._types = JsonTypes(model)
        self._checker = checker
        self._malformed_code = malformed_code
        self._validation_code = validation_code
        self._decoders: dict[str, tuple[msgspec.json.Decoder[Any], bool]] = {}

    def decode(self, operation: str, body: bytes) -> dict[str, Any]:
        """The members of `operation`'s input that travel in the body; an empty body counts as `{}`.

        Unknown members are ignored, null ones are absent, of a repeated key the last counts. Raises a `Fault` with the
        service's code that names the field and what it must be.
        """
        shape = self._model.input_shape(operation)
        if shape.payload is not None:
            return self._payload(operation, shape.payload, body)
        known = self._decoders.get(operation)
        if known is None:
            body_type, is_partial = self._types.body_type(operation)
            known = self._decoders[operation] = (msgspec.json.Decoder(body_type), is_partial)
        decoder, is_partial = known
        try:
            value = decoder.decode(body or b"{}")
            if not is_partial:
                return value  # type: ignore[no-any-return]
        except msgspec.ValidationError:
            pass
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.unreadable(error) from error
        return self._checked(operation, body or b"{}")

    def _checked(self, operation: str, body: bytes) -> dict[str, Any]:
        """The careful way: the same value with nulls dropped, or the fault that says what is wrong."""
        plain = self.plain(body)
        if not isinstance(plain, dict):
            raise Fault(self._malformed_code, "The body of the request must be a JSON object, like {}.")
        value, problems = self._checker.check(self._model.input_shape(operation), plain, only_body=True)
        self.refuse(problems)
        return value  # type: ignore[no-any-return]

    def _payload(self, operation: str, name: str, body: bytes) -> dict[str, Any]:
        """A body that is one member as a whole."""
        member_shape = self._model.shapes[self._model.input_shape(operation).members[name].shape]
        if not body:
            return {}
        if member_shape.type == "blob":
            return {name: body}
        if member_shape.type == "string":
            try:
                return {name: body.decode()}
            except UnicodeDecodeError as error:
                raise self.unreadable(error) from error
        value, problems = self._checker.check(member_shape, self.plain(body))
        self.refuse(problems)
        return {name: value}

    def plain(self, body: bytes) -> Any:
        """The body as whatever JSON value it is."""
        try:
            return _plain_decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.unreadable(error) from error

    def unreadable(self, error: Exception) -> Fault:
        """The fault for a body that is no JSON, or JSON that nobody should have to read."""
        if isinstance(error, RecursionError):
            reason = "it is nested too deeply"
        elif isinstance(error, UnicodeDecodeError):
            reason = "it is not UTF-8"
        else:
            reason = str(error)
        return Fault(self._malformed_code, f"The body of the request could not be read as JSON: {reason}")

    def refuse(self, problems: Problems) -> None:
        """Raises the fault for `problems`, if there are any."""
        if problems:
            raise Fault(self._malformed_code if problems.misfits else self._validation_code, problems.message)


def encode_json(result: dict[str, Any]) -> bytes:
    """`result` as JSON. Blobs become base64, timestamps are numbers already; a null member is left out, as AWS never sends one."""
    body = _encoder.encode(result)
    if b":null" in body:
        body = _encoder.encode(_without_nulls(result))
    return body


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value
