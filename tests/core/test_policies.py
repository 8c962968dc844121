"""The policy evaluator: AWS's examples, and what must hold of every policy."""

from __future__ import annotations

import fnmatch
import json
import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.core.policies import Question, Statement, Verdict, context_of, decide, decide_within
from batchyard.core.policy_documents import Malformed, read_policy, read_trust_policy
from batchyard.core.policy_patterns import matches, read_pattern

TEXT = st.text(alphabet="ab:/*?$", max_size=12)
PATTERN = st.text(alphabet="ab:/*?", max_size=8)


def statements(*written: dict[str, Any]) -> tuple[Statement, ...]:
    return read_policy(json.dumps({"Version": "2012-10-17", "Statement": list(written)}))


def verdict_of(written: dict[str, Any], action: str = "s3:GetObject", resource: str = "arn:aws:s3:::b/k", **context: Any) -> Verdict:
    keys = {key.replace("__", ":"): value for key, value in context.items()}
    return decide(statements({"Effect": "Allow", "Action": "*", "Resource": "*", **written}), Question(action, resource, context_of(keys)))


def allowed(written: dict[str, Any], **asked: Any) -> bool:
    return verdict_of(written, **asked) is Verdict.ALLOWED


@given(PATTERN, st.text(alphabet="ab:/", max_size=12))
def test_wildcards_match_as_a_shell_would(pattern: str, text: str) -> None:
    expected = re.fullmatch(fnmatch.translate(pattern.replace("[", "[[]")), text) is not None
    assert matches(read_pattern(pattern, has_variables=False), text) is expected


def test_a_hostile_pattern_takes_no_time() -> None:
    assert not matches(read_pattern("*a" * 60 + "b", has_variables=False), "a" * 2000)


@given(TEXT)
def test_a_variable_is_taken_literally(name: str) -> None:
    """Whatever a user is called, only its own folder opens: a star in a name is no wildcard."""
    written = {"Resource": "arn:aws:s3:::b/${aws:username}/*"}
    assert allowed(written, resource=f"arn:aws:s3:::b/{name}/x", aws__username=name)
    assert allowed(written, resource="arn:aws:s3:::b/other/x", aws__username=name) is (name == "other")


@given(TEXT)
def test_a_variable_is_taken_literally_in_conditions_too(name: str) -> None:
    written = {"Condition": {"StringLike": {"aws:userid": "*:${aws:ResourceTag/owner}"}}}
    assert allowed(written, **{"aws:userid": f"AROA:{name}", "aws:ResourceTag/owner": name})
    assert allowed(written, **{"aws:userid": "AROA:other", "aws:ResourceTag/owner": name}) is (name == "other")


def test_an_escaped_wildcard_is_the_character_itself() -> None:
    for operator, pattern, text in (("StringLike", "a${*}b?", "a*bc"), ("ArnLike", "arn:aws:s3:::b${?}/*", "arn:aws:s3:::b?/x")):
        written = {"Condition": {operator: {"x:y": pattern}}}
        assert allowed(written, **{"x:y": text})
        assert not allowed(written, **{"x:y": text.replace("*", "_").replace("?", "_")})
    assert allowed({"Condition": {"StringEquals": {"x:y": "a${*}"}}}, **{"x:y": "a*"})


actions = st.sampled_from(["s3:GetObject", "s3:*", "*", "batch:SubmitJob", "S3:get*"])
statement = st.fixed_dictionaries({"Effect": st.sampled_from(["Allow", "Deny"]), "Action": actions, "Resource": st.just("*")})


@given(st.lists(statement, min_size=1, max_size=6), st.randoms())
def test_order_never_matters_and_a_deny_always_wins(written: list[dict[str, Any]], chance: Any) -> None:
    question = Question("s3:GetObject")
    verdict = decide(statements(*written), question)
    chance.shuffle(written)
    assert decide(statements(*written), question) is verdict
    applying = [s for s in statements(*written) if s.applies(question)]
    if any(not s.is_allow for s in applying):
        assert verdict is Verdict.EXPLICIT_DENY
    else:
        assert verdict is (Verdict.ALLOWED if applying else Verdict.IMPLICIT_DENY)
    denied = decide(statements(*written, {"Effect": "Deny", "Action": "*", "Resource": "*"}), question)
    assert denied is Verdict.EXPLICIT_DENY


@given(st.lists(statement, min_size=1, max_size=4), st.lists(statement, min_size=1, max_size=4))
def test_a_boundary_only_takes_away(identity: list[dict[str, Any]], boundary: list[dict[str, Any]]) -> None:
    question = Question("s3:GetObject")
    within = decide_within(statements(*identity), question, statements(*boundary))
    alone = decide(statements(*identity), question)
    assert within is not Verdict.ALLOWED or alone is Verdict.ALLOWED
    assert decide_within(statements(*identity), question, None) is alone


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_policy, read_trust_policy):
        try:
            read(text)
        except Malformed as refusal:
            assert str(refusal)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet=string.printable, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Effect", "Action", "Resource", "Condition", "x"]), inner),
    max_leaves=8,
)


