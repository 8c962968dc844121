"""What answers each operation of this service: read with the first request for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batchyard.services import Caller, Handler, Params
from batchyard.services.desk import Sealing
from batchyard.services.kms import ciphers, keys, naming
from batchyard.services.kms.not_yet import NOT_YET
from batchyard.services.shelved import place_of, reading, writing
from batchyard.store.shelf import Drawer


def _sealed(act: Callable[[Sealing, Drawer, Caller, Params], Params]) -> Handler:
    async def handler(desk: Any, caller: Caller, params: Params) -> Params:
        return desk.shelf.look(place_of("kms", caller), lambda drawer: act(desk.sealer, drawer, caller, params))  # type: ignore[no-any-return]

    handler.__doc__ = act.__doc__
    return handler


OPERATIONS: dict[str, Handler] = {
    "CancelKeyDeletion": writing("kms", keys.cancel_key_deletion),
    "CreateAlias": writing("kms", naming.create_alias),
    "CreateKey": writing("kms", keys.create_key),
    "Decrypt": _sealed(ciphers.decrypt),
    "DeleteAlias": writing("kms", naming.delete_alias),
    "DescribeKey": reading("kms", keys.describe_key),
    "DisableKey": writing("kms", keys.disable_key),
    "DisableKeyRotation": writing("kms", keys.disable_key_rotation),
    "EnableKey": writing("kms", keys.enable_key),
    "EnableKeyRotation": writing("kms", keys.enable_key_rotation),
    "Encrypt": _sealed(ciphers.encrypt),
    "GenerateDataKey": _sealed(ciphers.generate_data_key),
    "GenerateDataKeyWithoutPlaintext": _sealed(ciphers.generate_data_key_without_plaintext),
    "GenerateRandom": _sealed(ciphers.generate_random),
    "GetKeyPolicy": reading("kms", keys.get_key_policy),
    "GetKeyRotationStatus": reading("kms", keys.get_key_rotation_status),
    "ListAliases": reading("kms", naming.list_aliases),
    "ListKeyPolicies": reading("kms", keys.list_key_policies),
    "ListKeys": reading("kms", keys.list_keys),
    "ListResourceTags": reading("kms", keys.list_resource_tags),
    "PutKeyPolicy": writing("kms", keys.put_key_policy),
    "ReEncrypt": _sealed(ciphers.re_encrypt),
    "ScheduleKeyDeletion": writing("kms", keys.schedule_key_deletion),
    "TagResource": writing("kms", keys.tag_resource),
    "UntagResource": writing("kms", keys.untag_resource),
    "UpdateAlias": writing("kms", naming.update_alias),
    "UpdateKeyDescription": writing("kms", keys.update_key_description),
}

__all__ = ["NOT_YET", "OPERATIONS"]
