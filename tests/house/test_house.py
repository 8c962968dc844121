"""The rules of the house, read off the source: floors, sizes, purity, and every AWS operation accounted for."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from batchyard.services import module_of
from batchyard.wire import shapes

SOURCE = Path(__file__).parents[2] / "src" / "batchyard"
FLOOR = {
    "model": 0,
    "core": 1,
    "wire": 1,
    "store": 2,
    "scratch": 2,
    "compute": 3,
    "engine": 4,
    "services": 5,
    "server": 6,
    "simulate": 6,
    "main": 7,
}
FILES = sorted(SOURCE.rglob("*.py"))
IMPURE = {"time", "datetime", "random", "secrets", "os", "io", "socket", "subprocess", "pathlib", "threading", "asyncio", "logging"}


def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0]


def is_pure(path: Path) -> bool:
    """The law, the nouns, what of Stacks only thinks (the language of templates, the plan of an update), and when scratch space grows."""
    parts = path.relative_to(SOURCE).parts
    if parts in (("scratch", "policy.py"), ("scratch", "rates.py"), ("compute", "local", "scratch_shares.py")):
        return True
    return parts[0] in ("core", "model") or (parts[:2] == ("services", "cloudformation") and parts[2] in ("template", "planning"))


@pytest.mark.parametrize("path", [p for p in FILES if len(p.relative_to(SOURCE).parts) > 1], ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "batchyard" or len(parts) < 2 or parts[1] not in FLOOR:
            continue
        there = parts[1]
        assert there == here or FLOOR[there] < FLOOR[here], f"{path.relative_to(SOURCE)} ({here}) imports {name} ({there})"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_fits_in_the_head(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 500, f"{len(lines)} lines: two reasons to exist"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", [p for p in FILES if is_pure(p)], ids=lambda p: str(p.relative_to(SOURCE)))
def test_the_core_is_pure(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)}
    assert not used & IMPURE, f"{sorted(used & IMPURE)} in {path.name}: time and chance are arguments"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_module_says_why_it_exists(path: Path) -> None:
    text = path.read_text()
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "one sentence on why it exists"


@pytest.mark.parametrize(
    "service",
    ["batch", "logs", "sts", "s3", "ssm", "iam", "ec2", "secretsmanager", "ecs", "events", "lambda", "cloudformation", "ecr", "kms"],
)
def test_every_operation_is_there_or_said_not_to_be(service: str) -> None:
    module = importlib.import_module(f"batchyard.services.{module_of(service)}")
    known = set(shapes.load(service).operations)
    served, not_yet = set(module.OPERATIONS), set(module.NOT_YET)
    assert not served & not_yet
    assert served | not_yet == known, (
        f"unaccounted: {sorted(known - served - not_yet)}; unknown to AWS: {sorted((served | not_yet) - known)}"
    )


def test_every_test_file_has_a_name_of_its_own() -> None:
    """pytest imports them all side by side."""
    names = [path.name for path in (SOURCE.parents[1] / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(set(names)) == sorted(names)
