"""What goes wrong on purpose: a code for machines, a sentence for people.

Every refusal that a caller may see is a `Fault`. Anything else that escapes a handler is our bug: the door answers it with a
generic server fault and logs it.

    Fault
      a code (AWS's own exception name, e.g. "ClientException", "NoSuchKey", "ResourceNotFoundException")
      a message (AWS's own words where they are known, else: which field, what is wrong, how to mend it)
      fields (what an error body carries besides, e.g. S3's BucketName)

The map from codes to HTTP statuses is one table, in `wire/errors.py`.
"""

from __future__ import annotations


class Fault(Exception):
    """A refusal with AWS's exception name `code`, a sentence `message`, and further members of the error body in `fields`."""

    def __init__(self, code: str, message: str, **fields: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fields = fields

    def __repr__(self) -> str:
        return f"Fault({self.code!r}, {self.message!r})"


def client_fault(message: str) -> Fault:
    """AWS Batch's only modelled refusal of a user's mistake: `ClientException`, HTTP 400."""
    return Fault("ClientException", message)
