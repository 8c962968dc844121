"""What answers each operation of this service: read with the first request for it."""

from __future__ import annotations

from batchyard.services import Handler
from batchyard.services.lambda_functions import functions, invoking, permissions
from batchyard.services.lambda_functions.functions import SERVICE
from batchyard.services.lambda_functions.not_yet import NOT_YET
from batchyard.services.shelved import reading, writing

OPERATIONS: dict[str, Handler] = {
    "AddPermission": writing(SERVICE, permissions.add_permission),
    "CreateFunction": functions.create_function,
    "DeleteFunction": writing(SERVICE, functions.delete_function),
    "GetFunction": reading(SERVICE, functions.get_function),
    "GetFunctionCodeSigningConfig": reading(SERVICE, functions.get_function_code_signing_config),
    "GetFunctionConfiguration": reading(SERVICE, functions.get_function_configuration),
    "GetPolicy": reading(SERVICE, permissions.get_policy),
    "Invoke": invoking.invoke,
    "ListFunctions": reading(SERVICE, functions.list_functions),
    "ListTags": reading(SERVICE, functions.list_tags),
    "ListVersionsByFunction": reading(SERVICE, functions.list_versions_by_function),
    "RemovePermission": writing(SERVICE, permissions.remove_permission),
    "TagResource": writing(SERVICE, functions.tag_resource),
    "UntagResource": writing(SERVICE, functions.untag_resource),
    "UpdateFunctionCode": functions.update_function_code,
    "UpdateFunctionConfiguration": functions.update_function_configuration,
}

__all__ = ["NOT_YET", "OPERATIONS"]
