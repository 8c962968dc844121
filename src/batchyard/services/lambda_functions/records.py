"""Functions as documents on the shelf, and how they are shown."""

from __future__ import annotations

import time
import uuid
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.lambda_functions.names import LATEST, Named, arn_of, named, not_found
from batchyard.store.shelf import Document, Drawer

KIND = "function"
CODE = "code"
# Members of the configuration that are kept as they were asked for and shown again.
_SHOWN = ("VpcConfig", "KMSKeyArn")


def require(drawer: Drawer, caller: Caller, asked: str, qualifier: str | None = None) -> Document:
    """The function that a request names. ResourceNotFoundException, also for a version other than $LATEST: none is ever published here."""
    return require_named(drawer, caller, named(caller, asked, qualifier))


def require_named(drawer: Drawer, caller: Caller, wanted: Named) -> Document:
    """As `require`, of a name that was read already."""
    document = drawer.get(KIND, wanted.name)
    if document is None or wanted.qualifier not in ("", LATEST):
        raise not_found(arn_of(caller, wanted.name) + (f":{wanted.qualifier}" if wanted.qualifier else ""))
    return document


def check_revision(document: Document, wanted: str | None, kept: str = "revision") -> None:
    """PreconditionFailedException when the caller has seen another revision than there is."""
    if wanted and wanted != document.get(kept):
        raise Fault(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest "
            "Revision Id",
            Type="User",
        )


def touched(document: Document, now_ms: int) -> Document:
    """The function as changed now."""
    return {**document, "modified_at_ms": now_ms, "revision": str(uuid.uuid4())}


def log_group_of(document: Document) -> str:
    """Where a function's output goes."""
    asked = document["settings"].get("LoggingConfig", {}).get("LogGroup")
    return str(asked or f"/aws/lambda/{document['name']}")


def configuration(caller: Caller, document: Document, *, with_qualifier: bool = False) -> Params:
    """The members of FunctionConfiguration."""
    settings: dict[str, Any] = document["settings"]
    arn = arn_of(caller, document["name"])
    shown: Params = {
        "FunctionName": document["name"],
        "FunctionArn": f"{arn}:{LATEST}" if with_qualifier else arn,
        "Runtime": settings["Runtime"],
        "Role": settings["Role"],
        "Handler": settings["Handler"],
        "CodeSize": document["code_bytes"],
        "Description": settings.get("Description", ""),
        "Timeout": settings["Timeout"],
        "MemorySize": settings["MemorySize"],
        "LastModified": _iso(document["modified_at_ms"]),
        "CodeSha256": document["code_sha256"],
        "Version": LATEST,
        "TracingConfig": settings.get("TracingConfig", {"Mode": "PassThrough"}),
        "RevisionId": document["revision"],
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": document["architectures"],
        "EphemeralStorage": settings.get("EphemeralStorage", {"Size": 512}),
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": log_group_of(document)},
    }
    if settings.get("Environment", {}).get("Variables"):
        shown["Environment"] = settings["Environment"]
    for member in _SHOWN:
        if settings.get(member):
            shown[member] = settings[member]
    if "VpcConfig" in shown:
        shown["VpcConfig"] = {"SubnetIds": [], "SecurityGroupIds": [], **shown["VpcConfig"]}
    return shown


def _iso(at_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ms / 1000)) + f".{at_ms % 1000:03d}+0000"
