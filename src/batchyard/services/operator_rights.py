"""Who may ask what only an operator may ask."""

from __future__ import annotations

from batchyard.model.fault import Fault
from batchyard.services import Caller


def root_only(caller: Caller) -> None:
    """Raise AccessDeniedException for anybody but the root key's holder: a job's credentials get nowhere here."""
    if not caller.is_root:
        raise Fault("AccessDeniedException", f"User: {caller.arn} is not authorized to perform: batchyard operations.")
