"""The three forms in which a job definition describes what runs, brought together: one container, an ECS task, a Kubernetes pod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from batchyard.core import pods, submission, tasks
from batchyard.core.node_ranges import main_members
from batchyard.core.submission import Prepared
from batchyard.model.capacity import Resources
from batchyard.model.definition import Definition
from batchyard.model.job import Specification
from batchyard.model.task import TaskContainer

_decode = msgspec.json.Decoder(dict[str, Any]).decode

# Each form's member of a job definition, and the member of SubmitJob that overrides it.
MEMBERS = {"": "containerProperties", tasks.FORM: "ecsProperties", pods.FORM: "eksProperties"}
OVERRIDES = {"": "containerOverrides", tasks.FORM: "ecsPropertiesOverride", pods.FORM: "eksPropertiesOverride"}


def form_of(properties: Mapping[str, Any]) -> str:
    """The form of a definition's properties."""
    return next((form for form, member in MEMBERS.items() if form and properties.get(member)), "")


def prepare(definition: Definition) -> Prepared:
    """A definition's defaults, worked out once, whatever its form. Raises a Fault when it asks for no vCPU or memory."""
    nodes = definition.properties.get("nodeProperties")
    if nodes:
        main = main_members(nodes)
        form = form_of(main)
        if form:
            needs = needs_of(form, main[MEMBERS[form]])
            # What each node runs is worked out from the submission in `multinode`.
            return submission.prepare_several(definition, form, needs, lambda _: (Raw(b"{}"), needs))
        return submission.prepare(definition)
    match form_of(definition.properties):
        case tasks.FORM:
            return tasks.prepare(definition)
        case pods.FORM:
            return pods.prepare(definition)
        case _:
            return submission.prepare(definition)


def merged(form: str, properties: Mapping[str, Any], overrides: Sequence[Mapping[str, Any]], values: Mapping[str, str]) -> dict[str, Any]:
    """ecsProperties or eksProperties to run: after each of these overrides of theirs, and with placeholders filled in."""
    return tasks.merged(properties, overrides, values) if form == tasks.FORM else pods.merged(properties, overrides, values)


def needs_of(form: str, properties: Mapping[str, Any]) -> Resources:
    """What ecsProperties or eksProperties need on an EC2 instance. Raises a Fault when a container asks for no vCPU or memory."""
    return tasks.needs_of_task(properties["taskProperties"][0]) if form == tasks.FORM else pods.needs_of_pod(properties["podProperties"])


def containers_of(spec: Specification, task_id: str) -> list[TaskContainer]:
    """The containers of a job that has several, in the order in which they may start; none for the classic single container."""
    match spec.form:
        case tasks.FORM:
            return tasks.task_containers(_decode(spec.effective)["taskProperties"][0], spec, task_id)
        case pods.FORM:
            return pods.pod_containers(_decode(spec.effective)["podProperties"], spec, task_id)
        case _:
            return []
