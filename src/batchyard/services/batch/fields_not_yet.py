"""What Batch's requests may name and this version does not do yet: one table, so that nothing is accepted and then ignored.

A path with dots leads to a member; `[]` goes through a list. Empty forms ({} [] "" and nests of them) are harmless: many
clients send them for what they do not use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchyard.model.fault import client_fault

_EXEC = "ECS Exec: commands inside of a job that runs"

# Any value that is not empty is refused.
FIELDS_NOT_YET: dict[str, dict[str, str]] = {
    "CreateComputeEnvironment": {
        "eksConfiguration.accessEntry": "access entries of Kubernetes clusters",
    },
    "UpdateComputeEnvironment": {
        "eksConfiguration.accessEntry": "access entries of Kubernetes clusters",
    },
    "CreateSchedulingPolicy": {"quotaSharePolicy": "quota shares"},
    "UpdateSchedulingPolicy": {"quotaSharePolicy": "quota shares"},
    "CreateJobQueue": {
        "serviceEnvironmentOrder": "service environments",
    },
    "UpdateJobQueue": {
        "serviceEnvironmentOrder": "service environments",
    },
    "RegisterJobDefinition": {
        "containerProperties.logConfiguration.secretOptions": "log drivers with options to keep secret, as splunk has",
        "containerProperties.enableExecuteCommand": _EXEC,
        "containerProperties.volumes[].efsVolumeConfiguration": "EFS volumes",
        "containerProperties.volumes[].s3filesVolumeConfiguration": "S3 Files volumes",
    },
    "SubmitJob": {},
}

# These values (in any case) are refused, others are looked at elsewhere.
VALUES_NOT_YET: dict[str, dict[str, dict[str, str]]] = {
    "CreateJobQueue": {
        "jobQueueType": {
            "SAGEMAKER_TRAINING": "service jobs",
        },
    },
    "RegisterJobDefinition": {
        "containerProperties.logConfiguration.logDriver": {
            driver.upper(): "log drivers other than awslogs, json-file and none"
            for driver in ("syslog", "journald", "gelf", "fluentd", "splunk", "awsfirelens")
        },
    },
}


def _also_in_ranges(table: dict[str, Any]) -> None:
    """What a container may not say yet, the container of a node range may not either."""
    own = [(path, what) for path, what in table.items() if path.startswith("containerProperties.")]
    table.update({path.replace("containerProperties.", "nodeProperties.nodeRangeProperties[].container.", 1): what for path, what in own})


_also_in_ranges(FIELDS_NOT_YET["RegisterJobDefinition"])
_also_in_ranges(VALUES_NOT_YET["RegisterJobDefinition"])


def refuse_not_yet(operation: str, params: Mapping[str, Any]) -> None:
    """Raise a ClientException that names the first member of a request which this version does not serve."""
    for path, what in FIELDS_NOT_YET.get(operation, {}).items():
        for where, value in _values(params, path):
            if not is_empty(value):
                raise client_fault(f"{where} is not available in this version of Batchyard: {what} cannot be used yet. Leave it out.")
    for path, values in VALUES_NOT_YET.get(operation, {}).items():
        for where, value in _values(params, path):
            if isinstance(value, str) and value.upper() in values:
                raise client_fault(
                    f"{where} {value} is not available in this version of Batchyard: {values[value.upper()]} cannot be used yet."
                )


def is_empty(value: Any) -> bool:
    """Whether a value says nothing: null, false, "", and maps and lists that hold nothing else."""
    if value is None:
        return True
    if isinstance(value, Mapping):
        return all(is_empty(inner) for inner in value.values())
    if isinstance(value, list):
        return all(is_empty(inner) for inner in value)
    return value is None or value is False or value == ""


def _values(params: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value at a path, with the place where it stands."""
    found = [("", params)]
    for step in path.split("."):
        name = step.removesuffix("[]")
        found = [
            (f"{where}.{name}".lstrip("."), holder[name])
            for where, holder in found
            if isinstance(holder, Mapping) and holder.get(name) is not None
        ]
        if step.endswith("[]"):
            found = [(f"{where}[{number}]", entry) for where, entries in found for number, entry in enumerate(entries or ())]
    yield from found
