"""Filter patterns find what CloudWatch Logs finds, and refuse what is not there in words that say so."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.model.fault import Fault
from batchyard.services.logs.patterns import compile_extractor, compile_pattern

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
        ("%[0-9]+/4%", LINES[3:4]),
        ("ERROR -%40[1-9]%", LINES[:1]),
        ("[level = WARN, rest]", LINES[2:3]),
        ('[level = "ERROR*", ...]', LINES[:2]),
    ],
)
def test_patterns_match(pattern: str, expected: tuple[str, ...]) -> None:
    matches = compile_pattern(pattern)
    assert tuple(line for line in LINES if matches(line.encode())) == expected


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{ $.level = 1", "ends with }"),
        ("{ $.level }", "ends too early"),
        ("{ level = 1 }", "selector"),
        ('{ $.level < "a" }', "compares with a number"),
        ("{ ($.level = 1 }", "closing parenthesis"),
        ("{ $.a IS PERHAPS }", "IS TRUE"),
        ("{ $.a = 1 $.b = 2 }", "left over"),
        ("[a, b", "ends with ]"),
        ("[a, ..., ...]", "only one ..."),
        ("[a = 1 && b = 2]", "NAME OPERATOR VALUE"),
        ("%(a|b)%", "groups"),
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


EVENT = {"level": "ERROR", "code": 503, "ok": False, "user": {"name": "ada", "id": None}, "tags": ["a", "b"], "a.b": 1, "text": "42"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.level = "ERROR" }', True),
        ("{ $.level = ERR* }", True),
        ("{ $.level != ERROR }", False),
        ('{ $.missing != "x" }', False),
        ("{ $.code = 503 }", True),
        ("{ $.code >= 5e2 && $.code < 504.5 }", True),
        ("{ $.code = 400 || $.user.name = ada }", True),
        ("{ ($.code = 400 || $.level = ERROR) && $.ok IS FALSE }", True),
        ("{ $.user.id IS NULL }", True),
        ("{ $.user.id IS TRUE }", False),
        ("{ $.user.email NOT EXISTS }", True),
        ("{ $.user.name EXISTS }", True),
        ('{ $.tags[1] = "b" }', True),
        ('{ $.tags[*] = "c" }', False),
        ("{ $.user.* = ada }", True),
        ("{ $['a.b'] = 1 }", True),
        ("{ $.level = %^E[A-Z]+$% }", True),
        ('{ $.code = "503" }', False),
    ],
)
def test_json_patterns(pattern: str, expected: bool) -> None:
    assert compile_pattern(pattern)(json.dumps(EVENT).encode()) is expected
    assert compile_pattern(pattern)(b"no JSON at all") is False


ACCESS = b'127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /apache_pb.gif HTTP/1.0" 200 1534'


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[ip, id, user, timestamp, request, status_code, size]", True),
        ("[ip, id, user, timestamp, request, status_code]", False),
        ("[ip, ..., status_code = 4*, size]", False),
        ("[ip, ..., status_code = 2*, size > 1000]", True),
        ("[..., status_code = 404 || status_code = 200, size]", True),
        ('[ip, id, user, timestamp, request = "*.gif *", ...]', True),
        ("[ip, id, user != frank, ...]", False),
        ("[ip = %127\\.0%, ...]", True),
        ("[ip, id, user, timestamp, request, status_code, size, more, ...]", False),
    ],
)
def test_space_delimited_patterns(pattern: str, expected: bool) -> None:
    assert compile_pattern(pattern)(ACCESS) is expected


def test_values_are_extracted() -> None:
    assert compile_extractor("{ $.code > 500 && $.user.name = * }")(json.dumps(EVENT).encode()) == {"$.code": "503", "$.user.name": "ada"}
    found = compile_extractor("[ip, ..., size]")(ACCESS)
    assert found is not None
    assert (found["$ip"], found["$size"], found["$3"]) == ("127.0.0.1", "1534", "frank")
    assert compile_extractor("GET")(ACCESS) == {}
