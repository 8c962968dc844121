"""`batchyard stack graph`: what it draws of a template and of a stack, how it is laid out, and that texts fit."""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.main.cli import batchyard
from batchyard.main.client import Trouble
from batchyard.main.commands.stack import graph
from batchyard.main.graph import picture
from batchyard.main.graph.elements import marks, without_marks
from batchyard.main.graph.environment import Environment
from batchyard.main.graph.layout import GAP_Y, Box, Link, laid_out
from batchyard.main.graph.reading import of_file
from yard import Yard

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE, PARTS = ROOT / "templates" / "genomics.yaml", ROOT / "templates" / "genomics" / "root.yaml"
ORIGINALS = ROOT.parent / "shared" / "templates"


def run(*arguments: str) -> str:
    """What the command prints; raises what it raises."""
    done = CliRunner().invoke(graph, list(arguments), standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


def arrows(environment: Environment) -> dict[tuple[str, str], str]:
    """(from, to) -> label, by the ends of the ids."""
    return {(edge.source.rpartition("/")[2], edge.target.rpartition("/")[2]): edge.label for edge in environment.edges}


@pytest.mark.parametrize("template", [TEMPLATE, PARTS], ids=["whole", "in parts"])
def test_who_hangs_together_with_whom(template: Path) -> None:
    found = of_file(template, "genomics", {})
    told = arrows(found)
    assert told["DefaultJobQueue", "SpotComputeEnvironment"] == told["HighPriorityJobQueue", "OnDemandComputeEnvironment"] == "1"
    assert told["DefaultJobQueue", "OnDemandComputeEnvironment"] == "2, if idle"
    assert told["HighPriorityJobQueue", "SpotComputeEnvironment"] == "2, scales"
    assert told["JobRole", "ResultsBucket"] == "reads and writes"
    assert told["JobRole", "LogBucket"] == "writes jobs/"
    assert told["ResultsBucket", "LogBucket"] == "access log s3-access/"
    assert told["JobLogGroup", "LogBucket"] == "files job-logs/"
    assert told["StarterJobDefinition", "JobRole"] == "runs as" and told["StarterJobDefinition", "JobLogGroup"] == "output"
    for environment in ("SpotComputeEnvironment", "OnDemandComputeEnvironment"):
        for other in ("InstanceRole", "InstanceLaunchTemplate", "InstanceSecurityGroup"):
            assert told[environment, other] == ""
    boxes = {node.id.rpartition("/")[2]: node for node in found.nodes}
    assert boxes["DefaultJobQueue"].title == "genomics-default" and boxes["HighPriorityJobQueue"].lines == ("priority 100",)
    assert boxes["SpotComputeEnvironment"].lines == ("Spot, at most 100 % of the price", "0 to 256 vCPUs", "optimal")
    assert ("VPC" in boxes) == (template == PARTS)


def test_parameters_change_the_drawing() -> None:
    given = {"BaselinevCpus": "32", "ExistingResultsBucket": "ours", "InputBucketArns": "arn:aws:s3:::reads", "ResultsPrefix": "a/"}
    found = of_file(TEMPLATE, "genomics", given)
    told = arrows(found)
    assert told["DefaultJobQueue", "BaselineComputeEnvironment"] == "2, if idle"
    assert told["HighPriorityJobQueue", "SpotComputeEnvironment"] == "3, scales"
    role = {edge.target: edge.label for edge in found.edges if edge.source == "JobRole"}
    assert role["arn:aws:s3:::ours"] == "reads and writes a/" and role["arn:aws:s3:::reads"] == "reads"
    assert next(node for node in found.nodes if node.title == "ours").lines == ("not of this stack",)
    with pytest.raises(Trouble, match="has no parameter SpotVCpus"):
        of_file(TEMPLATE, "genomics", {"SpotVCpus": "1"})


@pytest.mark.parametrize("name", sorted(path.name for path in ORIGINALS.glob("*.yaml")) or ["none"])
def test_the_templates_of_2018(name: str, tmp_path: Path) -> None:
    """Also what nests others at addresses that nobody answers: these are left out."""
    path = ORIGINALS / name
    found = of_file(path, "old", {})
    if name == "aws-genomics-batch.template.yaml":
        assert arrows(found)["GenomicsDefaultQueue", "GenomicsHighPriorityComputeEnv"] == "2, scales"
        assert next(node for node in found.nodes if node.kind == "Security group").lines == ("2 rules for who comes in",)
    if name.startswith("aws-genomics-root"):
        with pytest.raises(Trouble, match="part of a batch environment"):
            run(str(path), "-o", str(tmp_path / "x.svg"))


def test_the_committed_drawing_is_what_the_command_draws(tmp_path: Path) -> None:
    """`batchyard stack graph templates/genomics.yaml -o docs/images/environment.svg` brings it up to date."""
    run(str(TEMPLATE), "-o", str(tmp_path / "now.svg"))
    assert (tmp_path / "now.svg").read_text() == (ROOT / "docs" / "images" / "environment.svg").read_text()


def shapes(file: Path) -> tuple[ElementTree.Element, list[dict[str, float]], list[tuple[float, float, str, float, str]]]:
    root = ElementTree.parse(file).getroot()
    names = ("x", "y", "width", "height")
    rectangles = [{name: float(one.attrib[name]) for name in names} for one in root.findall(".//{*}rect")]
    texts = [
        (float(one.attrib["x"]), float(one.attrib["y"]), one.text or "", float(one.attrib["font-size"]), one.attrib.get("text-anchor", ""))
        for one in root.findall(".//{*}text")
    ]
    return root, rectangles, texts


@pytest.mark.parametrize("options", [(), ("--stack-name", "a-very-long-name-of-a-stack-which-somebody-has-typed-who-likes-long-names")])
def test_texts_stay_in_their_boxes_and_boxes_apart(options: tuple[str, ...], tmp_path: Path) -> None:
    run(str(TEMPLATE), "-o", str(tmp_path / "x.svg"), *options)
    root, (sheet, *boxes), texts = shapes(tmp_path / "x.svg")
    assert root.findtext("{*}title") and "SpotComputeEnvironment" in str(root.findtext("{*}desc"))
    for x, y, text, size, anchor in texts:
        width = picture.width_of(text, size, is_bold=size == picture.TITLE_SIZE)
        left = x - width / 2 if anchor == "middle" else x
        assert sheet["x"] <= left and left + width <= sheet["width"], text
        around = [box for box in boxes if box["x"] <= x <= box["x"] + box["width"] and box["y"] <= y <= box["y"] + box["height"]]
        for box in around:
            assert box["x"] <= left and left + width <= box["x"] + box["width"] + 0.1, text
    for n, one in enumerate(boxes):
        for other in boxes[:n]:
            across = min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"])
            down = min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"])
            assert across <= 0 or down <= 0, (one, other)


def test_a_png_of_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="comes with the extra demo")
    run(str(TEMPLATE), "-o", str(tmp_path / "x.png"))
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return there(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Trouble) as caught:
        run(str(TEMPLATE), "-o", str(tmp_path / "x.png"))
    assert "batchyard[demo]" in str(caught.value.fix)


