"""What our pages say exists: links lead somewhere, commands, options, targets and tests are there, snippets are whole."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import pages
from batchyard.main.cli import COMMANDS, batchyard

EVERY = pages.pages()
USER_PAGES = [page for page in EVERY if "decisions" not in page.parts and page.name not in ("CONTRIBUTING.md", "CHANGELOG.md")]
INDEX = pages.ROOT / "docs" / "index.md"

_LINK = re.compile(r"!?\[[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_CALL = re.compile(r"(?<![\w./-])batchyard ([a-z]+)\b([^|;&)`\n]*)")
_TEST = re.compile(r"\btests/[\w/]+\.py(?:::\w+)?")
_TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")


def ids(page: Path) -> str:
    return str(page.relative_to(pages.ROOT))


def links(page: Path) -> Iterator[str]:
    for found in _LINK.finditer(pages.prose(page.read_text())):
        yield found[1] or found[2]


def anchors(page: Path) -> set[str]:
    """The headings' names in links, as GitHub makes them."""
    found: set[str] = set()
    for line in pages.prose(page.read_text()).splitlines():
        if re.match(r"#{1,6} ", line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.lstrip("#").strip()).lower()
            found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


def code(page: Path) -> Iterator[str]:
    """All that is set as code: spans, and the lines of blocks with continued lines joined."""
    text = page.read_text()
    for block in pages.blocks(text):
        if block.language != "text":
            yield from block.text.replace("\\\n", " ").splitlines()
    prose = pages.prose(text)
    yield from (line.strip() for line in prose.splitlines() if line.startswith("    "))
    for found in _CODE.finditer(prose):
        yield found[1]


@pytest.mark.parametrize("page", EVERY, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{link} leads nowhere"
        assert there.is_relative_to(pages.ROOT), f"{link} leads out of the repository"
        if anchor:
            assert anchor in anchors(there), f"{link}: there is no such heading in {there.name}"


def test_every_page_is_in_the_index() -> None:
    linked = {(INDEX.parent / link.partition("#")[0]).resolve() for link in links(INDEX)}
    missing = [
        page
        for page in sorted((pages.ROOT / "docs").rglob("*.md"))
        if page not in linked and page != INDEX and "decisions" not in page.parts
    ]
    assert not missing


@pytest.mark.parametrize("page", USER_PAGES, ids=ids)
def test_commands_and_options_exist(page: Path) -> None:
    top = click.Context(batchyard)
    for line in code(page):
        for name, rest in _CALL.findall(line):
            assert name in COMMANDS, f"batchyard {name}: there is no such command"
            command = batchyard.get_command(top, name)
            assert command is not None
            if isinstance(command, click.Group) and (found := command.get_command(top, (rest.split() or [""])[0])) is not None:
                command = found
            known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
            given = re.findall(r"(?<![\w-])(-{1,2}[a-z][a-z-]*)", rest.partition(" -- ")[0])
            assert not set(given) - known, f"batchyard {name} has no {sorted(set(given) - known)}: {line}"


@pytest.mark.parametrize("page", EVERY, ids=ids)
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (pages.ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in code(page):
        for target in _TARGET.findall(line):
            assert target in targets, f"there is no make {target}: {line}"


@pytest.mark.parametrize("page", EVERY, ids=ids)
def test_tests_that_are_named_exist(page: Path) -> None:
    for named in set(_TEST.findall(page.read_text())):
        path, _, test = named.partition("::")
        assert (pages.ROOT / path).is_file(), f"there is no {path}"
        if test:
            functions = {
                n.name
                for n in ast.walk(ast.parse((pages.ROOT / path).read_text()))
                if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            assert test in functions, f"{path} has no {test}"


@pytest.mark.parametrize("page", EVERY, ids=ids)
def test_snippets_are_whole(page: Path) -> None:
    for block in pages.blocks(page.read_text()):
        if block.language == "python":
            compile(block.text, f"{page.name}:{block.line}", "exec")
        elif block.language == "json":
            json.loads(block.text)


@pytest.mark.parametrize("page", EVERY, ids=ids)
def test_nothing_of_the_writers_machine(page: Path) -> None:
    found = re.search(r"(?<![\w.])/(?:root|home|work|tmp|Users)/\w+", page.read_text())
    assert not found, f"{found and found[0]} is a path of one machine"


def test_every_example_is_in_its_list() -> None:
    index = pages.ROOT / "examples" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve().parent for link in links(index)}
    missing = {page.parent for page in index.parent.glob("*/README.md")} - linked
    assert not missing


def test_decisions_are_numbered_without_gaps_or_doubles() -> None:
    """And each says its number, and whoever refers to one by its number refers to one that is there."""
    decisions = sorted((pages.ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in decisions] == list(range(1, len(decisions) + 1))
    for number, page in enumerate(decisions, start=1):
        assert page.read_text().startswith(f"# {number}. "), f"{page.name} begins with its number"
    sources = [path for folder in ("src", "tests", "bench") for path in (pages.ROOT / folder).rglob("*.py")]
    for source in [*EVERY, *sources]:
        for name in re.findall(r"docs/decisions/([\w-]+)", source.read_text()):
            assert any(page.stem.startswith(name) for page in decisions), f"{ids(source)} refers to decision {name}"


def test_the_promises_of_the_readme_name_their_tests() -> None:
    rows = re.findall(r"^\| (\*\*|\d\.).*\|$", (pages.ROOT / "README.md").read_text(), re.MULTILINE)
    table = [line for line in (pages.ROOT / "README.md").read_text().splitlines() if re.match(r"\| (\*\*\w|\d\. )", line)]
    assert len(rows) == len(table) == 10, "three things that Batch manages, six that the template creates, the storage that grows"
    for line in table:
        proof = line.rstrip(" |").rpartition("|")[2].strip()
        assert _TEST.fullmatch(proof.strip("`")) or (proof == "-" and "not there yet" in line), line
