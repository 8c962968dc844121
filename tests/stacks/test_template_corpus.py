"""A corpus of valid and broken templates: our verdicts word for word and line by line, and cfn-lint's beside them.

`corpus/verdicts.txt` has a line for each broken template: what we refuse it with. Where cfn-lint, the field's own linter, thinks otherwise
or names another line, docs/reference/stacks-language.md says why, in a table that this test compares.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from batchyard.services.cloudformation.schemas.attributes import has_attribute
from batchyard.services.cloudformation.schemas.reading import known
from batchyard.services.cloudformation.template import parameters, syntax
from batchyard.services.cloudformation.template.checking import check
from batchyard.services.cloudformation.template.loops import expanded
from batchyard.services.cloudformation.template.model import TemplateFault
from batchyard.services.cloudformation.template.reading import read

CORPUS = Path(__file__).parent / "corpus"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "stacks-language.md"
FILES = sorted(path for path in CORPUS.glob("*/*"))
VERDICTS = dict(line.split(": ", 1) for line in (CORPUS / "verdicts.txt").read_text().splitlines())


def named(path: Path) -> str:
    return str(path.relative_to(CORPUS))


def verdict(path: Path) -> TemplateFault | None:
    try:
        check(expanded(read(path.read_text())), known(), has_attribute)
    except TemplateFault as refused:
        return refused
    return None


@pytest.mark.parametrize("path", FILES, ids=named)
def test_each_gets_its_verdict(path: Path) -> None:
    refused = verdict(path)
    assert (refused.message if refused else None) == VERDICTS.get(named(path))
    if refused is not None:
        assert 1 <= refused.line <= len(path.read_text().splitlines()), "every refusal names a line of the text"


def test_the_verdicts_are_of_templates_that_are_there() -> None:
    assert sorted(VERDICTS) == [named(path) for path in FILES if path.parent.name == "broken"]


def test_where_the_linter_differs_the_page_says_why() -> None:
    """Runs cfn-lint once, over all of them: it takes three seconds to start."""
    command = [sys.executable, "-c", "from cfnlint.runner import main; main()", "--format", "json", "--", *map(str, FILES)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    theirs: dict[str, set[int]] = {}
    for problem in json.loads(answer.stdout):
        if problem["Level"] == "Error":
            theirs.setdefault(named(Path(problem["Filename"])), set()).add(problem["Location"]["Start"]["LineNumber"])
    differs = {}
    for path in FILES:
        ours, lines = verdict(path), theirs.get(named(path), set())
        if (ours is None) != (not lines) or (ours is not None and ours.line not in lines):
            differs[path.name] = (str(ours.line) if ours else "valid", ", ".join(map(str, sorted(lines))) or "valid")
    rows = re.findall(r"^\| `(\S+)` \| (.+?) \| (.+?) \| .+ \|$", PAGE.read_text(), re.M)
    assert {name: (ours, lines) for name, ours, lines in rows} == differs


def test_the_page_names_all_that_there_is() -> None:
    page = PAGE.read_text()
    assert [name for name in sorted(syntax.KNOWN | syntax.PSEUDO) if f"`{name}`" not in page] == []
    plain = {re.sub(r"^(AWS::SSM::Parameter::Value<)?(List<)?([^<>]*)>*$", r"\3", name) for name in parameters.TYPES}
    assert [name for name in sorted(plain) if f"`{name}`" not in page and f"`List<{name}>`" not in page] == []
