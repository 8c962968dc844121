"""The three forms in which a job definition describes what runs, brought together: one container, an ECS task, a Kubernetes pod."""

from __future__ import annotations

from typing import Any

import msgspec

from batchyard.core import pods, submission, tasks
from batchyard.core.submission import Prepared
from batchyard.model.definition import Definition
from batchyard.model.job import Specification
from batchyard.model.task import TaskContainer

_decode = msgspec.json.Decoder(dict[str, Any]).decode

# Each form's member of a job definition, and the member of SubmitJob that overrides it.
MEMBERS = {"": "containerProperties", tasks.FORM: "ecsProperties", pods.FORM: "eksProperties"}
OVERRIDES = {"": "containerOverrides", tasks.FORM: "ecsPropertiesOverride", pods.FORM: "eksPropertiesOverride"}


def form_of(properties: dict[str, Any]) -> str:
    """The form of a definition's properties."""
    return next((form for form, member in MEMBERS.items() if form and properties.get(member)), "")


def prepare(definition: Definition) -> Prepared:
    """A definition's defaults, worked out once, whatever its form. Raises a Fault when it asks for no vCPU or memory."""
    match form_of(definition.properties):
        case tasks.FORM:
            return tasks.prepare(definition)
        case pods.FORM:
            return pods.prepare(definition)
        case _:
            return submission.prepare(definition)


def containers_of(spec: Specification, task_id: str) -> list[TaskContainer]:
    """The containers of a job that has several, in the order in which they may start; none for the classic single container."""
    match spec.form:
        case tasks.FORM:
            return tasks.task_containers(_decode(spec.effective)["taskProperties"][0], spec, task_id)
        case pods.FORM:
            return pods.pod_containers(_decode(spec.effective)["podProperties"], spec, task_id)
        case _:
            return []
