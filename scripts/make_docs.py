"""Writes what the documentation takes from the program itself: operations, resource types, tags, settings, the command
line, the states of a job.

    make docs    all of it, into docs/ and ARCHITECTURE.md

Generated parts stand between `<!-- generated: NAME -->` and `<!-- /generated -->`; all around them is written by hand. The numbers of
docs/compatibility-baseline.json may only rise: this script writes larger ones, and refuses smaller ones.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import draw_phases
import draw_states
import resource_types
import wire_tests

from batchyard.compute.local.containers import mapping
from batchyard.main.commands import reference
from batchyard.main.commands.serve import serve
from batchyard.main.settings import Identity, Settings
from batchyard.model import tags
from batchyard.services import module_of, operator, s3
from batchyard.services.batch import fields_not_yet
from batchyard.simulate import scenario, telling

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BASELINE = DOCS / "compatibility-baseline.json"
COMMAND_LINE = DOCS / "reference" / "command-line.md"
_MARKED = re.compile(r"<!-- generated: ([a-z0-9-]+) -->\n.*?<!-- /generated -->", re.DOTALL)
_OPENED = "<!-- generated:"

Cells = Iterable[str]


class Service(NamedTuple):
    """A service of AWS as the compatibility page shows it."""

    name: str
    title: str


SERVICES = (
    Service("batch", "AWS Batch"),
    Service("logs", "CloudWatch Logs"),
    Service("s3", "Amazon S3"),
    Service("sts", "AWS STS"),
    Service("ecs", "Amazon ECS"),
    Service("secretsmanager", "AWS Secrets Manager"),
    Service("cloudformation", "AWS CloudFormation"),
    Service("ec2", "Amazon EC2"),
    Service("iam", "AWS IAM"),
    Service("ssm", "AWS Systems Manager"),
    Service("events", "Amazon EventBridge"),
    Service("lambda", "AWS Lambda"),
    Service("ecr", "Amazon ECR"),
    Service("kms", "AWS KMS"),
)


# --- tables ---


def table(head: Cells, rows: Iterable[Cells]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(list(head)), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def codes(names: Iterable[str]) -> str:
    """Names as code, in alphabetical order."""
    return ", ".join(f"`{name}`" for name in sorted(names))


def by_reason(not_yet: Mapping[str, str]) -> str:
    """What is not there, grouped by why."""
    reasons: dict[str, list[str]] = {}
    for name, why in not_yet.items():
        reasons.setdefault(why, []).append(name)
    return table(("why", "operations"), sorted((why, codes(names)) for why, names in reasons.items()))


# --- the generated parts ---


def operations_of(service: str) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """(served, not served with the reason), by operation."""
    module = importlib.import_module(f"batchyard.services.{module_of(service)}")
    return module.OPERATIONS, module.NOT_YET


def members_refused() -> dict[str, dict[str, str]]:
    """By operation of Batch: members and values that are refused, and what they would need."""
    refused: dict[str, dict[str, str]] = {}
    for operation, members in fields_not_yet.FIELDS_NOT_YET.items():
        refused.setdefault(operation, {}).update({f"`{path}`": why for path, why in members.items()})
    for operation, values in fields_not_yet.VALUES_NOT_YET.items():
        for path, meanings in values.items():
            refused.setdefault(operation, {}).update({f"`{path}`: `{value}`": why for value, why in meanings.items()})
    return refused


def counts() -> dict[str, int]:
    """How many operations of each service are served."""
    return {service.name: len(operations_of(service.name)[0]) for service in SERVICES}


def compatibility_counts() -> str:
    rows = []
    for service in SERVICES:
        served, not_yet = operations_of(service.name)
        tested, seen, tests = wire_tests.summary(service.name, served)
        link = f"[{service.title}](#{service.title.lower().replace(' ', '-')})"
        rows.append((link, str(len(served)), str(len(served) + len(not_yet)), str(tested), str(tests), str(seen)))
    return table(("service", "operations served", "of", "with tests over the wire", "such tests", "members seen"), rows)


def compatibility_of(service: str) -> str:
    served, not_yet = operations_of(service)
    aliases = getattr(importlib.import_module(f"batchyard.services.{module_of(service)}"), "ALIASES", ())
    older = f"\nOlder names of the same requests among them: {codes(aliases)}.\n" if aliases else ""
    head = ("operation", "tests", "request members", "answer members", "at any depth", "members of the request that no test sends")
    return f"{table(head, wire_tests.rows(service, served))}{older}\nNot there:\n\n{by_reason(not_yet)}"


def members() -> str:
    rows = [
        (f"`{operation}`", member, why)
        for operation, refused in sorted(members_refused().items())
        for member, why in sorted(refused.items())
    ]
    return table(("operation", "member or value", "what is not there yet"), rows)


def own_tags() -> str:
    rows = [
        (
            f"`{rule.name}`",
            ", ".join(rule.kinds),
            ", ".join(f"`{v}`" for v in rule.values),
            f"`{rule.default}`" if rule.default else "",
            rule.meaning,
        )
        for rule in tags.KNOWN
    ]
    return table(("tag", "on a", "values", "without it", "meaning"), rows)


def containers() -> str:
    """What of a job definition becomes what of a container."""
    return table(("property", "becomes", "to know"), ((f"`{row.name}`", row.becomes, row.note) for row in mapping.TABLE))


def recorded_only() -> str:
    return table(("setting", "here"), s3.RECORDED_ONLY.items())


def settings() -> str:
    """`batchyard serve`'s options, with the defaults of `Settings` or, where those depend on the machine, in words."""
    names = {"spot_notice": "spot_notice_s", "idle": "idle_s", "log_delivery": "log_delivery_s"}
    defaults = {
        "data": "`./.batchyard`",
        "port": "a free one",
        "vcpus": "all",
        "memory_mib": "all but a tenth (512 MiB at least)",
        "retention_days": "for ever; 7 with `--profile aws`",
        "enforce_iam": "with `--profile aws`",
        "region": "`us-east-1`",
        "account": "`000000000000`",
        "container_socket": "the first that answers",
        "scratch_gib": "80 % of what is free at the first start",
        "scratch_initial_gib": "a 64th of that, at least 1 and at most 16",
        "webhook": "none",
        "webhooks": "none",
    }
    rows = []
    for option in serve.params:
        assert isinstance(option, click.Option) and option.name and option.help
        value = getattr(Settings(), names.get(option.name, option.name))
        default = defaults.get(option.name) or (f"`{value:g}`" if isinstance(value, float) else f"`{value}`")
        sticky = "yes" if option.name in Identity.__dataclass_fields__ or " Sticky in the folder." in option.help else ""
        meaning = re.sub(r"\s*\[[^\]]*\]$", "", option.help).removesuffix(" Sticky in the folder.").rstrip(".")
        rows.append((f"`{option.opts[-1]}`", default, sticky, meaning))
    return table(("option", "default", "sticky", "meaning"), rows)


