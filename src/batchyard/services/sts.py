"""AWS STS: who the caller is, and temporary credentials of roles and users."""

from __future__ import annotations

import json
from typing import Any

from batchyard.core.policies import Question, Verdict, context_of, decide, decide_within
from batchyard.core.policy_documents import Malformed, read_policy
from batchyard.model.fault import Fault
from batchyard.services import Caller, Handler, Params
from batchyard.services.iam.records import KEY, ROLE, find, policy_document
from batchyard.services.iam.standing import NOBODY, standing_of, trust_of
from batchyard.services.shelved import place_of
from batchyard.store.shelf import Document, Drawer

SESSION_S = 3600
USER_SESSION_S = 43_200


async def get_caller_identity(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, GetCallerIdentity: needs no permission."""
    return {"UserId": caller.user_id, "Account": caller.account, "Arn": caller.arn}


async def assume_role(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, AssumeRole: credentials that work until they expire. With IAM enforced the role must trust the caller."""
    _refuse_mfa(params)
    role = desk.shelf.look(_iam(caller), lambda drawer: _assumable(drawer, caller, params, is_enforced=desk.settings.enforce_iam))
    duration_s, name = params.get("DurationSeconds", SESSION_S), params["RoleSessionName"]
    if duration_s > role.get("max_session_s", SESSION_S):
        raise Fault("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    arn = f"arn:aws:sts::{caller.account}:assumed-role/{role['name']}/{name}"
    user_id = f"{role['id']}:{name}"
    policy = desk.shelf.look(_iam(caller), lambda drawer: _session_policy(drawer, params))
    credentials = _credentials(desk, caller.account, arn, user_id, duration_s, policy)
    answer: Params = {"Credentials": credentials, "AssumedRoleUser": {"AssumedRoleId": user_id, "Arn": arn}}
    if params.get("SourceIdentity"):
        answer["SourceIdentity"] = params["SourceIdentity"]
    return answer


def _iam(caller: Caller) -> Any:
    return place_of("iam", caller, is_global=True)


def _assumable(drawer: Drawer, caller: Caller, params: Params, *, is_enforced: bool) -> Document:
    """The role, if it is there and may be assumed. AccessDenied else, as on AWS: which of both is not told."""
    arn = params["RoleArn"]
    role = find(drawer, ROLE, arn.rpartition("/")[2])
    if role is None or role["arn"] != arn:
        raise _denied(caller, arn)
    if is_enforced and not caller.is_root and not _is_trusted(drawer, caller, role, params):
        raise _denied(caller, arn)
    return role


def _is_trusted(drawer: Drawer, caller: Caller, role: Document, params: Params) -> bool:
    """Named by itself in the trust policy, a caller of the same account needs no more; trusted as part of the account, its own policies
    must allow it as well (IAM User Guide, "Cross-account policy evaluation logic": the case within one account)."""
    external = {"sts:ExternalId": params["ExternalId"]} if params.get("ExternalId") else {}
    context = context_of({"aws:PrincipalArn": caller.arn, "sts:RoleSessionName": params["RoleSessionName"], **external})
    trust = trust_of(role["trust"])
    own = {("AWS", caller.arn), ("AWS", role_arn_of(drawer, caller.arn))}
    account = {("AWS", caller.account), ("AWS", f"arn:aws:iam::{caller.account}:root")}
    verdict = decide(trust, Question("sts:AssumeRole", context=context, principals=frozenset(own | account)))
    if verdict is not Verdict.ALLOWED:
        return False
    if decide(trust, Question("sts:AssumeRole", context=context, principals=frozenset(own))) is Verdict.ALLOWED:
        return True
    standing = standing_of(drawer, caller.arn) or NOBODY
    question = Question("sts:AssumeRole", role["arn"], context)
    return decide_within(standing.identity, question, standing.boundary) is Verdict.ALLOWED


def role_arn_of(drawer: Drawer, arn: str) -> str:
    """The ARN of the role behind a session; other principals are themselves."""
    if ":assumed-role/" not in arn:
        return arn
    role = find(drawer, ROLE, arn.split("/")[1])
    return role["arn"] if role else arn


def _denied(caller: Caller, arn: str) -> Fault:
    return Fault("AccessDenied", f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}")


def _session_policy(drawer: Drawer, params: Params) -> str:
    """What narrows the session, as the token carries it; "" when nothing does."""
    arns = [entry["arn"] for entry in params.get("PolicyArns", []) if entry.get("arn")]
    text = params.get("Policy", "")
    for arn in arns:
        if policy_document(drawer, arn) is None:
            raise Fault("ValidationError", f"PolicyArns: {arn} does not exist")
    if text:
        try:
            read_policy(text)
        except Malformed as error:
            raise Fault("MalformedPolicyDocument", str(error)) from None
    return json.dumps({"documents": [text] if text else [], "arns": arns}) if arns or text else ""


async def get_session_token(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, GetSessionToken: the caller's own rights for a time."""
    _refuse_mfa(params)
    if ":assumed-role/" in caller.arn:
        raise Fault("AccessDenied", "Cannot call GetSessionToken with session credentials")
    longest_s = SESSION_S if caller.is_root else USER_SESSION_S
    duration_s = min(params.get("DurationSeconds", longest_s), longest_s) if caller.is_root else params.get("DurationSeconds", longest_s)
    return {"Credentials": _credentials(desk, caller.account, caller.arn, caller.user_id, duration_s, "")}


async def get_access_key_info(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, GetAccessKeyInfo: of the keys of this folder; what temporary keys belong to, only their token tells."""
    key_id = params["AccessKeyId"]
    is_known = key_id == caller.access_key_id or desk.shelf.look(_iam(caller), lambda drawer: drawer.get(KEY, key_id)) is not None
    if not is_known:
        raise Fault("ValidationError", f"AccessKeyId: {key_id} is no key of a user of this account")
    return {"Account": caller.account}


def _credentials(desk: Any, account: str, arn: str, user_id: str, duration_s: int, policy: str) -> Params:
    expires_s = desk.now_ms() // 1000 + duration_s
    access_key_id, secret, token = desk.keys.mint_session(account, arn, user_id, expires_s, policy)
    return {"AccessKeyId": access_key_id, "SecretAccessKey": secret, "SessionToken": token, "Expiration": float(expires_s)}


def _refuse_mfa(params: Params) -> None:
    for member in ("SerialNumber", "TokenCode", "ProvidedContexts"):
        if params.get(member):
            raise Fault("ValidationError", f"{member}: there are no MFA devices or identity contexts here; leave it out")


OPERATIONS: dict[str, Handler] = {
    "AssumeRole": assume_role,
    "GetAccessKeyInfo": get_access_key_info,
    "GetCallerIdentity": get_caller_identity,
    "GetSessionToken": get_session_token,
}

_FEDERATION = "there is no identity federation"
NOT_YET: dict[str, str] = {
    "AssumeRoleWithSAML": _FEDERATION,
    "AssumeRoleWithWebIdentity": _FEDERATION,
    "AssumeRoot": "there are no member accounts",
    "DecodeAuthorizationMessage": "refusals carry no encoded message: they say in plain words what is missing",
    "GetDelegatedAccessToken": "there is no delegation of access",
    "GetFederationToken": _FEDERATION,
    "GetWebIdentityToken": _FEDERATION,
}
