"""The targets of rules: log groups, job queues, API destinations, and URLs, which AWS does not have as targets by themselves."""

from __future__ import annotations

import json
import re

from batchyard.core.event_inputs import BadInput, check
from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.batch.names import JOB_NAME
from batchyard.services.batch.submit import MAX_ARRAY, MIN_ARRAY
from batchyard.services.events.calling import check_http
from batchyard.services.events.destinations import ARN as DESTINATION_ARN
from batchyard.services.events.destinations import destination_of_arn
from batchyard.services.events.names import MOST_TARGETS, RULE, find_rule, is_url, page, refusal, require_bus
from batchyard.services.events.submitting import params_of
from batchyard.store.shelf import Drawer

LOG_GROUP = re.compile(r"arn:aws:logs:([a-z0-9-]+):([0-9]{12}):log-group:([^:]{1,512})(?::\*)?")
JOB_QUEUE = re.compile(r"arn:aws:batch:([a-z0-9-]+):([0-9]{12}):job-queue/[A-Za-z0-9_-]{1,128}")
_KEPT = frozenset(("Id", "Arn", "Input", "InputPath", "InputTransformer", "RoleArn"))


def put_targets(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, PutTargets: all of them, or none. Those with the same id are replaced."""
    require_bus(caller, params)
    rule = find_rule(drawer, params["Rule"])
    for target in params["Targets"]:
        _require_possible(drawer, caller, target)
    targets = {target["Id"]: target for target in [*rule["targets"], *params["Targets"]]}
    if len(targets) > MOST_TARGETS:
        raise Fault(
            "LimitExceededException", f"The requested resource exceeds the maximum number allowed: {MOST_TARGETS} targets of a rule."
        )
    drawer.put(RULE, params["Rule"], {**rule, "targets": list(targets.values())})
    return {"FailedEntryCount": 0, "FailedEntries": []}


def _require_possible(drawer: Drawer, caller: Caller, target: Params) -> None:
    id, arn = target["Id"], target["Arn"]
    known = _KEPT
    if group := LOG_GROUP.fullmatch(arn):
        if (group[1], group[2]) != (caller.region, caller.account):
            raise refusal(f"Target {id}: the log group must be of region {caller.region} and account {caller.account}: {arn}")
    elif queue := JOB_QUEUE.fullmatch(arn):
        known |= {"BatchParameters"}
        if (queue[1], queue[2]) != (caller.region, caller.account):
            raise refusal(f"Target {id}: the job queue must be of region {caller.region} and account {caller.account}: {arn}")
        _require_role(caller, target)
        _check_job(target)
    elif DESTINATION_ARN.fullmatch(arn):
        known |= {"HttpParameters"}
        if destination_of_arn(drawer, arn) is None:
            raise Fault("ResourceNotFoundException", f"API destination {arn} does not exist.")
        _require_role(caller, target)
        check_http(target)
    elif not is_url(arn):
        raise refusal(
            f"Target {id}: {arn} is not available as a target in this version of Batchyard:"
            " give the ARN of a log group, a job queue or an API destination, or a URL."
        )
    unknown = sorted(name for name in set(target) - known if target[name])
    if unknown:
        raise refusal(f"Target {id}: {unknown[0]} is not available for this target in this version of Batchyard: leave it out.")
    try:
        check(target)
    except BadInput as bad:
        raise refusal(str(bad)) from None


def _require_role(caller: Caller, target: Params) -> None:
    role = target.get("RoleArn", "")
    if not role:
        raise refusal(f"RoleArn is required for target {target['Arn']}.")
    if not role.startswith(f"arn:aws:iam::{caller.account}:role/"):
        raise refusal(f"Target {target['Id']}: RoleArn must be a role of account {caller.account}: {role}")


def _check_job(target: Params) -> None:
    """What of a job can be wrong whatever the event is. The queue and the definition may be made later."""
    batch = target.get("BatchParameters")
    if not batch:
        raise refusal(f"Parameter(s) BatchParameters must be specified for target: {target['Id']}.")
    if not JOB_NAME.fullmatch(batch["JobName"]):
        raise refusal(f"Target {target['Id']}: BatchParameters.JobName {batch['JobName']} is no name of a job.")
    size = (batch.get("ArrayProperties") or {}).get("Size")
    if size is not None and not MIN_ARRAY <= size <= MAX_ARRAY:
        raise refusal(
            f"Target {target['Id']}: BatchParameters.ArrayProperties.Size must be between {MIN_ARRAY} and {MAX_ARRAY}, not {size}."
        )
    attempts = (batch.get("RetryStrategy") or {}).get("Attempts")
    if attempts is not None and not 1 <= attempts <= 10:
        raise refusal(f"Target {target['Id']}: BatchParameters.RetryStrategy.Attempts must be between 1 and 10, not {attempts}.")
    if target.get("Input"):
        try:
            params_of(target, json.dumps(json.loads(target["Input"])))
        except ValueError:
            return  # `check` has the words for it
        except Fault as fault:
            raise refusal(f"Target {target['Id']}: Input: {fault.message}") from None


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
