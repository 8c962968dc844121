"""AWS STS: who the caller is."""

from __future__ import annotations

from typing import Any

from batchyard.services import Caller, Handler, Params


async def get_caller_identity(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, GetCallerIdentity: needs no permission."""
    return {"UserId": caller.user_id, "Account": caller.account, "Arn": caller.arn}


OPERATIONS: dict[str, Handler] = {"GetCallerIdentity": get_caller_identity}

_ROLES = "roles cannot be assumed yet: use the credentials that the server or the job's environment gives"
NOT_YET: dict[str, str] = {
    "AssumeRole": _ROLES,
    "AssumeRoleWithSAML": "there is no identity federation",
    "AssumeRoleWithWebIdentity": "there is no identity federation",
    "AssumeRoot": "there are no member accounts",
    "DecodeAuthorizationMessage": "refusals carry no encoded message: they say in plain words what is missing",
    "GetAccessKeyInfo": "access keys of other accounts are not known here",
    "GetDelegatedAccessToken": "there is no delegation of access",
    "GetFederationToken": "there is no identity federation",
    "GetSessionToken": "temporary credentials are made for jobs only",
    "GetWebIdentityToken": "there is no identity federation",
}
