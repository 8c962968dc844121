"""From a request to what it would make: the template read and checked, parameters settled, references outside looked up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.cloudformation.resources import types
from batchyard.services.cloudformation.running.aside import aside
from batchyard.services.cloudformation.running.book import StackBook, place_of
from batchyard.services.cloudformation.running.lookups import Lookups
from batchyard.services.cloudformation.running.records import Stack
from batchyard.services.cloudformation.running.target import Target
from batchyard.services.cloudformation.schemas import checking as properties_checking
from batchyard.services.cloudformation.schemas.attributes import has_attribute
from batchyard.services.cloudformation.template import checking, loops, parameters, reading, rules, summary
from batchyard.services.cloudformation.template.model import Template, TemplateFault

INERT_TAG = "batchyard:inert"
PARTITION, URL_SUFFIX = "aws", "amazonaws.com"
HARMLESS = frozenset(("AWS::CDK::Metadata",))  # says which library wrote the template, and does nothing on AWS either


@dataclass(frozen=True, slots=True)
class Prepared:
    """A template that may be deployed, with its parameters."""

    text: str
    template: Template
    target: Target
    parameters: dict[str, str]  # as given and with defaults
    looked_up: dict[str, str]
    hidden: list[str]


def read(text: str, given: Mapping[str, str] | None = None) -> Template:
    """The template, with loops written out (over list parameters as `given`). Raises TemplateFault."""
    return loops.expanded(reading.read(text), given)


async def prepare(desk: Any, stack: Stack, text: str, given: Mapping[str, str], tags: Mapping[str, str]) -> Prepared:
    """What `stack` (its name, ARN and actor) would become. Raises Fault for everything that can be known before anything is created."""
    assert stack.actor is not None
    caller = stack.actor.caller()
    template, settled = await aside(text, _read_and_settled, text, given)
    lookups = Lookups(desk, caller)
    looked_up = {name: await lookups.parameter(key) for name, key in parameters.looked_up(template, settled).items()}
    await _exist(desk, caller, parameters.existing(template, settled))
    target = await target_of(desk, stack, template, settled | looked_up, tags)
    facts = await facts_of(desk, caller, template)
    await aside(text, _refuse_what_cannot_be, target, template, facts)
    hidden = [name for name, parameter in template.section("Parameters").items() if str(parameter.get("NoEcho")).lower() == "true"]
    return Prepared(text, template, target, settled, looked_up, hidden)


def _read_and_settled(text: str, given: Mapping[str, str]) -> tuple[Template, dict[str, str]]:
    template = read(text, given)
    checking.check(template, has_attribute=has_attribute)
    return template, parameters.settle(template, given)


def _refuse_what_cannot_be(target: Target, template: Template, facts: Mapping[str, list[dict[str, Any]]]) -> None:
    rules.check(target.scope({}), facts)
    _refuse_unknown(target, template)
    _refuse_misfits(target, template)


async def target_of(desk: Any, stack: Stack, template: Template, values: Mapping[str, str], tags: Mapping[str, str]) -> Target:
    """The template with parameter values, for `stack`."""
    assert stack.actor is not None
    caller = stack.actor.caller()
    sealer = desk.sealer
    exports = desk.shelf.look(place_of(caller.account, caller.region), lambda drawer: StackBook(drawer, sealer).exports())
    stack_outputs: dict[str, dict[str, str]] = {}
    if "GetStackOutput" in template.text:
        stack_outputs = desk.shelf.look(place_of(caller.account, caller.region), lambda drawer: StackBook(drawer, sealer).outputs())
    # Only who asks for zones needs the right to (in JSON the name may be spelt with escapes).
    asks_zones = "GetAZs" in template.text or "\\u" in template.text
    zones = await Lookups(desk, caller).zones() if asks_zones else []
    is_inert_allowed = tags.get(INERT_TAG) == "allow"
    named = {str(resource.get("Type")) for resource in template.section("Resources").values()}
    unknown = {name for name in named if not is_known(name)}
    return await aside(
        template.text,
        Target.of,
        template,
        values,
        {
            "AWS::AccountId": caller.account,
            "AWS::Region": caller.region,
            "AWS::StackName": stack.name,
            "AWS::StackId": stack.arn,
            "AWS::Partition": PARTITION,
            "AWS::URLSuffix": URL_SUFFIX,
            "AWS::NotificationARNs": list(stack.notification_arns),
        },
        tags=tags,
        exports={name: str(export["value"]) for name, export in exports.items()},
        zones={"": zones, caller.region: zones},
        stack_outputs=stack_outputs,
        inert=frozenset(unknown if is_inert_allowed else unknown & HARMLESS),
    )


def is_known(type_name: str) -> bool:
    """Whether a type does something here."""
    return type_name.startswith("Custom::") or type_name in types()


def refuse_without_capabilities(template: Template, given: Iterable[str]) -> None:
    """Raises AWS's refusal when the template needs what was not acknowledged."""
    needed, has = summary.capabilities(template), set(given)
    missing = [name for name in needed if name not in has and not (name == "CAPABILITY_IAM" and "CAPABILITY_NAMED_IAM" in has)]
    if missing:
        raise Fault("InsufficientCapabilitiesException", f"Requires capabilities : [{', '.join(missing)}]")


