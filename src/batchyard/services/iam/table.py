"""What answers each operation of this service: read with the first request for it."""

from __future__ import annotations

from functools import partial
from typing import Any

from batchyard.services import Caller, Handler, Params
from batchyard.services.iam import account, attachments, managed, roles, users
from batchyard.services.iam.not_yet import NOT_YET
from batchyard.services.shelved import Act, changed, place_of, reading, writing

_ACTS: dict[str, Act] = {
    "AddRoleToInstanceProfile": roles.add_role_to_instance_profile,
    "AddUserToGroup": users.add_user_to_group,
    "CreateAccountAlias": account.create_account_alias,
    "CreateGroup": users.create_group,
    "CreateInstanceProfile": roles.create_instance_profile,
    "CreatePolicy": managed.create_policy,
    "CreatePolicyVersion": managed.create_policy_version,
    "CreateRole": roles.create_role,
    "CreateServiceLinkedRole": roles.create_service_linked_role,
    "CreateUser": users.create_user,
    "DeleteAccessKey": users.delete_access_key,
    "DeleteAccountAlias": account.delete_account_alias,
    "DeleteGroup": users.delete_group,
    "DeleteInstanceProfile": roles.delete_instance_profile,
    "DeletePolicy": managed.delete_policy,
    "DeletePolicyVersion": managed.delete_policy_version,
    "DeleteRole": roles.delete_role,
    "DeleteServiceLinkedRole": roles.delete_service_linked_role,
    "DeleteUser": users.delete_user,
    "GetAccessKeyLastUsed": account.get_access_key_last_used,
    "GetAccountSummary": account.get_account_summary,
    "GetGroup": users.get_group,
    "GetInstanceProfile": roles.get_instance_profile,
    "GetPolicy": managed.get_policy,
    "GetPolicyVersion": managed.get_policy_version,
    "GetRole": roles.get_role,
    "GetServiceLinkedRoleDeletionStatus": roles.get_service_linked_role_deletion_status,
    "GetUser": users.get_user,
    "ListAccessKeys": users.list_access_keys,
    "ListAccountAliases": account.list_account_aliases,
    "ListEntitiesForPolicy": managed.list_entities_for_policy,
    "ListGroups": users.list_groups,
    "ListGroupsForUser": users.list_groups_for_user,
    "ListInstanceProfiles": roles.list_instance_profiles,
    "ListInstanceProfilesForRole": roles.list_instance_profiles_for_role,
    "ListPolicies": managed.list_policies,
    "ListPolicyTags": managed.list_policy_tags,
    "ListPolicyVersions": managed.list_policy_versions,
    "ListRoles": roles.list_roles,
    "ListUsers": users.list_users,
    "RemoveRoleFromInstanceProfile": roles.remove_role_from_instance_profile,
    "RemoveUserFromGroup": users.remove_user_from_group,
    "SetDefaultPolicyVersion": managed.set_default_policy_version,
    "SimulateCustomPolicy": account.simulate_custom_policy,
    "SimulatePrincipalPolicy": account.simulate_principal_policy,
    "TagPolicy": managed.tag_policy,
    "UntagPolicy": managed.untag_policy,
    "UpdateAccessKey": users.update_access_key,
    "UpdateAssumeRolePolicy": roles.update_assume_role_policy,
    "UpdateGroup": users.update_group,
    "UpdateRole": roles.update_role,
    "UpdateRoleDescription": roles.update_role_description,
    "UpdateUser": users.update_user,
}
for _bearer in attachments.BEARERS:
    _ACTS |= _bearer.operations()
for _kind, _title in attachments.TAGGED:
    _ACTS |= {
        f"Tag{_title}": attachments.tag(_kind, _title),
        f"Untag{_title}": attachments.untag(_kind, _title),
        f"List{_title}Tags": attachments.list_tags(_kind, _title),
    }
for _kind, _title in attachments.BOUNDED:
    _ACTS |= {
        f"Put{_title}PermissionsBoundary": attachments.put_boundary(_kind, _title),
        f"Delete{_title}PermissionsBoundary": attachments.delete_boundary(_kind, _title),
    }


async def _create_access_key(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, CreateAccessKey."""
    act = partial(users.create_access_key, desk.sealer)
    return await changed(desk, place_of("iam", caller, is_global=True), lambda drawer: act(drawer, caller, params))  # type: ignore[no-any-return]


def _handler(name: str, act: Act) -> Handler:
    make = reading if name.startswith(("Get", "List", "Simulate")) else writing
    return make("iam", act, is_global=True)


OPERATIONS: dict[str, Handler] = {name: _handler(name, act) for name, act in sorted(_ACTS.items())}
OPERATIONS["CreateAccessKey"] = _create_access_key

__all__ = ["NOT_YET", "OPERATIONS"]
