"""What answers each operation of this service: read with the first request for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batchyard.services import Caller, Handler, Params
from batchyard.services.desk import Sealing
from batchyard.services.shelved import changed, place_of, reading, writing
from batchyard.services.ssm import lookups, parameters
from batchyard.services.ssm.not_yet import NOT_YET
from batchyard.store.shelf import Drawer

SealedAct = Callable[[Sealing, Drawer, Caller, Params], Params]


def _sealed_reading(act: SealedAct) -> Handler:
    async def handler(desk: Any, caller: Caller, params: Params) -> Params:
        return desk.shelf.look(place_of("ssm", caller), lambda drawer: act(desk.sealer, drawer, caller, params))  # type: ignore[no-any-return]

    return handler


async def _put_parameter(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, PutParameter."""
    return await changed(  # type: ignore[no-any-return]
        desk, place_of("ssm", caller), lambda drawer: parameters.put_parameter(desk.sealer, drawer, caller, params)
    )


OPERATIONS: dict[str, Handler] = {
    "AddTagsToResource": writing("ssm", parameters.add_tags_to_resource),
    "DeleteParameter": writing("ssm", parameters.delete_parameter),
    "DeleteParameters": writing("ssm", parameters.delete_parameters),
    "DescribeParameters": reading("ssm", lookups.describe_parameters),
    "GetParameter": _sealed_reading(lookups.get_parameter),
    "GetParameterHistory": _sealed_reading(lookups.get_parameter_history),
    "GetParameters": _sealed_reading(lookups.get_parameters),
    "GetParametersByPath": _sealed_reading(lookups.get_parameters_by_path),
    "LabelParameterVersion": writing("ssm", parameters.label_parameter_version),
    "ListTagsForResource": reading("ssm", parameters.list_tags_for_resource),
    "PutParameter": _put_parameter,
    "RemoveTagsFromResource": writing("ssm", parameters.remove_tags_from_resource),
    "UnlabelParameterVersion": writing("ssm", parameters.unlabel_parameter_version),
}

__all__ = ["NOT_YET", "OPERATIONS"]
