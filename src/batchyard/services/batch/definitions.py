"""Job definitions: register a revision, show, take out of use."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from batchyard.core import forms, pods, tasks
from batchyard.core.multinode import shown_nodes
from batchyard.core.quotas import PROFILES
from batchyard.core.submission import with_empty_lists
from batchyard.model.capacity import Platform
from batchyard.model.definition import Definition
from batchyard.model.fault import client_fault
from batchyard.model.requests import Catalogue, Edit
from batchyard.model.tags import runtime_of
from batchyard.services import Caller, Params
from batchyard.services.batch.consumable_rules import check_consumables
from batchyard.services.batch.container_rules import check_container
from batchyard.services.batch.fargate_rules import platform_of_definition
from batchyard.services.batch.fields_not_yet import is_empty, refuse_not_yet
from batchyard.services.batch.log_rules import check_log_configuration
from batchyard.services.batch.names import arn_of, check_name, parse_definition, revision_of
from batchyard.services.batch.node_rules import check_multi_node
from batchyard.services.batch.pod_rules import check_eks_properties
from batchyard.services.batch.tag_rules import check_tags
from batchyard.services.batch.task_rules import check_ecs_properties
from batchyard.services.batch.tokens import page, read_token, write_token
from batchyard.services.batch.validation import check_retry_strategy, check_scheduling_priority, check_timeout, one_of, page_size
from batchyard.services.desk import Desk

MOST = 100
KIND = "job definition"

# What of a request is kept and shown again, exactly as it was sent.
_KEPT = (
    "type",
    "parameters",
    "schedulingPriority",
    *forms.MEMBERS.values(),
    "nodeProperties",
    "retryStrategy",
    "propagateTags",
    "timeout",
    "platformCapabilities",
    "consumableResourceProperties",
)


async def register_job_definition(desk: Desk, caller: Caller, params: Params) -> Params:
    """A new revision, one above the highest that the name ever had. Answers name, ARN and revision."""
    refuse_not_yet("RegisterJobDefinition", params)
    name = params["jobDefinitionName"]
    properties = _checked(desk, caller, params)
    tags = params.get("tags") or {}

    def act(catalogue: Catalogue) -> Definition:
        revision = catalogue.latest_revision(caller.account, caller.region, name) + 1
        definition = Definition(
            arn=arn_of(caller, "job-definition", f"{name}:{revision}"),
            name=name,
            revision=revision,
            account=caller.account,
            region=caller.region,
            properties=properties,
            tags=tags,
            created_at_ms=catalogue.now_ms,
        )
        catalogue.put(definition)
        return definition

    definition: Definition = await desk.ask(Edit(act))
    return {"jobDefinitionName": name, "jobDefinitionArn": definition.arn, "revision": definition.revision}


async def deregister_job_definition(desk: Desk, caller: Caller, params: Params) -> Params:
    """INACTIVE from now on, and still shown. `name:revision` or ARN with revision; repeating it succeeds."""
    text = params["jobDefinition"]
    named = parse_definition(caller, text)
    if named is None or named.revision is None:
        raise client_fault(f"JobDefinition {text} must be name:revision or an ARN that ends in one.")
    arn = arn_of(caller, "job-definition", f"{named.name}:{named.revision}")

    def act(catalogue: Catalogue) -> None:
        definition = catalogue.definitions.get(arn)
        if definition is None:
            raise client_fault(f"JobDefinition {text} does not exist")
        if definition.active:
            catalogue.put(replace(definition, active=False, inactive_since_ms=catalogue.now_ms))

    await desk.ask(Edit(act))
    return {}


async def describe_job_definitions(desk: Desk, caller: Caller, params: Params) -> Params:
    """Named ones (`name:revision` or ARN), all revisions of a name, or all; newest revision first; `status` filters; in pages."""
    wanted, name, status = params.get("jobDefinitions") or [], params.get("jobDefinitionName"), params.get("status")
    size = page_size(params.get("maxResults"), MOST)
    if wanted:
        if name or status:
            raise client_fault("jobDefinitions cannot be combined with jobDefinitionName or status.")
        return _listed(desk, caller, wanted)
    active = {None: None, "ACTIVE": True, "INACTIVE": False}[one_of("status", status, ("ACTIVE", "INACTIVE"))]
    if name:
        return _revisions(desk, caller, _bare_name(caller, name), active, params.get("nextToken"), size)
    mine = sorted(
        (f"{definition.name}\0{999_999_999 - definition.revision:09}", definition)
        for definition in desk.read.definitions.values()
        if (definition.account, definition.region) == (caller.account, caller.region) and active in (None, definition.active)
    )
    question = ("DescribeJobDefinitions", caller.account, caller.region, active)
    shown, token = page(question, mine, params.get("nextToken"), size)
    return _result(shown, token)


def _listed(desk: Desk, caller: Caller, wanted: list[str]) -> Params:
    if len(wanted) > MOST:
        raise client_fault(f"jobDefinitions may hold at most {MOST} entries, not {len(wanted)}.")
    found: dict[str, Definition] = {}
    for text in wanted:
        named = parse_definition(caller, text)
        definition = revision_of(desk.read, caller, named.name, named.revision) if named and named.revision else None
        if definition is not None:
            found[definition.arn] = definition
    return _result(list(found.values()), None)


def _revisions(desk: Desk, caller: Caller, name: str, active: bool | None, token: str | None, size: int) -> Params:
    """Walks down from the newest revision, so that a name with thousands of them costs no more than what is shown."""
    question = ("DescribeJobDefinitions", caller.account, caller.region, name, active)
    cursor = read_token(question, token, is_number=True)
    latest = desk.read.latest_revision(caller.account, caller.region, name)
    start = min(int(cursor) - 1, latest) if cursor else latest
    shown: list[Definition] = []
    for revision in range(start, 0, -1):
        definition = revision_of(desk.read, caller, name, revision)
        if definition is None or active not in (None, definition.active):
            continue
        if len(shown) == size:
            return _result(shown, write_token(question, str(shown[-1].revision)))
        shown.append(definition)
    return _result(shown, None)


def _bare_name(caller: Caller, text: str) -> str:
    named = parse_definition(caller, text)
    return named.name if named and named.revision is None else text


def _result(definitions: list[Definition], token: str | None) -> Params:
    result: Params = {"jobDefinitions": [_detail(definition) for definition in definitions]}
    if token:
        result["nextToken"] = token
    return result


def _detail(definition: Definition) -> Params:
    """What was registered, unchanged; lists that were not are empty, as AWS shows them."""
    detail: dict[str, Any] = {
        "jobDefinitionName": definition.name,
        "jobDefinitionArn": definition.arn,
        "revision": definition.revision,
        "status": "ACTIVE" if definition.active else "INACTIVE",
        "parameters": {},
        **definition.properties,
        "tags": definition.tags,
        "containerOrchestrationType": "EKS" if definition.properties.get("eksProperties") else "ECS",
    }
    if detail.get("nodeProperties"):
        detail["nodeProperties"] = shown_nodes(detail["nodeProperties"])
    elif detail.get("containerProperties"):
        detail["containerProperties"] = with_empty_lists(detail["containerProperties"])
    elif detail.get("ecsProperties"):
        detail["ecsProperties"] = {"taskProperties": [tasks.shown_task(task) for task in detail["ecsProperties"]["taskProperties"]]}
    retry = detail.get("retryStrategy")
    if retry:
        detail["retryStrategy"] = {"evaluateOnExit": [], **retry}
    return detail


def _checked(desk: Desk, caller: Caller, params: Params) -> dict[str, Any]:
    """The members to keep, after every check of a registration."""
    check_name("jobDefinitionName", params["jobDefinitionName"])
    kind = one_of("type", params["type"], ("CONTAINER", "MULTINODE"))
    if kind == "MULTINODE":
        check_multi_node(params, caller, runtime_of(params.get("tags") or {}, {}, desk.settings.runtime))
    else:
        _check_containers(desk, caller, params)
    check_retry_strategy(params.get("retryStrategy"))
    check_timeout(params.get("timeout"))
    check_consumables("consumableResourceProperties", params.get("consumableResourceProperties"))
    check_scheduling_priority(params.get("schedulingPriority"))
    check_tags(KIND, params.get("tags") or {})
    properties = {name: params[name] for name in _KEPT if params.get(name) is not None}
    for name in forms.MEMBERS.values() if kind == "MULTINODE" else ("nodeProperties",):
        properties.pop(name, None)  # an empty one
    properties["type"] = (kind or "container").lower()
    most = PROFILES[desk.settings.profile].definition_bytes
    if len(msgspec.json.encode(properties)) > most:
        raise client_fault(f"The job definition is larger than {most // 1024} KiB.")
    return properties


def _check_containers(desk: Desk, caller: Caller, params: Params) -> None:
    """Refuse what is wrong with the one form in which the definition describes what runs."""
    if not is_empty(params.get("nodeProperties")):
        raise client_fault("nodeProperties is only for job definitions of type multinode.")
    given = [member for member in forms.MEMBERS.values() if params.get(member)]
    if not given:
        raise client_fault("Container properties should not be empty")
    if len(given) > 1:
        raise client_fault(f"A job definition has exactly one of {', '.join(forms.MEMBERS.values())}; this one has {' and '.join(given)}.")
    platform = platform_of_definition(params.get("platformCapabilities"))
    runtime = runtime_of(params.get("tags") or {}, {}, desk.settings.runtime)
    match forms.form_of(params):
        case tasks.FORM:
            check_ecs_properties(params["ecsProperties"], caller, runtime, platform)
        case pods.FORM:
            for name in ("propagateTags", "platformCapabilities"):
                if params.get(name):
                    raise client_fault(f"{name} is not applicable for EKS: leave it out.")
            check_eks_properties(params["eksProperties"], runtime)
        case _:
            if platform is Platform.MANAGED_INSTANCES:
                raise client_fault(
                    "platformCapabilities MANAGED_INSTANCES needs ecsProperties: containerProperties are for EC2 and FARGATE."
                )
            check_container(params["containerProperties"], caller.request_id, platform)
            check_log_configuration("containerProperties", params["containerProperties"].get("logConfiguration"), caller.region)
