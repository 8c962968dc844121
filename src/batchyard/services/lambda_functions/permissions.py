"""A function's resource policy: who besides its own account may invoke it, kept as statements that are added and removed one by one."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.lambda_functions.names import arn_of, invalid
from batchyard.services.lambda_functions.records import KIND, check_revision, require
from batchyard.store.shelf import Document, Drawer

_NO_POLICY = "The resource you requested does not exist."
POLICY_BYTES = 20_480


def add_permission(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, AddPermission."""
    document = require(drawer, caller, params["FunctionName"], params.get("Qualifier"))
    check_revision(document, params.get("RevisionId"), "policy_revision")
    sid, statements = params["StatementId"], document.get("policy", {})
    if sid in statements:
        raise Fault(
            "ResourceConflictException",
            f"The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the existing statement.",
            Type="User",
        )
    if not re.fullmatch(r"lambda:(\*|[a-zA-Z]+|\*)|\*", params["Action"]):
        raise invalid(f"Action: {params['Action']!r} is no action of Lambda; use lambda:InvokeFunction.")
    statement = _statement(caller, document, params)
    statements = {**statements, sid: statement}
    if len(_policy(statements)) > POLICY_BYTES:
        raise Fault("PolicyLengthExceededException", f"The final policy size is bigger than the limit ({POLICY_BYTES}).", Type="User")
    _put(drawer, document, statements)
    return {"Statement": json.dumps(statement, separators=(",", ":"))}


def _statement(caller: Caller, document: Document, params: Params) -> dict[str, Any]:
    principal = params["Principal"]
    shown: Any
    if principal == "*":
        shown = "*"
    elif re.fullmatch(r"\d{12}", principal):
        shown = {"AWS": f"arn:aws:iam::{principal}:root"}
    elif principal.startswith("arn:"):
        shown = {"AWS": principal}
    elif re.fullmatch(r"[a-z0-9.-]+\.amazon(aws)?\.com", principal):
        shown = {"Service": principal}
    else:
        raise invalid(f"The provided principal was invalid. Please check the principal and try again: {principal}")
    conditions: dict[str, dict[str, str]] = {}
    for member, operator, key in (
        ("SourceAccount", "StringEquals", "AWS:SourceAccount"),
        ("EventSourceToken", "StringEquals", "lambda:EventSourceToken"),
        ("PrincipalOrgID", "StringEquals", "aws:PrincipalOrgID"),
        ("FunctionUrlAuthType", "StringEquals", "lambda:FunctionUrlAuthType"),
        ("InvokedViaFunctionUrl", "Bool", "lambda:InvokedViaFunctionUrl"),
        ("SourceArn", "ArnLike", "AWS:SourceArn"),
    ):
        value = params.get(member)
        if value is not None:
            conditions.setdefault(operator, {})[key] = str(value).lower() if isinstance(value, bool) else value
    return {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": shown,
        "Action": params["Action"],
        "Resource": arn_of(caller, document["name"]),
        **({"Condition": conditions} if conditions else {}),
    }


def remove_permission(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, RemovePermission."""
    document = require(drawer, caller, params["FunctionName"], params.get("Qualifier"))
    statements = document.get("policy", {})
    if not statements:
        raise Fault("ResourceNotFoundException", "No policy is associated with the given resource.", Type="User")
    check_revision(document, params.get("RevisionId"), "policy_revision")
    if params["StatementId"] not in statements:
        raise Fault("ResourceNotFoundException", f"Statement {params['StatementId']} is not found in resource policy.", Type="User")
    _put(drawer, document, {sid: statement for sid, statement in statements.items() if sid != params["StatementId"]})
    return {}


def get_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetPolicy."""
    document = require(drawer, caller, params["FunctionName"], params.get("Qualifier"))
    if not document.get("policy"):
        raise Fault("ResourceNotFoundException", _NO_POLICY, Type="User")
    return {"Policy": _policy(document["policy"]), "RevisionId": document["policy_revision"]}


def _policy(statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": list(statements.values())}, separators=(",", ":"))


def _put(drawer: Drawer, document: Document, statements: dict[str, Any]) -> None:
    document["policy"], document["policy_revision"] = statements, str(uuid.uuid4())
    drawer.put(KIND, document["name"], document)
