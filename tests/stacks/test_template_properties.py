"""What holds of all templates: laws of reading, of functions and of references, tried on many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchyard.services.cloudformation.template import conditions, functions, parameters, references, summary, syntax
from batchyard.services.cloudformation.template.checking import check
from batchyard.services.cloudformation.template.functions import LATER, Scope, resolve
from batchyard.services.cloudformation.template.loops import expanded
from batchyard.services.cloudformation.template.model import Template, TemplateFault
from batchyard.services.cloudformation.template.reading import read

calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine too
CORPUS = Path(__file__).parent / "corpus" / "valid"
OURS = Path(__file__).parents[2] / "templates" / "genomics.yaml"
TEXTS = sorted({path.read_text() for path in [*CORPUS.iterdir(), OURS]})
PSEUDO = {
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "012345678901",
    "AWS::StackName": "lab",
    "AWS::StackId": "arn:stack",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NotificationARNs": ["arn:one"],
}
HEAD = {
    "Parameters": {"Word": {"Type": "String", "Default": "reads"}, "Words": {"Type": "CommaDelimitedList", "Default": "a,b,c"}},
    "Mappings": {"Map": {"reads": {"Number": 1, "List": ["x", "y"]}}},
    "Resources": {"Made": {"Type": "AWS::S3::Bucket"}, "Later": {"Type": "AWS::S3::Bucket"}},
}
SCOPE = Scope(
    Template(HEAD, ""),
    {"Word": "reads", "Words": "a,b,c"},
    PSEUDO,
    conditions={"Is": True, "Isnt": False},
    refs={"Made": "made"},
    attributes={"Made": {"Arn": "arn:made", "List": ["l", "m"]}},
    exports={"reads": "exported"},
    zones={"": ["us-east-1a"], "us-east-1": ["us-east-1a"]},
    is_plan=True,
)

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Co", "Cn")), max_size=12)
scalars = st.one_of(words, st.integers(-(10**17), 10**17), st.booleans())
names = st.sampled_from(["Word", "Made", "Later", "AWS::Region", "AWS::NoValue"])


def calls(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Calls of functions that come to something, whatever it is."""
    plain = st.one_of(st.sampled_from([{"Ref": "Word"}, {"Ref": "Made"}, {"Fn::GetAtt": ["Made", "Arn"]}, {"Ref": "Later"}]), words)
    lists = st.one_of(st.lists(plain, min_size=1, max_size=3), st.just({"Ref": "Words"}), st.just({"Fn::GetAtt": ["Made", "List"]}))
    return st.one_of(
        names.map(lambda name: {"Ref": name}),
        st.just({"Fn::GetAtt": ["Later", "Arn"]}),
        st.sampled_from(["${Word}-${Made.Arn}", "${!x} ${AWS::Region}", "plain", "${Later}"]).map(lambda text: {"Fn::Sub": text}),
        plain.map(lambda each: {"Fn::Sub": ["${X} ${Word}", {"X": each}]}),
        lists.map(lambda each: {"Fn::Join": ["|", each]}),
        plain.map(lambda each: {"Fn::Split": ["a", each]}),
        lists.map(lambda each: {"Fn::Select": [0, each]}),
        plain.map(lambda each: {"Fn::Base64": each}),
        st.sampled_from(["Number", "List"]).map(lambda key: {"Fn::FindInMap": ["Map", {"Ref": "Word"}, key]}),
        st.tuples(st.sampled_from(["Is", "Isnt"]), inner, inner).map(lambda three: {"Fn::If": list(three)}),
        st.just({"Fn::GetAZs": ""}),
        st.just({"Fn::ImportValue": {"Ref": "Word"}}),
        st.just({"Fn::Cidr": ["10.0.0.0/16", 2, 8]}),
    )


keys = st.text("ABCabc123", min_size=1, max_size=4)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3), calls(inner)),
    max_leaves=12,
)


def holds_call(value: Any) -> bool:
    if isinstance(value, dict):
        return syntax.function(value) is not None or any(map(holds_call, value.values()))
    return isinstance(value, list) and any(map(holds_call, value))


