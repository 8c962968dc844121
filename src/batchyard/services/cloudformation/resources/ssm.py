"""AWS::SSM::Parameter."""

from __future__ import annotations

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import (
    Steps,
    call_if_there,
    change_tags,
    changed,
    given,
    is_gone,
    listed,
    own_tags,
    require_known,
    tags_of,
)
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

SERVICE = "ssm"
_VALUES = ("DataType", "Description", "Tier", "Type", "Value")
_KNOWN = ("Name", "Tags", *_VALUES)
_REFUSALS = {"AllowedPattern": "values are held against no pattern", "Policies": "parameters have no policies"}


def _put(asked: Asked, name: str) -> Properties:
    """What PutParameter is told."""
    require_known(asked, _KNOWN, _REFUSALS)
    if asked.properties.get("Type") not in ("String", "StringList"):
        raise Fault(
            "InvalidRequest", f"Type: a stack makes parameters of type String and StringList, not {asked.properties.get('Type')!r}."
        )
    return {"Name": name, **given(asked.properties, *_VALUES)}


def _made(hands: Hands, name: str, properties: Properties) -> Made:
    arn = f"arn:{hands.partition}:ssm:{hands.region}:{hands.account}:parameter/{name.removeprefix('/')}"
    rest = {"DataType": "text", "Tier": "Standard", "Description": "", **given(properties, *_VALUES)}
    return Made(name, {"Name": name, "Arn": arn, **rest})


async def create_parameter(hands: Hands, asked: Asked) -> Made:
    """A parameter. Ref is its name."""
    name = asked.properties.get("Name") or asked.name
    tags = {**tags_of(asked), **asked.system_tags}
    await hands.call(SERVICE, "PutParameter", {**_put(asked, name), **({"Tags": listed(tags)} if tags else {})})
    return _made(hands, name, asked.properties)


async def update_parameter(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """A new version where something differs but the tags."""
    name, params = kept.physical_id, _put(asked, kept.physical_id)
    of_it = {"ResourceType": "Parameter", "ResourceId": name}
    async with Steps(hands, SERVICE) as steps:
        await change_tags(
            steps,
            asked,
            kept,
            put=lambda tags: ("AddTagsToResource", {**of_it, "Tags": listed(tags)}),
            take=lambda keys: ("RemoveTagsFromResource", {**of_it, "TagKeys": keys}),
        )
        if changed(kept.properties, asked.properties, "AllowedPattern", "Policies", *_VALUES):
            # What is left out would stay as it was: here it is to be what it is for a new parameter.
            description = asked.properties.get("Description") or ""
            await steps.call("PutParameter", {**params, "Description": description, "Overwrite": True})
    return _made(hands, name, asked.properties)


async def delete_parameter(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteParameter", {"Name": kept.physical_id})


async def read_parameter(hands: Hands, kept: Kept) -> Properties | None:
    """The parameter as Parameter Store has it."""
    name = kept.physical_id
    try:
        parameter = (await hands.call(SERVICE, "GetParameter", {"Name": name}))["Parameter"]
        tags = (await hands.call(SERVICE, "ListTagsForResource", {"ResourceType": "Parameter", "ResourceId": name}))["TagList"]
    except Fault as fault:
        if is_gone(fault):
            return None
        raise
    mine = {"ParameterFilters": [{"Key": "Name", "Option": "Equals", "Values": [name]}]}
    (described,) = (await hands.call(SERVICE, "DescribeParameters", mine))["Parameters"]
    properties = {**given(parameter, "Name", "Type", "Value", "DataType"), **given(described, "Description", "Tier")}
    own = {tag["Key"]: tag["Value"] for tag in own_tags(tags, kept)}
    return {**properties, "Tags": own} if own else properties


TYPES = (
    ResourceType(
        "AWS::SSM::Parameter",
        create_parameter,
        update_parameter,
        delete_parameter,
        read_parameter,
        named=NameRule("Name", 256),
        has_stack_tags=True,
    ),
)
