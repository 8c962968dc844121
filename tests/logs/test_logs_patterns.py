"""Filter patterns find what CloudWatch Logs finds, and refuse what is not there in words that say so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.model.fault import Fault
from batchyard.services.logs.patterns import compile_pattern

LINES = ("[ERROR 400] BAD REQUEST", "[ERROR 401] UNAUTHORIZED REQUEST", "[WARN] slow", "[INFO] done: 3/4", 'say "hi"', "", "größe 7")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", LINES),
        ("   ", LINES),
        ("ERROR", LINES[:2]),
        ("AUTHORIZED", LINES[1:2]),
        ("error", ()),
        ("ERROR 401", LINES[1:2]),
        ("ERROR REQUEST", LINES[:2]),
        ('"ERROR 401"', LINES[1:2]),
        ('"401 ERROR"', ()),
        ("ERROR -BAD", LINES[1:2]),
        ('-ERROR -"done: "', (LINES[2], *LINES[4:])),
        ("?WARN ?INFO", LINES[2:4]),
        ('?WARN ?"3/4"', LINES[2:4]),
        ("?WARN ?INFO ERROR", LINES[:2]),
        ('"\\"hi\\""', LINES[4:5]),
        ("größe", LINES[6:]),
    ],
)
def test_patterns_match(pattern: str, expected: tuple[str, ...]) -> None:
    matches = compile_pattern(pattern)
    assert tuple(line for line in LINES if matches(line.encode())) == expected


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{ $.level = 1 }", "JSON patterns"),
        ("[a, b]", "space-delimited"),
        ("%[0-9]+%", "regular expressions"),
        ("foo-bar", "Invalid character(s) in term 'foo-bar'"),
        ('""', "Invalid character(s) in term '\"\"'"),
        ('"open', "quotation mark"),
        ('a "b"c', "quotation mark"),
        ("-", "Invalid character(s) in term '-'"),
        ("?", "Invalid character(s) in term '?'"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(Fault) as refused:
        compile_pattern(pattern)
    assert refused.value.code == "InvalidParameterException"
    assert refused.value.message.startswith("Invalid filter pattern") and words in refused.value.message


@given(st.text(max_size=30), st.binary(max_size=30))
def test_any_text_is_a_pattern_or_refused(pattern: str, message: bytes) -> None:
    try:
        assert compile_pattern(pattern)(message) in (True, False)
    except Fault as fault:
        assert fault.code == "InvalidParameterException"


@given(st.text(min_size=1, max_size=20))
def test_any_text_can_be_quoted(text: str) -> None:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert compile_pattern(quoted)(f"before {text} behind".encode())