@calm
@given(values)
def test_nothing_of_a_function_is_left(value: Any) -> None:
    once = resolve(value, SCOPE, ())
    assert not holds_call(once)
    assert "NoValue" not in repr(once) or "NoValue" in json.dumps(value).replace('{"Ref": "AWS::NoValue"}', "")
    assert resolve(once, SCOPE, ()) == once, "what is resolved stays"


@calm
@given(words)
def test_a_text_without_a_variable_is_itself(text: str) -> None:
    text = text.replace("${", "$")
    assert resolve({"Fn::Sub": text}, SCOPE, ()) == text


@calm
@given(st.lists(words, min_size=1, max_size=5), st.text("-,|:", min_size=1, max_size=2))
def test_split_undoes_join(elements: list[str], delimiter: str) -> None:
    joined = resolve({"Fn::Join": [delimiter, elements]}, SCOPE, ())
    split = resolve({"Fn::Split": [delimiter, joined]}, SCOPE, ())
    assert delimiter.join(split) == joined
    if not any(delimiter[0] in element for element in elements):
        assert split == elements


SPOTS = [*syntax.KNOWN, "Type", "Default", "Value", "Export", "Name", "DependsOn", "Properties", "Assert", "Fn::ForEach::L", "Condition"]


class Short(yaml.SafeDumper):
    """Writes functions with their short tags where YAML allows it: not for one directly within another."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_dict(self, data: Any) -> yaml.Node:
        call = syntax.function(data)
        if call is not None and f"!{call[0].removeprefix('Fn::')}" and not isinstance(call[1], dict | bool | int):
            node = self.represent_data(call[1])
            if not node.tag.startswith("!"):
                node.tag = f"!{call[0].removeprefix('Fn::')}"
                return node
        return self.represent_mapping("tag:yaml.org,2002:map", data)


Short.add_representer(dict, Short.represent_dict)


class Long(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


@calm
@given(st.dictionaries(keys, values, min_size=1, max_size=3), st.booleans(), st.integers(20, 200))
def test_yaml_long_and_short_and_json_say_the_same(content: dict[str, Any], is_flow: bool, width: int) -> None:
    wanted = read(json.dumps(content)).content
    assert wanted == content
    assert (
        read("# YAML\n" + yaml.dump(content, Dumper=Long, default_flow_style=is_flow, width=width, allow_unicode=True)).content == content
    )
    assert (
        read("# YAML\n" + yaml.dump(content, Dumper=Short, default_flow_style=is_flow, width=width, allow_unicode=True)).content == content
    )


@calm
@given(st.dictionaries(keys, values, min_size=1, max_size=4))
def test_every_key_stands_on_its_line(content: dict[str, Any]) -> None:
    for text in (json.dumps(content, indent=1), yaml.dump(content, Dumper=Long)):
        template = read(text)
        for path, line in template.lines.items():
            if isinstance(path[-1], str):
                assert path[-1] in text.splitlines()[line - 1]


graphs = st.dictionaries(st.sampled_from("ABCDEFGH"), st.frozensets(st.sampled_from("ABCDEFGH"), max_size=3), min_size=1)


@calm
@given(graphs, st.randoms(use_true_random=False))
def test_the_order_of_resources_does_not_matter(graph: dict[str, frozenset[str]], random: Any) -> None:
    def wired(order: list[str]) -> Template:
        resources = {}
        for name in order:
            refs = [{"Ref": other} for other in sorted(graph[name] & graph.keys())]
            resources[name] = {"Type": "AWS::S3::Bucket", "Properties": {"Tags": refs}}
        return Template({"Resources": resources}, "")

    order = sorted(graph)
    shuffled = random.sample(order, len(order))
    try:
        needed = references.needs(wired(order), {})
    except TemplateFault as circular:
        assert circular.message.startswith("Circular dependency between resources: [")
        try:
            references.needs(wired(shuffled), {})
        except TemplateFault:
            return
        raise AssertionError("a circle is one in any order") from None
    assert needed == references.needs(wired(shuffled), {})
    assert needed == {name: others & graph.keys() for name, others in graph.items()}


@st.composite
def mutated(draw: Any) -> str:
    """A valid template with something broken: a line gone, twice or elsewhere, a stretch gone, or characters put in."""
    text: str = draw(st.sampled_from(TEXTS))
    lines = text.split("\n")
    at = draw(st.integers(0, len(lines) - 1))
    match draw(st.sampled_from(["gone", "twice", "moved", "indented", "cut", "put", "swapped"])):
        case "gone":
            lines.pop(at)
        case "twice":
            lines.insert(at, lines[at])
        case "moved":
            lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
        case "indented":
            lines[at] = draw(st.sampled_from([" ", "  ", "\t"])) + lines[at]
        case "cut":
            column = draw(st.integers(0, len(lines[at])))
            lines[at] = lines[at][:column] + lines[at][column + draw(st.integers(1, 5)) :]
        case "put":
            column = draw(st.integers(0, len(lines[at])))
            lines[at] = lines[at][:column] + draw(st.text("\t'\"{}[]:,!&*#|>-?$ aR0\u2028", min_size=1, max_size=3)) + lines[at][column:]
        case _:
            words_of = lines[at].split(" ")
            lines[at] = " ".join(reversed(words_of))
    return "\n".join(lines)


def deployed(text: str) -> None:
    """As far as a plan goes: everything that may be refused is."""
    template = expanded(read(text))
    check(template)
    declared = template.section("Parameters")
    summary.summary(template)
    given = {name: "1" for name, parts in declared.items() if "Default" not in parts and "AllowedPattern" not in parts}
    settled = parameters.settle(template, {**given, **{name: "abcdefg1" for name, parts in declared.items() if "AllowedPattern" in parts}})
    scope = Scope(template, settled, PSEUDO, is_plan=True, zones={"": ["us-east-1a", "us-east-1b"]})
    scope = Scope(template, settled, PSEUDO, conditions.decide(scope), is_plan=True, zones=scope.zones)
    for name in references.needs(template, scope.conditions):
        resource = template.section("Resources")[name]
        resolve(resource.get("Properties"), scope, ("Resources", name, "Properties"))
        functions.imported(resource.get("Properties"), scope, ("Resources", name, "Properties"))
    for name, output in template.section("Outputs").items():
        if conditions.holds(output, scope.conditions):
            assert functions.output(output["Value"], scope, ("Outputs", name, "Value")) is not None


@settings(calm, max_examples=300)
@given(mutated())
def test_a_broken_template_is_refused_with_a_line_of_it(text: str) -> None:
    try:
        summary.summary(read(text))
        deployed(text)
    except TemplateFault as refused:
        if not refused.message.startswith("Parameters: ["):
            assert 1 <= refused.line <= text.count("\n") + 1, refused.message


@settings(calm, max_examples=300)
@given(st.one_of(st.text(st.characters(), max_size=60), st.text("{}[]:,!&*#|>-?'\"\\ \n\tab01", max_size=60)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        summary.summary(read(text))
    except TemplateFault as refused:
        assert refused.code == "ValidationError"


odd = st.recursive(
    st.one_of(scalars, st.sampled_from(["Results", "AWS::NoValue", "AWS::S3::Bucket"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(keys, st.sampled_from(SPOTS)), inner, max_size=2)),
    max_leaves=5,
)
CONTENTS = [read(text).content for text in TEXTS]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


@st.composite
def misshapen(draw: Any) -> dict[str, Any]:
    """A valid template in which up to two things are something else."""
    content: dict[str, Any] = json.loads(json.dumps(draw(st.sampled_from(CONTENTS))))
    for _ in range(draw(st.integers(1, 2))):
        *path, last = draw(st.sampled_from(places(content)[1:]))
        spot: Any = content
        for key in path:
            spot = spot[key]
        spot[last] = draw(odd)
    return content


@settings(calm, max_examples=250)
@given(misshapen())
def test_whatever_stands_in_a_place_is_taken_or_refused(content: dict[str, Any]) -> None:
    """What has the wrong shape is refused as a template is, with its line, and never as a fault of ours."""
    text = json.dumps(content, indent=1)
    try:
        summary.summary(read(text))
        deployed(text)
    except TemplateFault as refused:
        if not refused.message.startswith("Parameters: ["):
            assert 1 <= refused.line <= text.count("\n") + 1, refused.message


def test_later_is_text_that_no_template_holds() -> None:
    assert all(LATER not in text for text in TEXTS)
