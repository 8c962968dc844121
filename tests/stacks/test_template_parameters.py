"""Parameters: what may be given for them, in AWS's words, and what they are then."""

from __future__ import annotations

from typing import Any

import pytest

from batchyard.services.cloudformation.template import parameters, patterns, rules
from batchyard.services.cloudformation.template.checking import check
from batchyard.services.cloudformation.template.functions import Scope
from batchyard.services.cloudformation.template.model import Template, TemplateFault
from batchyard.services.cloudformation.template.reading import read

RESOURCES = "Resources: {Results: {Type: 'AWS::S3::Bucket'}}\n"


def declared(parts: str) -> Template:
    template = read(f"Parameters:\n  P: {parts}\n{RESOURCES}")
    check(template)
    return template


@pytest.mark.parametrize(
    ("parts", "given", "message"),
    [
        ("{Type: String}", None, "Parameters: [P] must have values"),
        ("{Type: String, AllowedValues: [a, b]}", "c", "Parameter 'P' must be one of AllowedValues (line 2)"),
        ("{Type: String, AllowedPattern: '[a-z]+'}", "a1", "Parameter 'P' must match pattern [a-z]+ (line 2)"),
        (
            "{Type: String, AllowedPattern: '[a-z]+', ConstraintDescription: small letters}",
            "A",
            "Parameter P failed to satisfy constraint: small letters (line 2)",
        ),
        ("{Type: String, MinLength: 3}", "ab", "Parameter 'P' must contain at least 3 characters (line 2)"),
        ("{Type: String, MaxLength: '3'}", "abcd", "Parameter 'P' must contain at most 3 characters (line 2)"),
        ("{Type: Number}", "", "Parameter 'P' must be a number. (line 2)"),
        ("{Type: Number}", "1_000", "Parameter 'P' must be a number. (line 2)"),
        ("{Type: Number, MinValue: 5}", "4", "Parameter 'P' must be a number not less than 5 (line 2)"),
        ("{Type: Number, MaxValue: 0.5}", "0.6", "Parameter 'P' must be a number not greater than 0.5 (line 2)"),
        ("{Type: List<Number>, MaxValue: 5}", "1, 6", "Parameter 'P' must be a number not greater than 5 (line 2)"),
        ("{Type: CommaDelimitedList, AllowedValues: [a, b]}", "a,c", "Parameter 'P' must be one of AllowedValues (line 2)"),
        ("{Type: CommaDelimitedList, AllowedPattern: '\\w+'}", "a,b c", "Parameter 'P' must match pattern \\w+ (line 2)"),
        ("{Type: String}", "x" * 4097, "Parameter 'P' length is greater than 4096. (line 2)"),
    ],
)
def test_what_cannot_be_given(parts: str, given: str | None, message: str) -> None:
    with pytest.raises(TemplateFault) as refused:
        parameters.settle(declared(parts), {} if given is None else {"P": given})
    assert refused.value.message == message


@pytest.mark.parametrize(
    ("parts", "given", "value"),
    [
        ("{Type: String, Default: a}", None, "a"),
        ("{Type: String, Default: a}", "", ""),
        ("{Type: String, Default: true}", None, "true"),
        ("{Type: String, AllowedValues: [yes, no]}", "true", "true"),
        ("{Type: Number, Default: 5}", None, "5"),
        ("{Type: Number, MinValue: 1, MaxValue: 9}", "5.5", "5.5"),
        ("{Type: Number}", "-1e3", "-1e3"),
        ("{Type: CommaDelimitedList}", "a, b ,c", ["a", "b", "c"]),
        ("{Type: List<Number>, Default: '1,2'}", None, ["1", "2"]),
        ("{Type: 'List<AWS::EC2::Subnet::Id>'}", "subnet-1, subnet-2", ["subnet-1", "subnet-2"]),
        ("{Type: 'AWS::SSM::Parameter::Value<List<String>>'}", "a,b", ["a", "b"]),
        ("{Type: CommaDelimitedList, AllowedValues: [a, b]}", "b,a", ["b", "a"]),
        ("{Type: String, AllowedPattern: '(?=.*[0-9])[a-z0-9]{3,}'}", "ab1", "ab1"),
    ],
)
def test_what_can_be_given(parts: str, given: str | None, value: Any) -> None:
    template = declared(parts)
    settled = parameters.settle(template, {} if given is None else {"P": given})
    assert parameters.value(template, "P", settled["P"]) == value


def test_parameters_that_are_not_there() -> None:
    with pytest.raises(TemplateFault, match=r"^Parameters: \[Q\] do not exist in the template$"):
        parameters.settle(declared("{Type: String}"), {"P": "a", "Q": "b"})
    with pytest.raises(TemplateFault, match=r"^Parameter values specified for a template which does not require them\.$"):
        parameters.settle(read(RESOURCES), {"Q": "b"})


