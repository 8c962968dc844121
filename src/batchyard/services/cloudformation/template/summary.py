"""What can be said of a template without deploying it: the answers of GetTemplateSummary and ValidateTemplate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from batchyard.services.cloudformation.template import parameters, syntax
from batchyard.services.cloudformation.template.model import Template

# The types that can give rights, with the property that names them where there is one.
RIGHTS = {
    "AWS::IAM::AccessKey": "",
    "AWS::IAM::Group": "GroupName",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Policy": "",
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::User": "UserName",
    "AWS::IAM::UserToGroupAddition": "",
}


def summary(template: Template) -> dict[str, Any]:
    """The members of GetTemplateSummary's answer, in AWS spelling; those without a value are left out."""
    declared = template.section("Parameters")
    found: dict[str, Any] = {
        "Parameters": [_parameter(name, parts) for name, parts in declared.items() if isinstance(parts, Mapping)],
        "ResourceTypes": list(dict.fromkeys(str(resource["Type"]) for resource in _resources(template.section("Resources")))),
        "DeclaredTransforms": syntax.transforms(template),
    }
    if template.content.get("Description") is not None:
        found["Description"] = parameters.as_text(template.content["Description"])
    if template.content.get("AWSTemplateFormatVersion") is not None:
        found["Version"] = str(template.content["AWSTemplateFormatVersion"])
    if template.content.get("Metadata"):
        found["Metadata"] = json.dumps(template.content["Metadata"], separators=(",", ":"), ensure_ascii=False)
    if needed := capabilities(template):
        found["Capabilities"] = needed
        found["CapabilitiesReason"] = reason(template)
    return found


def capabilities(template: Template) -> list[str]:
    """The capabilities that a caller must acknowledge: for rights, for rights under a name of one's own, for transforms."""
    rights = _rights(template)
    needed = []
    if rights:
        is_named = any(isinstance(properties, Mapping) and RIGHTS[kind] in properties for kind, properties in rights if RIGHTS[kind])
        needed.append("CAPABILITY_NAMED_IAM" if is_named else "CAPABILITY_IAM")
    if syntax.transforms(template):
        needed.append("CAPABILITY_AUTO_EXPAND")
    return needed


def reason(template: Template) -> str:
    """Why, in AWS's words."""
    kinds = list(dict.fromkeys(kind for kind, _ in _rights(template)))
    if kinds:
        return f"The following resource(s) require capabilities: [{', '.join(kinds)}]"
    return f"The following transform(s) require capabilities: [{', '.join(syntax.transforms(template))}]"


def _rights(template: Template) -> list[tuple[str, Any]]:
    resources = _resources(template.section("Resources"))
    return [(resource["Type"], resource.get("Properties") or {}) for resource in resources if resource["Type"] in RIGHTS]


def _resources(section: Any) -> Iterator[Mapping[str, Any]]:
    """The resources that a section declares, within loops too, whose collections may not be known yet."""
    for name, resource in section.items() if isinstance(section, Mapping) else ():
        if name.startswith("Fn::ForEach::") and isinstance(resource, list) and resource:
            yield from _resources(resource[-1])
        elif isinstance(resource, Mapping) and isinstance(resource.get("Type"), str):
            yield resource


def _parameter(name: str, parts: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"ParameterKey": name}
    if parts.get("Default") is not None:
        found["DefaultValue"] = parameters.as_text(parts["Default"])
    found["ParameterType"] = str(parts.get("Type", "String"))
    found["NoEcho"] = parameters.as_text(parts.get("NoEcho", False)).lower() == "true"
    if parts.get("Description") is not None:
        found["Description"] = parameters.as_text(parts["Description"])
    allowed = parts.get("AllowedValues")
    found["ParameterConstraints"] = (
        {"AllowedValues": [parameters.as_text(each) for each in allowed]} if isinstance(allowed, list) and allowed else {}
    )
    return found
