"""What the API of CloudWatch Logs keeps as documents: resource policies and saved queries."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.logs.insights_language import read_query
from batchyard.services.logs.names import refusal
from batchyard.services.logs.tokens import seal, unseal
from batchyard.services.shelved import changed
from batchyard.store.shelf import Document, Drawer, Place

Answer = TypeVar("Answer")

POLICIES_MAX = 10
POLICY_BYTES_MAX = 5120


async def put_resource_policy(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, PutResourcePolicy. Kept and given back: no service writes into logs by such a policy here."""
    text: str = params.get("policyDocument", "")
    name, arn = str(params.get("policyName", "")), str(params.get("resourceArn", ""))
    if not text or (not name and not arn):
        raise refusal("policyDocument and policyName (or resourceArn) are required")
    if len(text.encode()) > POLICY_BYTES_MAX:
        raise refusal(f"policyDocument: at most {POLICY_BYTES_MAX} bytes")
    try:
        is_policy = isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        is_policy = False
    if not is_policy:
        raise refusal("policyDocument: this is no JSON policy")

    def change(drawer: Drawer) -> Document:
        found = drawer.get("policy", arn or name)
        if found is None and len(drawer.all("policy")) >= POLICIES_MAX:
            raise Fault("LimitExceededException", "Resource limit exceeded.")
        _check_revision(found, params)
        policy = {"policyName": name or arn, "policyDocument": text, "lastUpdatedTime": drawer.now_ms, "revisionId": uuid.uuid4().hex}
        policy |= {"policyScope": "RESOURCE", "resourceArn": arn} if arn else {"policyScope": "ACCOUNT"}
        drawer.put("policy", arn or name, policy)
        return policy

    policy = await _changed(desk, caller, change)
    return {"resourcePolicy": policy, "revisionId": policy["revisionId"]}


async def describe_resource_policies(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DescribeResourcePolicies."""
    scope, arn = params.get("policyScope", "ACCOUNT" if "resourceArn" not in params else "RESOURCE"), params.get("resourceArn")
    policies = [
        policy
        for policy in await _looked(desk, caller, lambda drawer: drawer.all("policy"))
        if policy["policyScope"] == scope and arn in (None, policy.get("resourceArn"))
    ]
    return _page(policies, params, "resourcePolicies", params.get("limit", 50), ("DescribeResourcePolicies", scope))


async def delete_resource_policy(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DeleteResourcePolicy."""
    name = params.get("resourceArn") or params.get("policyName") or ""

    def change(drawer: Drawer) -> None:
        found = drawer.get("policy", name)
        if found is None:
            raise Fault("ResourceNotFoundException", f"Policy with name [{name}] does not exist.")
        _check_revision(found, params)
        drawer.delete("policy", name)

    await _changed(desk, caller, change)
    return {}


async def put_query_definition(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, PutQueryDefinition: a query under a name; one that could not be run here is refused."""
    if params.get("queryLanguage", "CWLI") != "CWLI" or params.get("parameters"):
        raise refusal("queryLanguage, parameters: only plain queries of Insights (CWLI) can be saved here")
    read_query(params["queryString"])
    kept: Document = {name: params[name] for name in ("name", "queryString", "logGroupNames") if name in params}

    def change(drawer: Drawer) -> str:
        wanted = params.get("queryDefinitionId")
        if wanted and drawer.get("query", wanted) is None:
            raise Fault("ResourceNotFoundException", "The specified query definition does not exist.")
        made = wanted or str(uuid.uuid4())
        drawer.put("query", made, {**kept, "queryLanguage": "CWLI", "queryDefinitionId": made, "lastModified": drawer.now_ms})
        return made

    return {"queryDefinitionId": await _changed(desk, caller, change)}


async def describe_query_definitions(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DescribeQueryDefinitions: by name."""
    prefix = params.get("queryDefinitionNamePrefix", "")
    found = await _looked(desk, caller, lambda drawer: drawer.all("query"))
    wanted = sorted((each for each in found if each["name"].startswith(prefix)), key=lambda each: each["name"])
    return _page(wanted, params, "queryDefinitions", params.get("maxResults", 1000), ("DescribeQueryDefinitions", prefix))


async def delete_query_definition(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DeleteQueryDefinition."""

    def change(drawer: Drawer) -> None:
        if drawer.get("query", params["queryDefinitionId"]) is None:
            raise Fault("ResourceNotFoundException", "The specified query definition does not exist.")
        drawer.delete("query", params["queryDefinitionId"])

    await _changed(desk, caller, change)
    return {"success": True}


def _check_revision(found: Document | None, params: Params) -> None:
    expected = params.get("expectedRevisionId")
    if expected and (found or {}).get("revisionId") != expected:
        raise Fault("OperationAbortedException", "The policy has another revision than the expected one: read it again.")


def _page(found: list[Document], params: Params, member: str, limit: int, purpose: tuple[Any, ...]) -> Params:
    start = unseal(params["nextToken"], int, purpose=purpose)[0] if "nextToken" in params else 0
    answer: Params = {member: found[start : start + limit]}
    if start + limit < len(found):
        answer["nextToken"] = seal(start + limit, purpose=purpose)
    return answer


def place_of(caller: Caller) -> Place:
    """Where the documents of a caller's account and region stand."""
    return Place("logs", caller.account, caller.region)


async def _changed(desk: Any, caller: Caller, change: Callable[[Drawer], Answer]) -> Answer:
    return await changed(desk, place_of(caller), change)  # type: ignore[no-any-return]


async def _looked(desk: Any, caller: Caller, look: Callable[[Drawer], Answer]) -> Answer:
    return await asyncio.to_thread(desk.shelf.look, place_of(caller), look)