def test_what_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match=r"x\.gif must end in \.svg or \.png"):
        run(str(TEMPLATE), "-o", str(tmp_path / "x.gif"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("Resources:\n  Queue:\n    Type: AWS::Batch::JobQueue\n    Properties: {Priority: !Ref Nobody}\n")
    with pytest.raises(Trouble, match="Nobody"):
        run(str(broken), "-o", str(tmp_path / "x.svg"))
    with pytest.raises(Trouble, match="cannot be written"):
        run(str(TEMPLATE), "-o", str(tmp_path / "no" / "x.svg"))
    assert "graph" in CliRunner().invoke(batchyard, ["stack", "--help"]).output


def test_a_stack_that_is_there_with_the_names_that_it_got(yard: Yard, tmp_path: Path) -> None:
    options = ("--stack-name", "lab", "--data", str(yard.data), "--capabilities", "CAPABILITY_IAM")
    yard.cli("stack", "deploy", str(PARTS), "--parameter", "BaselinevCpus=0", *options)
    told = json.loads(yard.cli("stack", "graph", "lab", "-o", str(tmp_path / "lab.svg"), "--data", str(yard.data), "--json").stdout)
    titles = {node["id"]: node["title"] for node in told["nodes"]}
    assert titles["ComputeStack/DefaultJobQueue"] == "lab-default"
    buckets = {bucket["Name"] for bucket in yard.client("s3").list_buckets()["Buckets"]}
    assert {titles["StorageStack/ResultsBucket"], titles["StorageStack/LogBucket"]} <= buckets
    labels = {(edge["source"], edge["target"]): edge["label"] for edge in told["edges"]}
    assert labels["ComputeStack/DefaultJobQueue", "ComputeStack/OnDemandComputeEnvironment"] == "2, if idle"
    assert labels["IdentityStack/JobRole", "StorageStack/LogBucket"] == "writes jobs/"
    refused = yard.cli("stack", "graph", "nobody", "-o", str(tmp_path / "x.svg"), "--data", str(yard.data), check=False)
    assert refused.returncode == 1 and "nobody" in refused.stderr


def test_marks_are_found_and_taken_out() -> None:
    value = {"a": ["⟦Storage/Log⟧/x", "⟦Role|Arn⟧ and ⟦Role⟧"], "b": 3}
    assert marks(value) == ["Storage/Log", "Role"]
    assert without_marks("s3://⟦Storage/Log|Arn⟧/x") == "s3://Log/x"


# --- the layout by itself ---

_IDS = st.integers(0, 9).map(str)
_GRAPHS = st.tuples(
    st.dictionaries(_IDS, st.tuples(st.integers(50, 300), st.integers(20, 120), st.integers(0, 3)), min_size=1),
    st.lists(st.tuples(_IDS, _IDS), max_size=25),
)


@settings(max_examples=150, deadline=None)
@given(_GRAPHS)
def test_boxes_never_touch_and_arrows_begin_and_end_at_theirs(
    drawn: tuple[Mapping[str, tuple[int, int, int]], list[tuple[str, str]]],
) -> None:
    sizes, wanted = drawn
    boxes = [Box(id, *size) for id, size in sizes.items()]
    links = [Link(a, b) for a, b in dict.fromkeys(wanted) if a in sizes and b in sizes and a != b]
    layout = laid_out(boxes, links)
    assert layout == laid_out(boxes, links), "the same graph, the same layout"
    placed = {box.id: (*layout.places[box.id], layout.widths[box.id], box.height) for box in boxes}
    for n, one in enumerate(boxes):
        x, y, width, height = placed[one.id]
        assert width >= one.width and x >= 0 and y >= -0.01
        assert x + width <= layout.width + 0.01 and y + height <= layout.height + 0.01
        for other in boxes[:n]:
            ox, oy, owidth, oheight = placed[other.id]
            assert x + width < ox or ox + owidth < x or y + height <= oy - GAP_Y + 0.01 or oy + oheight <= y - GAP_Y + 0.01
    for link, route in zip(links, layout.routes, strict=True):
        x, y, width, height = placed[link.source]
        assert route[0][0] == x + width and y < route[0][1] < y + height
        x, y, _, height = placed[link.target]
        assert route[-1][0] == x and y < route[-1][1] < y + height


def test_arrows_go_to_the_right_where_nothing_goes_round() -> None:
    layout = laid_out([Box(id, 100, 40) for id in "dcba"], [Link("a", "b"), Link("b", "c"), Link("a", "d"), Link("c", "d")])
    x = {id: place[0] for id, place in layout.places.items()}
    assert x["a"] < x["b"] < x["c"] < x["d"]
    assert len(layout.routes[2]) == 6, "the long way passes two columns"


def test_an_arrow_back_is_drawn_too() -> None:
    layout = laid_out([Box(id, 100, 40) for id in "ab"], [Link("a", "b"), Link("b", "a")])
    assert len(layout.routes) == 2


def test_long_names_keep_both_ends() -> None:
    assert picture.shortened("a" * 30 + "z" * 30) == "a" * 20 + "…" + "z" * 19
    assert picture.shortened("short") == "short"