def _refuse_unknown(target: Target, template: Template) -> None:
    found: dict[str, str] = {}
    for logical_id in target.needs:
        name = str(template.section("Resources")[logical_id].get("Type"))
        if not is_known(name) and name not in target.inert:
            found.setdefault(name, logical_id)
    if found:
        line = template.line(("Resources", next(iter(found.values())), "Type"))
        words = f"Template format error: Unrecognized resource types: [{', '.join(sorted(found))}]"
        raise TemplateFault(f"{words}. They are not there; the stack tag {INERT_TAG}=allow records such resources without effect", line)


def _refuse_misfits(target: Target, template: Template) -> None:
    """Properties that no value of a parameter could mend."""
    for logical_id in target.needs:
        fragment = template.section("Resources")[logical_id]
        name = str(fragment.get("Type"))
        if name in target.inert:
            continue
        found = properties_checking.problems(name, fragment.get("Properties") or {}, is_resolved=False)
        if found:
            line = template.line(("Resources", logical_id, "Properties", *found[0].path))
            raise TemplateFault(properties_checking.told(logical_id, found), line)


_LISTED = {
    "AWS::EC2::VPC::Id": ("DescribeVpcs", "VpcIds", "Vpcs"),
    "AWS::EC2::Subnet::Id": ("DescribeSubnets", "SubnetIds", "Subnets"),
    "AWS::EC2::SecurityGroup::Id": ("DescribeSecurityGroups", "GroupIds", "SecurityGroups"),
    "AWS::EC2::KeyPair::KeyName": ("DescribeKeyPairs", "KeyNames", "KeyPairs"),
    "AWS::EC2::SecurityGroup::GroupName": ("DescribeSecurityGroups", "GroupNames", "SecurityGroups"),
}


async def _exist(desk: Any, caller: Caller, wanted: Iterable[tuple[str, str, str]]) -> None:
    """Raises Fault for a parameter that names what is not there."""
    for name, kind, id in wanted:
        if kind not in _LISTED:
            continue
        operation, member, _ = _LISTED[kind]
        try:
            await desk.calls(caller, "ec2", operation, {member: [id]})
        except Fault as fault:
            raise Fault(
                "ValidationError",
                f"Parameter validation failed: parameter value {id} for parameter name {name} does not exist. {fault.message}",
            ) from None


async def facts_of(desk: Any, caller: Caller, template: Template) -> dict[str, list[dict[str, Any]]]:
    """Parameter type -> what there is of it, for the rule functions RefAll, ValueOf and ValueOfAll."""
    if not template.section("Rules"):
        return {}
    facts: dict[str, list[dict[str, Any]]] = {}
    for kind, operation, listed, id, shown in (
        ("AWS::EC2::VPC::Id", "DescribeVpcs", "Vpcs", "VpcId", {}),
        ("AWS::EC2::Subnet::Id", "DescribeSubnets", "Subnets", "SubnetId", {"VpcId": "VpcId", "AvailabilityZone": "AvailabilityZone"}),
        ("AWS::EC2::SecurityGroup::Id", "DescribeSecurityGroups", "SecurityGroups", "GroupId", {"VpcId": "VpcId"}),
    ):
        answer = await desk.calls(caller, "ec2", operation, {})
        facts[kind] = [
            {
                "Id": record[id],
                **{name: record.get(member) for name, member in shown.items()},
                **{f"Tags.{tag['Key']}": tag["Value"] for tag in record.get("Tags", [])},
            }
            for record in answer[listed]
        ]
    return facts