def own_routes() -> str:
    rows = [(f"`{verb}`", (handler.__doc__ or "").strip().splitlines()[0]) for verb, handler in operator.OPERATIONS.items()]
    return table(("verb", "what it does"), rows)


def told(name: str) -> str:
    """The trace of a story of the simulation."""
    return f"```text\n{telling.told(scenario.load(name))}```"


PARTS: dict[str, Callable[[], str]] = {
    "counts": compatibility_counts,
    **{service.name: partial(compatibility_of, service.name) for service in SERVICES},
    "members": members,
    "tags": own_tags,
    "containers": containers,
    "s3-recorded-only": recorded_only,
    "settings": settings,
    "own-routes": own_routes,
    "stack-phases": draw_phases.block,
    "resource-types": partial(resource_types.overview, table),
    "resource-types-absent": partial(resource_types.absent, table),
    "resource-types-each": resource_types.sections,
    **{one: partial(told, one) for one in scenario.names() if scenario.load(one).story is not None},
}


# --- pages ---


def renewed(page: str) -> str:
    """A page with its generated parts written anew. KeyError for a part that nobody makes, ValueError for a mark without an end."""
    new = _MARKED.sub(lambda found: f"<!-- generated: {found[1]} -->\n{PARTS[found[1]]().strip()}\n<!-- /generated -->", page)
    if len(_MARKED.findall(page)) != page.count(_OPENED):
        raise ValueError("a generated part has no end")
    return new


def wanted() -> dict[Path, str]:
    """Every page that holds something generated, as it should be."""
    made = {path: renewed(text) for path in sorted(DOCS.rglob("*.md")) if _OPENED in (text := path.read_text())}
    architecture = ROOT / "ARCHITECTURE.md"
    return {**made, COMMAND_LINE: reference.page(), architecture: draw_states.page_with_diagram(architecture.read_text())}


def losses() -> list[str]:
    """What is less than the baseline says, as sentences; none if all is well."""
    before, now = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}, counts()
    return [f"{name}: {now.get(name, 0)} operations served, {n} before" for name, n in before.items() if now.get(name, 0) < n]


def main() -> int:
    """Write all of it. Exit code 1, and the baseline left alone, if something that was served no longer is."""
    for path, text in wanted().items():
        if path.read_text() != text:
            path.write_text(text)
            print(f"written: {path.relative_to(ROOT)}")  # noqa: T201 (the program's answer)
    lost = losses()
    for loss in lost:
        print(f"less than before: {loss}", file=sys.stderr)  # noqa: T201
    if not lost:
        BASELINE.write_text(json.dumps(counts(), indent=2) + "\n")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
