"""The account as a whole: its alias, its figures, and what its policies would say to a request."""

from __future__ import annotations

from batchyard.core.policies import Question, Statement, Verdict, context_of, decide, decide_within
from batchyard.core.policy_documents import Malformed, read_policy
from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.iam.records import GROUP, KEY, POLICY, PROFILE, ROLE, USER, invalid, malformed, paged
from batchyard.services.iam.standing import Standing, standing_of
from batchyard.store.shelf import Drawer

ALIAS = "alias"


def create_account_alias(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateAccountAlias: an account has one, a new one takes its place."""
    for name, _ in drawer.entries(ALIAS):
        drawer.delete(ALIAS, name)
    drawer.put(ALIAS, params["AccountAlias"], {})
    return {}


def delete_account_alias(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteAccountAlias."""
    if not drawer.delete(ALIAS, params["AccountAlias"]):
        raise Fault("NoSuchEntity", f"The account alias {params['AccountAlias']} cannot be found.")
    return {}


def list_account_aliases(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListAccountAliases."""
    return paged(params, [name for name, _ in drawer.entries(ALIAS)], str, "AccountAliases", str)


def get_account_summary(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetAccountSummary: what there is, and the quotas that are kept to."""
    figures = {
        "Users": len(drawer.entries(USER)),
        "Groups": len(drawer.entries(GROUP)),
        "Roles": len(drawer.entries(ROLE)),
        "Policies": len(drawer.entries(POLICY)),
        "InstanceProfiles": len(drawer.entries(PROFILE)),
        "AccessKeysPerUserQuota": 2,
        "VersionsPerPolicyQuota": 5,
        "AttachedPoliciesPerRoleQuota": 10,
        "AttachedPoliciesPerUserQuota": 10,
        "AttachedPoliciesPerGroupQuota": 10,
        "PolicySizeQuota": 6144,
        "AccountAccessKeysPresent": 1,
        "AccountMFAEnabled": 0,
        "MFADevices": 0,
        "ServerCertificates": 0,
        "Providers": 0,
    }
    return {"SummaryMap": figures}


def get_access_key_last_used(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetAccessKeyLastUsed. Uses are not recorded (reads never write): AWS's answer for a key that was not used."""
    key = drawer.get(KEY, params["AccessKeyId"])
    if key is None:
        raise Fault("NoSuchEntity", f"The Access Key with id {params['AccessKeyId']} cannot be found.")
    return {"UserName": key["user"], "AccessKeyLastUsed": {"ServiceName": "N/A", "Region": "N/A"}}


def simulate_principal_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, SimulatePrincipalPolicy."""
    standing = standing_of(drawer, params["PolicySourceArn"])
    if standing is None:
        raise Fault("NoSuchEntity", f"The principal {params['PolicySourceArn']} cannot be found.")
    extra = tuple(statement for text in params.get("PolicyInputList", []) for statement in _read(text))
    return _simulated(Standing(standing.identity + extra, standing.boundary), params, caller)


def simulate_custom_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, SimulateCustomPolicy."""
    return _simulated(Standing(tuple(statement for text in params["PolicyInputList"] for statement in _read(text))), params, caller)


def _read(text: str) -> tuple[Statement, ...]:
    try:
        return read_policy(text)
    except Malformed as error:
        raise malformed(error) from None


def _simulated(standing: Standing, params: Params, caller: Caller) -> Params:
    for member in ("ResourcePolicy", "PolicyExclusionList", "OrderedOrganizationPolicyInputList", "ResourceHandlingOption"):
        if params.get(member):
            raise invalid(f"{member} is not available in this version of Batchyard: leave it out.")
    boundaries = params.get("PermissionsBoundaryPolicyInputList") or []
    boundary = tuple(s for text in boundaries for s in _read(text)) if boundaries else standing.boundary
    context = context_of(
        {e["ContextKeyName"]: e.get("ContextKeyValues", []) for e in params.get("ContextEntries", []) if e.get("ContextKeyName")}
    )
    results: list[tuple[str, Params]] = []
    for action in params["ActionNames"]:
        for resource in params.get("ResourceArns") or ["*"]:
            question = Question(action, resource, context)
            result: Params = {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": str(decide_within(standing.identity, question, boundary)),
                "MatchedStatements": [],
                "MissingContextValues": [],
            }
            if boundary is not None:
                allowed = decide(boundary, question) is Verdict.ALLOWED
                result["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": allowed}
            results.append((f"{len(results):06}", result))
    return paged(params, results, lambda one: one[0], "EvaluationResults", lambda one: one[1])
