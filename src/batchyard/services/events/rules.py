"""Rules of the default bus: put, described, listed, deleted, switched on and off, tagged."""

from __future__ import annotations

from batchyard.core.event_patterns import BadPattern, compile_pattern
from batchyard.core.schedules import BadSchedule, compile_schedule
from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.events.names import MOST_RULES, PLACES, RULE, bus_arn, find_rule, page, refusal, require_bus, require_name, rule_arn
from batchyard.store.shelf import Document, Drawer


def put_rule(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, PutRule. A rule that is there is replaced; its targets and tags stay."""
    require_bus(caller, params)
    name = params["Name"]
    require_name(name)
    if not params.get("EventPattern") and not params.get("ScheduleExpression"):
        raise refusal("Parameter(s) EventPattern or ScheduleExpression must be specified.")
    if params.get("State", "ENABLED") not in ("ENABLED", "DISABLED"):
        raise refusal("State must be ENABLED or DISABLED: rules for events of CloudTrail are not available in this version of Batchyard.")
    _check(params)
    before = drawer.get(RULE, name)
    if before is None and drawer.count(RULE) >= MOST_RULES:
        raise Fault("LimitExceededException", f"The requested resource exceeds the maximum number allowed: {MOST_RULES} rules.")
    document = {
        "pattern": params.get("EventPattern", ""),
        "schedule": params.get("ScheduleExpression", ""),
        "state": params.get("State", "ENABLED"),
        "description": params.get("Description", ""),
        "role": params.get("RoleArn", ""),
        "targets": before["targets"] if before else [],
        "tags": before["tags"] if before else {tag["Key"]: tag["Value"] for tag in params.get("Tags", [])},
    }
    drawer.put(RULE, name, document)
    drawer.elsewhere(PLACES).put("place", f"{caller.account}/{caller.region}", {})
    return {"RuleArn": rule_arn(caller.account, caller.region, name)}


def _check(params: Params) -> None:
    try:
        if params.get("EventPattern"):
            compile_pattern(params["EventPattern"])
        if params.get("ScheduleExpression"):
            compile_schedule(params["ScheduleExpression"])
    except BadPattern as bad:
        raise Fault("InvalidEventPatternException", str(bad)) from None
    except BadSchedule as bad:
        raise refusal(f"Parameter ScheduleExpression is not valid. Reason: {bad}") from None


def _shown(caller: Caller, name: str, rule: Document) -> Params:
    shown = {
        "Name": name,
        "Arn": rule_arn(caller.account, caller.region, name),
        "State": rule["state"],
        "EventBusName": "default",
    }
    if rule["pattern"]:
        shown["EventPattern"] = rule["pattern"]
    if rule.get("schedule"):
        shown["ScheduleExpression"] = rule["schedule"]
    if rule["description"]:
        shown["Description"] = rule["description"]
    if rule["role"]:
        shown["RoleArn"] = rule["role"]
    return shown


def describe_rule(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DescribeRule."""
    require_bus(caller, params)
    return {**_shown(caller, params["Name"], find_rule(drawer, params["Name"])), "CreatedBy": caller.account}


def list_rules(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListRules."""
    require_bus(caller, params)
    entries = drawer.entries(RULE, prefix=params.get("NamePrefix", ""))
    return page([_shown(caller, name, rule) for name, rule in entries], params, "Rules")


def delete_rule(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteRule: a rule that is not there is no error; one with targets is."""
    require_bus(caller, params)
    rule = drawer.get(RULE, params["Name"])
    if rule is not None and rule["targets"]:
        raise refusal("Rule can't be deleted since it has targets.")
    drawer.delete(RULE, params["Name"])
    return {}


def _switched(drawer: Drawer, caller: Caller, params: Params, state: str) -> Params:
    require_bus(caller, params)
    drawer.put(RULE, params["Name"], {**find_rule(drawer, params["Name"]), "state": state})
    return {}


def enable_rule(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, EnableRule."""
    return _switched(drawer, caller, params, "ENABLED")


def disable_rule(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DisableRule."""
    return _switched(drawer, caller, params, "DISABLED")


def _tagged(drawer: Drawer, caller: Caller, params: Params) -> tuple[str, Document]:
    prefix = rule_arn(caller.account, caller.region, "")
    arn = params["ResourceARN"]
    if not arn.startswith(prefix):
        raise Fault("ResourceNotFoundException", f"{arn} does not exist: rules of the default bus can be tagged.")
    name = arn.removeprefix(prefix).removeprefix("default/")
    return name, find_rule(drawer, name)


def tag_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, TagResource (rules)."""
    name, rule = _tagged(drawer, caller, params)
    tags = {**rule["tags"], **{tag["Key"]: tag["Value"] for tag in params["Tags"]}}
    if len(tags) > 50:
        raise refusal("A resource can have at most 50 tags.")
    drawer.put(RULE, name, {**rule, "tags": tags})
    return {}


def untag_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UntagResource (rules)."""
    name, rule = _tagged(drawer, caller, params)
    drawer.put(RULE, name, {**rule, "tags": {key: value for key, value in rule["tags"].items() if key not in params["TagKeys"]}})
    return {}


def list_tags_for_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListTagsForResource (rules)."""
    _, rule = _tagged(drawer, caller, params)
    return {"Tags": [{"Key": key, "Value": value} for key, value in sorted(rule["tags"].items())]}


def describe_event_bus(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DescribeEventBus: the default one."""
    require_bus(caller, params, "Name")
    return {"Name": "default", "Arn": bus_arn(caller)}


def list_event_buses(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListEventBuses: the default one."""
    buses = [{"Name": "default", "Arn": bus_arn(caller)}] if "default".startswith(params.get("NamePrefix", "")) else []
    return page(buses, params, "EventBuses")
