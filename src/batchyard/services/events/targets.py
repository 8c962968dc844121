"""The targets of rules: log groups, and URLs, which AWS does not have as targets without an API destination."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from batchyard.core.event_inputs import BadInput, check
from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.events.names import MOST_TARGETS, RULE, find_rule, page, refusal, require_bus
from batchyard.store.shelf import Drawer

LOG_GROUP = re.compile(r"arn:aws:logs:([a-z0-9-]+):([0-9]{12}):log-group:([^:]{1,512})(?::\*)?")
_KEPT = frozenset(("Id", "Arn", "Input", "InputPath", "InputTransformer"))


def put_targets(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, PutTargets: all of them, or none. Those with the same id are replaced."""
    require_bus(caller, params)
    rule = find_rule(drawer, params["Rule"])
    for target in params["Targets"]:
        _require_possible(caller, target)
    targets = {target["Id"]: target for target in [*rule["targets"], *params["Targets"]]}
    if len(targets) > MOST_TARGETS:
        raise Fault(
            "LimitExceededException", f"The requested resource exceeds the maximum number allowed: {MOST_TARGETS} targets of a rule."
        )
    drawer.put(RULE, params["Rule"], {**rule, "targets": list(targets.values())})
    return {"FailedEntryCount": 0, "FailedEntries": []}


def _require_possible(caller: Caller, target: Params) -> None:
    id, arn = target["Id"], target["Arn"]
    group = LOG_GROUP.fullmatch(arn)
    if group is not None and (group[1], group[2]) != (caller.region, caller.account):
        raise refusal(f"Target {id}: the log group must be of region {caller.region} and account {caller.account}: {arn}")
    if group is None and not _is_url(arn):
        raise refusal(f"Target {id}: {arn} is not available as a target in this version of Batchyard: give a log group's ARN, or a URL.")
    unknown = sorted(name for name in set(target) - _KEPT if target[name])
    if unknown:
        raise refusal(f"Target {id}: {unknown[0]} is not available in this version of Batchyard: leave it out.")
    try:
        check(target)
    except BadInput as bad:
        raise refusal(str(bad)) from None


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None and text.isascii() and parts.port != 0
    except ValueError:
        return False


def remove_targets(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, RemoveTargets. Ids that are not there are told of."""
    require_bus(caller, params)
    rule = find_rule(drawer, params["Rule"])
    known = {target["Id"] for target in rule["targets"]}
    left = [target for target in rule["targets"] if target["Id"] not in params["Ids"]]
    drawer.put(RULE, params["Rule"], {**rule, "targets": left})
    words = f"Rule {params['Rule']} does not have a target with this Id."
    missing = [{"TargetId": id, "ErrorCode": "ResourceNotFoundException", "ErrorMessage": words} for id in params["Ids"] if id not in known]
    return {"FailedEntryCount": len(missing), "FailedEntries": missing}


def list_targets_by_rule(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListTargetsByRule."""
    require_bus(caller, params)
    return page(find_rule(drawer, params["Rule"])["targets"], params, "Targets")


def list_rule_names_by_target(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListRuleNamesByTarget."""
    require_bus(caller, params)
    entries = drawer.entries(RULE)
    return page([n for n, rule in entries if any(t["Arn"] == params["TargetArn"] for t in rule["targets"])], params, "RuleNames")