def test_what_is_looked_up_and_what_must_exist() -> None:
    template = read(
        "Parameters:\n"
        "  Image: {Type: 'AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>', Default: /lab/image}\n"
        "  Name: {Type: 'AWS::SSM::Parameter::Name', Default: /lab/name}\n"
        "  Subnets: {Type: 'List<AWS::EC2::Subnet::Id>', Default: 'subnet-1,subnet-2'}\n"
        "  Vpc: {Type: 'AWS::EC2::VPC::Id', Default: vpc-1}\n"
        "  Word: {Type: String, Default: a}\n" + RESOURCES
    )
    settled = parameters.settle(template, {})
    assert parameters.looked_up(template, settled) == {"Image": "/lab/image"}
    settled["Image"] = "ami-1"
    assert parameters.existing(template, settled) == [
        ("Image", "AWS::EC2::Image::Id", "ami-1"),
        ("Name", "AWS::SSM::Parameter::Name", "/lab/name"),
        ("Subnets", "AWS::EC2::Subnet::Id", "subnet-1"),
        ("Subnets", "AWS::EC2::Subnet::Id", "subnet-2"),
        ("Vpc", "AWS::EC2::VPC::Id", "vpc-1"),
    ]


@pytest.mark.parametrize(
    ("pattern", "right", "wrong"),
    [
        ("[a-z]+", "abc", "abc1"),
        ("^$|^ami-[0-9a-f]{8,17}$", "", "ami-"),
        ("(?=.*[A-Z])(?!.*[^A-Za-z]).{2,}", "aB", "a1B"),
        (r"\p{Alpha}+", "abC", "a1"),
        (r"[\p{Alnum}_]+", "a_1", "a-1"),
        (r"\P{Digit}+", "abc", "a1"),
        (r"\Qa.b\E", "a.b", "axb"),
        (r"(?<first>a)b", "ab", "b"),
        (r"(?i)abc", "ABC", "abd"),
        (r"(?<=a)?b++", "bb", "ba"),
        (r"[\w-]*", "a-b", "a b"),
        ("a$", "a", "a\n"),
    ],
)
def test_patterns_are_those_of_java(pattern: str, right: str, wrong: str) -> None:
    expression = patterns.compiled(pattern)
    assert expression is not None
    assert expression.match(right)
    assert not expression.match(wrong)


def test_a_pattern_that_only_java_knows_lets_all_through() -> None:
    assert patterns.compiled(r"[a-z&&[^b]]+") is None
    assert patterns.compiled(r"\p{javaLowerCase}") is None
    with pytest.raises(ValueError, match="unterminated character set"):
        patterns.compiled("[a-z")


RULES = """
Parameters:
  Stage: {Type: String, Default: test}
  Size: {Type: String, Default: small}
  Vpc: {Type: 'AWS::EC2::VPC::Id', Default: vpc-1}
  Subnets: {Type: 'List<AWS::EC2::Subnet::Id>', Default: 'subnet-1,subnet-2'}
Rules:
  SmallInTests:
    RuleCondition: !Equals [!Ref Stage, test]
    Assertions:
      - Assert: !And [!Not [!Equals [!Ref Size, huge]], !Contains [[small, tiny], !Ref Size]]
        AssertDescription: Tests are small.
  OfTheVpc:
    Assertions:
      - Assert:
          Fn::EachMemberIn:
            - Fn::ValueOfAll: [AWS::EC2::Subnet::Id, VpcId]
            - Fn::RefAll: AWS::EC2::VPC::Id
        AssertDescription: Every subnet must belong to the VPC.
      - Assert: {Fn::EachMemberEquals: [{Fn::ValueOf: [Subnets, Tags.Lab]}, genomics]}
Resources: {Results: {Type: 'AWS::S3::Bucket'}}
"""


def subnets(second: str = "vpc-1", lab: str = "genomics") -> rules.Facts:
    return {
        "AWS::EC2::Subnet::Id": [
            {"Id": "subnet-1", "VpcId": "vpc-1", "Tags.Lab": "genomics"},
            {"Id": "subnet-2", "VpcId": second, "Tags.Lab": lab},
            {"Id": "subnet-3", "VpcId": "vpc-9"},
        ]
    }


@pytest.mark.parametrize(
    ("given", "facts", "message"),
    [
        ({}, subnets(), None),
        ({"Size": "huge"}, subnets(), "Tests are small. (line 11)"),
        ({"Size": "huge", "Stage": "prod"}, subnets(), None),
        ({}, subnets(second="vpc-2"), "Every subnet must belong to the VPC. (line 15)"),
        ({"Subnets": "subnet-1,subnet-3"}, subnets(), "Every subnet must belong to the VPC. (line 15)"),
        ({}, subnets(lab="other"), "Assertion 2 of the rule OfTheVpc does not hold (line 20)"),
    ],
)
def test_rules_are_asserted_of_the_parameters(given: dict[str, str], facts: rules.Facts, message: str | None) -> None:
    template = read(RULES)
    check(template)
    scope = Scope(template, parameters.settle(template, given), {"AWS::Region": "us-east-1"})
    if message is None:
        rules.check(scope, facts)
    else:
        with pytest.raises(TemplateFault) as refused:
            rules.check(scope, facts)
        assert refused.value.message == message