@given(json_values)
def test_any_document_is_read_or_refused(value: Any) -> None:
    for document in (value, {"Version": "2012-10-17", "Statement": value}, {"Version": "2012-10-17", "Statement": [value]}):
        for read in (read_policy, read_trust_policy):
            try:
                read(json.dumps(document))
            except Malformed as refusal:
                assert str(refusal)


def test_not_action_and_not_resource() -> None:
    power = {"Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"}
    assert decide(statements(power), Question("s3:GetObject")) is Verdict.ALLOWED
    assert decide(statements(power), Question("IAM:CreateUser")) is Verdict.IMPLICIT_DENY
    others = {"Effect": "Deny", "Action": "s3:*", "NotResource": "arn:aws:s3:::mine/*"}
    assert decide(statements(others), Question("s3:GetObject", "arn:aws:s3:::theirs/x")) is Verdict.EXPLICIT_DENY
    assert decide(statements(others), Question("s3:GetObject", "arn:aws:s3:::mine/x")) is Verdict.IMPLICIT_DENY


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"aws:PrincipalTag/Team": "x"}}, {"aws__principaltag/team": "x"}, True),
        ({"StringEquals": {"s3:prefix": ["a", "b"]}}, {"s3__prefix": "b"}, True),
        ({"StringEquals": {"s3:prefix": "a"}}, {}, False),
        ({"StringEqualsIfExists": {"s3:prefix": "a"}}, {}, True),
        ({"StringNotEquals": {"s3:prefix": ["a", "b"]}}, {"s3__prefix": "b"}, False),
        ({"StringNotEquals": {"s3:prefix": "a"}}, {}, True),
        ({"StringLike": {"s3:prefix": "home/${aws:username}/*"}}, {"s3__prefix": "home/ada/x", "aws__username": "ada"}, True),
        ({"StringEqualsIgnoreCase": {"s3:prefix": "HOME"}}, {"s3__prefix": "home"}, True),
        ({"NumericLessThan": {"s3:max-keys": "10"}}, {"s3__max-keys": "9"}, True),
        ({"NumericLessThan": {"s3:max-keys": "10"}}, {"s3__max-keys": "nine"}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}}, {"aws__currenttime": "2026-11-22T10:00:00Z"}, True),
        ({"DateLessThan": {"aws:CurrentTime": "2026-11-22T12:00:00+02:00"}}, {"aws__currenttime": "2026-11-22T10:00:00Z"}, False),
        ({"Bool": {"aws:SecureTransport": False}}, {"aws__securetransport": "false"}, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws__sourceip": "10.1.2.3"}, True),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws__sourceip": "10.1.2.3"}, False),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/a*"}}, {"aws__principalarn": "arn:aws:iam::1:role/ab"}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:*"}}, {"aws__principalarn": "arn:aws:iam::1:role/ab"}, False),
        ({"Null": {"s3:prefix": "true"}}, {}, True),
        ({"Null": {"s3:prefix": "false"}}, {}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws__tagkeys": ["a"]}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws__tagkeys": ["a", "c"]}, False),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}}, {"aws__tagkeys": ["c", "a"]}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}}, {}, False),
    ],
)
def test_conditions(condition: dict[str, Any], context: dict[str, Any], holds: bool) -> None:
    assert allowed({"Condition": condition}, **context) is holds


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(Malformed, match="Invalid Condition type : StringSounds"):
        statements({"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {"StringSounds": {"a": "b"}}})


def test_a_variable_without_a_value_matches_nothing_unless_it_has_a_default() -> None:
    assert not allowed({"Resource": "arn:aws:s3:::b/${aws:username}"}, resource="arn:aws:s3:::b/")
    assert allowed({"Resource": "arn:aws:s3:::b/${aws:username, 'guest'}"}, resource="arn:aws:s3:::b/guest")
    assert allowed({"Resource": "arn:aws:s3:::b/${*}"}, resource="arn:aws:s3:::b/*")
    assert not allowed({"Resource": "arn:aws:s3:::b/${*}"}, resource="arn:aws:s3:::b/x")


def test_trust_policies_name_principals() -> None:
    trust = read_trust_policy(
        json.dumps({"Statement": [{"Effect": "Allow", "Principal": {"Service": ["a.amazonaws.com"]}, "Action": "sts:AssumeRole"}]})
    )
    asks = Question("sts:AssumeRole", principals=frozenset({("Service", "a.amazonaws.com")}))
    assert decide(trust, asks) is Verdict.ALLOWED
    assert decide(trust, Question("sts:AssumeRole", principals=frozenset({("AWS", "a.amazonaws.com")}))) is Verdict.IMPLICIT_DENY
    with pytest.raises(Malformed, match="Missing required field Principal"):
        read_trust_policy('{"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}')
