"""What the pages about the template say is what the template, the AWS CLI and the tests know."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jmespath  # type: ignore[import-untyped]
import pytest
from awscli.clidriver import create_clidriver  # type: ignore[import-untyped]
from genomics_promises import BASELINE, PROMISES
from genomics_stack import STACK_NAME, load_template, resolve

import pages

ROOT = Path(__file__).parents[2]
HOW_TO = (ROOT / "docs" / "how-to" / "deploy-on-aws.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference" / "template.md").read_text(encoding="utf-8")
RECORDER = """#!{python}
import json, os, sys
with open(os.environ["RECORD"], "a") as record:
    record.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
print("answer")
"""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Every command of the how-to as bash hands it over, in order: recorded by stand-ins for `aws` and `python`."""
    folder = tmp_path_factory.mktemp("bin")
    for name in ("aws", "python"):
        (folder / name).write_text(RECORDER.format(python=sys.executable), encoding="utf-8")
        (folder / name).chmod(0o755)
    script = "set -eu\n" + "\n".join(block.text for block in pages.blocks(HOW_TO) if block.language == "bash" and block.runs)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "RECORD": str(folder / "record")}
    subprocess.run(["bash", "-c", script], env=environment, check=True, capture_output=True, timeout=60)
    return [json.loads(line) for line in (folder / "record").read_text(encoding="utf-8").splitlines()]


@cache
def command_table() -> Any:
    """The AWS CLI's own table of services."""
    return create_clidriver()._get_command_table()


def arguments(words: list[str]) -> tuple[Any, dict[str, list[str]], list[str]]:
    """The CLI's argument table for a command, the options given, and what stands before them."""
    service, operation, *rest = words[1:]
    command = command_table()[service]
    table = command.subcommand_table if hasattr(command, "subcommand_table") else command._get_command_table()
    found = table[operation]
    if operation == "wait":
        found, rest = found.subcommand_table[rest[0]], rest[1:]
    options: dict[str, list[str]] = {"": []}
    name = ""
    for word in rest:
        if word.startswith("--"):
            name = word.removeprefix("--")
            options[name] = []
        else:
            options[name].append(word)
    return found.arg_table, options, options.pop("")


def test_the_aws_cli_knows_every_command_and_option(commands: list[list[str]]) -> None:
    common = {"query", "output", "region", "profile"}
    told = [words for words in commands if words[0] == "aws"]
    assert len(told) >= 18
    for words in told:
        table, options, _ = arguments(words)
        assert options.keys() - common <= table.keys(), words
        required = {name for name, argument in table.items() if argument.required and not argument.positional_arg}
        assert required <= options.keys(), words
        if "query" in options:
            jmespath.compile(options["query"][0])


def test_deploy_commands_name_the_template_and_its_parameters(commands: list[list[str]]) -> None:
    asked = [arguments(words)[1] for words in commands if words[1:3] == ["cloudformation", "deploy"]]
    (package,) = (arguments(words)[1] for words in commands if words[1:3] == ["cloudformation", "package"])
    assert (ROOT / package["template-file"][0]).is_file()
    deployments = [options for options in asked if options["template-file"] != package["output-template-file"]]
    assert len(deployments) == 5 and len(asked) == 6
    for options in deployments:
        assert (ROOT / options["template-file"][0]).is_file()
        assert options["capabilities"] == ["CAPABILITY_IAM"]
        named = {pair.split("=", 1)[0] for pair in options["parameter-overrides"]}
        assert named <= load_template(ROOT / options["template-file"][0])["Parameters"].keys()
    required = {name for name, declared in load_template()["Parameters"].items() if "Default" not in declared}
    assert required <= {pair.split("=", 1)[0] for pair in deployments[0]["parameter-overrides"]}


def test_the_check_script_is_called_as_it_is(commands: list[list[str]]) -> None:
    (words,) = (words for words in commands if words[0] == "python")
    script = (ROOT / words[1]).read_text(encoding="utf-8")
    for option in {*words[2::2], *re.findall(r"`(--[a-z-]+)[ `]", HOW_TO)} - {"--parameter-overrides", "--job-queue", "--help"}:
        assert f'"{option}"' in script, option


def test_names_in_the_pages_are_those_of_the_stack() -> None:
    stack = resolve(load_template(), BASELINE)
    values = json.dumps(stack.resources)
    assert set(re.findall(r"GenomicsEnv\w+", HOW_TO)) <= stack.outputs.keys()
    for name in re.findall(rf"(?:/batchyard/{STACK_NAME}/[a-z-]+|/aws/batch/{STACK_NAME}|--job-queue {STACK_NAME}-[a-z-]+)", HOW_TO):
        assert f'"{name.removeprefix("--job-queue ")}"' in values, name


def test_the_reference_has_every_parameter_and_promise_and_names_only_what_is_there() -> None:
    for name in load_template()["Parameters"]:
        assert f"`{name}`" in REFERENCE
    promises = REFERENCE.split("## Promises")[1].split("## Parameters")[0]
    for name in PROMISES:
        assert f"`{name}`" in promises
    for name in re.findall(r"`((?:test_|genomics_)\w+\.py)`", REFERENCE):
        assert (Path(__file__).parent / name).is_file(), name
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]*) \|", REFERENCE.split("## Parameters")[1].split("\n## ")[0], re.MULTILINE)
    assert len(rows) >= 15
    for names, default in rows:
        declared = [load_template()["Parameters"][name] for name in re.findall(r"`(\w+)`", names)]
        wanted = [str(entry.get("Default", "-")) or "empty" for entry in declared]
        assert default.split(", ") in (wanted, list(dict.fromkeys(wanted))), names


@pytest.mark.parametrize("page", [HOW_TO, REFERENCE], ids=["how-to", "reference"])
def test_the_pages_say_that_nobody_ran_it_on_a_live_account(page: str) -> None:
    assert re.search(r"\*\*(Not|not been) run on a live account", page)


@pytest.mark.parametrize(("page", "folder"), [(HOW_TO, "how-to"), (REFERENCE, "reference")], ids=["how-to", "reference"])
def test_links_lead_somewhere(page: str, folder: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page):
        if target.startswith("https://"):
            continue
        path = (ROOT / "docs" / folder / target).resolve() if target else None
        assert path is None or path.exists(), target
        if anchor:
            text = path.read_text(encoding="utf-8") if path else page
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
