"""`Ref::` in commands (house.md 7, row `Ref::`; specification, section 5.2)."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from batchyard.core.parameters import has_references, substitute
from batchyard.model.fault import Fault

KEYS = st.text("abcXYZ019._-", min_size=1, max_size=8)
NAMES = st.text("abcXYZ019_", min_size=1, max_size=8)
VALUES = st.text(max_size=12)


@pytest.mark.parametrize(
    ("element", "parameters", "result"),
    [
        ("Ref::in", {"in": "x"}, "x"),
        ("Ref::metaflow.run-id", {"metaflow.run-id": "7", "metaflow": "no"}, "7"),
        ("--in=Ref::in", {"in": "x"}, "--in=x"),
        ("--in=Ref::input.bam", {"in": "no", "input": "x"}, "--in=x.bam"),
        ("Ref::a/Ref::b", {"a": "1", "b": "2"}, "1/2"),
        ("Ref::aRef::b", {"a": "1", "b": "2"}, "12"),
        ("Ref::a", {"a": "Ref::b", "b": "2"}, "Ref::b"),
        ("Ref:: ", {}, "Ref:: "),
        ("Ref::", {}, "Ref::"),
        ("with space Ref::key with", {"key with": "x"}, "with space x"),
        ("Ref::key with", {"key with": "x"}, "x"),
        ("plain", {"plain": "no"}, "plain"),
        ("Ref::a", {"a": ""}, ""),
    ],
)
def test_values_take_the_place_of_names(element: str, parameters: dict[str, str], result: str) -> None:
    assert substitute(["before", element], parameters) == ["before", result]


@pytest.mark.parametrize(
    ("element", "parameters", "name"),
    [
        ("Ref::x", {}, "x"),
        ("Ref::inputs", {"input": "no"}, "inputs"),
        ("Ref::sample.bam", {"sample": "no"}, "sample.bam"),
        ("--x=Ref::gone.txt", {"other": "1"}, "gone"),
        ("Ref::", {"": "no"}, None),
    ],
)
def test_a_name_without_a_value_is_refused(element: str, parameters: dict[str, str], name: str | None) -> None:
    if name is None:
        assert substitute([element], parameters) == ["no"]
        return
    with pytest.raises(Fault) as refusal:
        substitute([element], parameters)
    assert refusal.value.code == "ClientException"
    assert refusal.value.message == f"Unable to substitute value. No parameter found for reference {name}"


@settings(deadline=None)
@given(st.dictionaries(KEYS, VALUES, min_size=1), st.data())
def test_a_whole_element_is_exactly_the_value(parameters: dict[str, str], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(parameters)))
    assert substitute([f"Ref::{key}"], parameters) == [parameters[key]]


@settings(deadline=None)
@given(st.lists(st.text().filter(lambda text: "Ref::" not in text)), st.dictionaries(KEYS, VALUES))
def test_commands_without_placeholders_stay(command: list[str], parameters: dict[str, str]) -> None:
    assert substitute(command, parameters) == command
    assert not has_references(command)


@settings(deadline=None)
@given(NAMES, VALUES, st.text("-=/ ", min_size=1), st.text("/=, ", min_size=1))
def test_embedded_values_keep_what_is_around_them(name: str, value: str, before: str, after: str) -> None:
    assert substitute([f"{before}Ref::{name}{after}"], {name: value}) == [f"{before}{value}{after}"]


@settings(deadline=None)
@given(NAMES, NAMES, VALUES, VALUES)
def test_the_longest_name_wins(short: str, more: str, one: str, two: str) -> None:
    assume(short != short + more)
    assert substitute([f"x/Ref::{short}{more}/y"], {short: one, short + more: two}) == [f"x/{two}/y"]


@settings(deadline=None)
@given(NAMES, st.dictionaries(NAMES, VALUES))
def test_unknown_names_are_always_refused_as_a_whole(name: str, parameters: dict[str, str]) -> None:
    assume(name not in parameters)
    with pytest.raises(Fault, match=f"reference {name}$"):
        substitute([f"Ref::{name}"], parameters)


def test_what_no_program_could_be_started_with_is_refused_before_it_is_made() -> None:
    """A small request must not become gigabytes, nor hours of looking for names."""
    with pytest.raises(Fault, match="longer than 1048576 characters"):
        substitute(["x" + "Ref::a" * 5000], {"a": "v" * 500_000})
    with pytest.raises(Fault, match="longer than 1048576 characters"):
        substitute(["Ref::a"] * 3, {"a": "v" * 500_000})
    with pytest.raises(Fault, match="holds 5001 placeholders"):
        substitute(["Ref::a" * 5001], {"a": ""})
    many = {f"a{number}": str(number) for number in range(50_000)}
    assert substitute(["x" + "Ref::a49999/" * 5000], many) == ["x" + "49999/" * 5000]
