"""Event patterns: what each filter lets through, and laws that hold for every event."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.core.event_patterns import BadPattern, compile_pattern

LEAVES = st.one_of(st.text(max_size=6), st.integers(-9, 9), st.booleans(), st.none())
NESTED = st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3))
EVENTS = st.dictionaries(st.sampled_from("abc"), NESTED)
NAMES = st.sampled_from(["a", "$or", "prefix", "numeric", "exists", "anything-but", "cidr", "wildcard"])
JSON = st.recursive(LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)))
MEANINGLESS = ["", "[]", "{}", '{"a": "b"}', '{"a": []}', '{"a": [{"prefix": ""}]}', '{"a": [{"numeric": [">"]}]}', '{"$or": [{"a": [1]}]}']


def matches(pattern: Any, event: Any) -> bool:
    return bool(compile_pattern(json.dumps(pattern))(event))


@given(EVENTS, st.text(max_size=6))
def test_equals_and_anything_but_are_each_others_opposite_where_there_is_a_text(event: dict[str, Any], text: str) -> None:
    if isinstance(event.get("a"), str):
        assert matches({"a": [text]}, event) != matches({"a": [{"anything-but": [text]}]}, event)


@given(EVENTS)
def test_or_is_any_and_members_are_all(event: dict[str, Any]) -> None:
    one, other = {"a": [{"exists": True}]}, {"b": [{"exists": False}]}
    assert matches({"$or": [one, other]}, event) == (matches(one, event) or matches(other, event))
    assert matches({**one, **other}, event) == (matches(one, event) and matches(other, event))


@given(st.text("ab*", min_size=1, max_size=8).filter(lambda t: "**" not in t), st.text("ab", max_size=10))
def test_a_wildcard_is_what_the_regular_expression_says(pattern: str, text: str) -> None:
    expected = re.fullmatch(pattern.replace("*", ".*"), text) is not None
    assert matches({"a": [{"wildcard": pattern}]}, {"a": text}) == expected


@given(JSON, EVENTS)
def test_any_json_is_a_pattern_or_refused(pattern: Any, event: dict[str, Any]) -> None:
    try:
        compiled = compile_pattern(json.dumps(pattern))
    except BadPattern:
        return
    assert compiled(event) in (True, False)


@pytest.mark.parametrize("pattern", MEANINGLESS)
def test_what_means_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        compile_pattern(pattern)
