"""What answers each operation of this service: read with the first request for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batchyard.services import Caller, Handler, Params
from batchyard.services.desk import Sealing
from batchyard.services.secretsmanager import catalogue, secret_values
from batchyard.services.shelved import Act, changed, place_of, reading, writing
from batchyard.store.shelf import Drawer

SERVICE = "secretsmanager"
SealedAct = Callable[[Sealing, Drawer, Caller, Params], Params]


def _sealed(act: SealedAct, *, is_read: bool) -> Handler:
    """A handler whose act seals or opens values."""

    async def handler(desk: Any, caller: Caller, params: Params) -> Params:
        place = place_of(SERVICE, caller)
        if is_read:
            return desk.shelf.look(place, lambda drawer: act(desk.sealer, drawer, caller, params))  # type: ignore[no-any-return]
        return await changed(desk, place, lambda drawer: act(desk.sealer, drawer, caller, params))  # type: ignore[no-any-return]

    return handler


_READS: dict[str, Act] = {
    "DescribeSecret": catalogue.describe_secret,
    "GetRandomPassword": secret_values.get_random_password,
    "GetResourcePolicy": catalogue.get_resource_policy,
    "ListSecretVersionIds": catalogue.list_secret_version_ids,
    "ListSecrets": catalogue.list_secrets,
}
_WRITES: dict[str, Act] = {
    "DeleteResourcePolicy": catalogue.delete_resource_policy,
    "DeleteSecret": catalogue.delete_secret,
    "PutResourcePolicy": catalogue.put_resource_policy,
    "RestoreSecret": catalogue.restore_secret,
    "TagResource": catalogue.tag_resource,
    "UntagResource": catalogue.untag_resource,
    "UpdateSecretVersionStage": secret_values.update_secret_version_stage,
}
OPERATIONS: dict[str, Handler] = {
    **{name: reading(SERVICE, act) for name, act in _READS.items()},
    **{name: writing(SERVICE, act) for name, act in _WRITES.items()},
    "BatchGetSecretValue": _sealed(secret_values.batch_get_secret_value, is_read=True),
    "CreateSecret": _sealed(secret_values.create_secret, is_read=False),
    "GetSecretValue": _sealed(secret_values.get_secret_value, is_read=True),
    "PutSecretValue": _sealed(secret_values.put_secret_value, is_read=False),
    "UpdateSecret": _sealed(secret_values.update_secret, is_read=False),
}

_REPLICAS = "secrets are not replicated to other regions or accounts"
_ROTATION = "rotation is not available: put new values with PutSecretValue"
NOT_YET: dict[str, str] = {
    "AssociateCrossAccountReplica": _REPLICAS,
    "CancelRotateSecret": _ROTATION,
    "DisassociateCrossAccountReplica": _REPLICAS,
    "ListResourcePolicies": "a secret has one policy: GetResourcePolicy shows it",
    "RemoveRegionsFromReplication": _REPLICAS,
    "ReplicateSecretToRegions": _REPLICAS,
    "RotateSecret": _ROTATION,
    "StopReplicationToReplica": _REPLICAS,
    "ValidateResourcePolicy": "policies of secrets are recorded, not evaluated",
}
