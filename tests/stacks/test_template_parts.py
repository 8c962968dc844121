"""Loops, conditions, references, dynamic references and summaries of templates."""

from __future__ import annotations

import pytest

from batchyard.services.cloudformation.template import conditions, dynamic, loops, references, summary
from batchyard.services.cloudformation.template.checking import MAX_RESOURCES, check
from batchyard.services.cloudformation.template.functions import Scope
from batchyard.services.cloudformation.template.model import Template, TemplateFault
from batchyard.services.cloudformation.template.reading import MAX_BYTES, read

BUCKET = "Resources: {Results: {Type: 'AWS::S3::Bucket'}}\n"


def refusal(text: str) -> str:
    with pytest.raises(TemplateFault) as refused:
        check(loops.expanded(read(text)))
    return refused.value.message


# --- loops ---

LOOP = """
Transform: AWS::LanguageExtensions
Parameters:
  Names: {Type: CommaDelimitedList, Default: 'Reads,Variants'}
Conditions:
  Fn::ForEach::Conditions:
    - Name
    - !Ref Names
    - Has${Name}: !Equals [!Ref AWS::Region, '${Name}']
Resources:
  Fn::ForEach::Buckets:
    - Name
    - !Ref Names
    - Bucket${Name}:
        Type: AWS::S3::Bucket
        Condition: Has${Name}
        Properties:
          Tags:
            - {Key: name, Value: !Ref Name}
            - {Key: text, Value: !Sub 'of ${Name} in ${AWS::Region}'}
  Fn::ForEach::Notes:
    - Host
    - [a.example.org, b.example.org]
    - Note&{Host}:
        Type: AWS::SSM::Parameter
        DependsOn: BucketReads
        Properties:
          Type: String
          Value: ${Host}
Outputs:
  Fn::ForEach::Outer:
    - Name
    - [Reads]
    - Fn::ForEach::Inner:
        - Property
        - [Arn, DomainName]
        - ${Name}${Property}:
            Value: !GetAtt [!Sub 'Bucket${Name}', !Ref Property]
"""


def test_loops_are_written_out_with_their_lines() -> None:
    template = loops.expanded(read(LOOP))
    check(template)
    assert template.content["Conditions"]["HasReads"] == {"Fn::Equals": [{"Ref": "AWS::Region"}, "Reads"]}
    assert template.content["Resources"]["BucketVariants"] == {
        "Type": "AWS::S3::Bucket",
        "Condition": "HasVariants",
        "Properties": {
            "Tags": [{"Key": "name", "Value": "Variants"}, {"Key": "text", "Value": {"Fn::Sub": "of Variants in ${AWS::Region}"}}],
        },
    }
    assert template.content["Resources"]["Noteaexampleorg"]["Properties"]["Value"] == "a.example.org"
    assert template.content["Outputs"] == {
        "ReadsArn": {"Value": {"Fn::GetAtt": ["BucketReads", "Arn"]}},
        "ReadsDomainName": {"Value": {"Fn::GetAtt": ["BucketReads", "DomainName"]}},
    }
    assert template.line(("Resources", "BucketVariants", "Properties", "Tags", 1, "Value")) == 20


def test_a_loop_goes_over_what_is_given_for_a_parameter() -> None:
    template = loops.expanded(read(LOOP), {"Names": "One, Two,Reads"})
    assert [name for name in template.content["Resources"] if name.startswith("Bucket")] == ["BucketOne", "BucketTwo", "BucketReads"]


def test_a_template_without_the_transform_is_left_alone() -> None:
    template = read(BUCKET)
    assert loops.expanded(template) is template


def test_loops_cannot_blow_up() -> None:
    text = "Transform: AWS::LanguageExtensions\nResources:\n"
    many = "[" + ", ".join(f"a{number}" for number in range(100)) + "]"
    for depth in range(5):
        text += "  " * (2 * depth + 1) + f"Fn::ForEach::L{depth}:\n"
        text += "  " * (2 * depth + 2) + f"- I{depth}\n" + "  " * (2 * depth + 2) + f"- {many}\n" + "  " * (2 * depth + 2) + "-\n"
    text += "  " * 12 + "${I0}${I1}${I2}${I3}${I4}: {Type: 'AWS::S3::Bucket'}\n"
    assert "Fn::ForEach writes more than 20000 members" in refusal(text)


# --- sizes ---


def test_sizes_have_bounds() -> None:
    resources = "".join(f"  R{number}: {{Type: 'AWS::S3::Bucket'}}\n" for number in range(MAX_RESOURCES + 1))
    expected = "Template format error: Number of resources, 501, is greater than maximum allowed, 500 (line 1)"
    assert refusal("Resources:\n" + resources) == expected
    check(read("Resources:\n" + resources.replace("  R500: {Type: 'AWS::S3::Bucket'}\n", "")))
    outputs = "".join(f"  O{number}: {{Value: a}}\n" for number in range(201))
    assert "Number of outputs, 201, is greater than maximum allowed, 200" in refusal(BUCKET + "Outputs:\n" + outputs)
    parameters = "".join(f"  P{number}: {{Type: String}}\n" for number in range(201))
    assert "Number of parameters, 201, is greater than maximum allowed, 200" in refusal(BUCKET + "Parameters:\n" + parameters)
    assert refusal("# " + "x" * MAX_BYTES) == "Template may not exceed 1000000 bytes in size."
    assert "nested more than 100 levels deep" in refusal("a: " + "[" * 5000)
    assert "nested more than 100 levels deep" in refusal('{"a": ' + "[" * 5000)
    assert refusal("  \n") == "Either Template URL or Template Body must be specified."


def test_a_long_chain_is_no_deep_one() -> None:
    text = "Conditions:\n  C0: !Equals [a, a]\n"
    text += "".join(f"  C{number}: !Not [!Condition C{number - 1}]\n" for number in range(1, 3000))
    template = read(text + BUCKET)
    check(template)
    decided = conditions.decide(Scope(template))
    assert (decided["C0"], decided["C2999"]) == (True, False)


# --- references ---


def wired(text: str, **decided: bool) -> dict[str, frozenset[str]]:
    return references.needs(read(text), decided)


NEEDS = """
Conditions: {Is: !Equals [a, a]}
Resources:
  First: {Type: 'AWS::S3::Bucket', Condition: Is}
  Second: {Type: 'AWS::S3::Bucket', DependsOn: First}
  Third:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: !If [Is, !Sub '${First.Arn}', !Ref Second]
      Tags: [{Key: a, Value: !Sub ['${X} ${!Fourth}', {X: !GetAtt Fourth.Arn}]}]
  Fourth: {Type: 'AWS::S3::Bucket', Metadata: {Of: !Ref Third}}
"""


def test_needs_follow_the_branch_that_is_taken() -> None:
    assert wired(NEEDS, Is=True) == {
        "First": frozenset(),
        "Second": {"First"},
        "Third": {"First", "Fourth"},
        "Fourth": frozenset(),
    }
    assert wired(NEEDS, Is=False) == {"Second": frozenset(), "Third": {"Second", "Fourth"}, "Fourth": frozenset()}


def test_a_reference_to_what_is_not_to_be_there_is_refused() -> None:
    text = NEEDS.replace("!GetAtt Fourth.Arn", "!GetAtt First.Arn")
    with pytest.raises(
        TemplateFault, match=r"Unresolved resource dependencies \[First\] in the Resources block of the template \(line 10\)"
    ):
        wired(text, Is=False)


def test_a_circle_that_a_condition_closes_is_refused() -> None:
    text = (
        "Conditions: {Is: !Equals [a, a]}\nResources:\n"
        "  First: {Type: 'AWS::S3::Bucket', Properties: {BucketName: !If [Is, !Ref Second, a]}}\n"
        "  Second: {Type: 'AWS::S3::Bucket', DependsOn: First}\n"
    )
    check(read(text))
    assert wired(text, Is=False) == {"First": frozenset(), "Second": {"First"}}
    with pytest.raises(TemplateFault, match=r"^Circular dependency between resources: \[First, Second\] \(line 3\)$"):
        wired(text, Is=True)


# --- dynamic references ---


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{{resolve:ssm:/lab/token}}", ("ssm", "/lab/token", "", "", "")),
        ("{{resolve:ssm:/lab/token:3}}", ("ssm", "/lab/token", "3", "", "")),
        ("{{resolve:ssm-secure:token:1}}", ("ssm-secure", "token", "1", "", "")),
        ("{{resolve:secretsmanager:lab}}", ("secretsmanager", "lab", "", "", "AWSCURRENT")),
        ("{{resolve:secretsmanager:lab:SecretString:user}}", ("secretsmanager", "lab", "", "user", "AWSCURRENT")),
        ("{{resolve:secretsmanager:lab:SecretString:user:AWSPREVIOUS}}", ("secretsmanager", "lab", "", "user", "AWSPREVIOUS")),
        ("{{resolve:secretsmanager:lab:SecretString:::v-1}}", ("secretsmanager", "lab", "v-1", "", "")),
        (
            "{{resolve:secretsmanager:arn:aws:secretsmanager:us-east-1:012345678901:secret:lab-AbCdEf:SecretString:user}}",
            ("secretsmanager", "arn:aws:secretsmanager:us-east-1:012345678901:secret:lab-AbCdEf", "", "user", "AWSCURRENT"),
        ),
    ],
)
def test_a_dynamic_reference_says_what_it_asks(text: str, wanted: tuple[str, str, str, str, str]) -> None:
    found = dynamic.parse(text)
    assert (found.service, found.name, found.version, found.key, found.stage) == wanted
    assert found.text == text


@pytest.mark.parametrize(
    "text",
    [
        "{{resolve:ssm:}}",
        "{{resolve:ssm:/lab/token:latest}}",
        "{{resolve:s3:bucket}}",
        "{{resolve:secretsmanager:lab:SecretBinary:a}}",
        "{{resolve:secretsmanager:lab:SecretString:a:AWSCURRENT:v-1}}",
        "{{resolve:secretsmanager:arn:aws:secretsmanager}}",
    ],
)
def test_what_is_no_dynamic_reference_is_refused(text: str) -> None:
    with pytest.raises(TemplateFault) as refused:
        dynamic.parse(text)
    assert refused.value.message == f"Incorrect format is used in the following dynamic reference: {text}"


def test_references_are_found_and_filled_anywhere() -> None:
    value = {"a": ["x {{resolve:ssm:one}} y {{resolve:ssm:two:1}}", 5], "b": {"c": "{{resolve:ssm:one}}"}, "d": "{{other}}"}
    assert dynamic.found(value) == {"{{resolve:ssm:one}}", "{{resolve:ssm:two:1}}"}
    filled = dynamic.filled(value, {"{{resolve:ssm:one}}": "1", "{{resolve:ssm:two:1}}": r"\2"})
    assert filled == {"a": [r"x 1 y \2", 5], "b": {"c": "1"}, "d": "{{other}}"}


# --- summaries ---


def summed(text: str) -> Template:
    return read(text)


@pytest.mark.parametrize(
    ("resources", "needed"),
    [
        ("{A: {Type: 'AWS::S3::Bucket'}}", []),
        ("{A: {Type: 'AWS::IAM::Role', Properties: {Path: /}}}", ["CAPABILITY_IAM"]),
        ("{A: {Type: 'AWS::IAM::Role', Properties: {RoleName: a}}}", ["CAPABILITY_NAMED_IAM"]),
        ("{A: {Type: 'AWS::IAM::Policy', Properties: {PolicyName: a}}}", ["CAPABILITY_IAM"]),
        ("{A: {Type: 'AWS::IAM::InstanceProfile'}, B: {Type: 'AWS::IAM::User', Properties: {UserName: a}}}", ["CAPABILITY_NAMED_IAM"]),
    ],
)
def test_capabilities_are_for_rights(resources: str, needed: list[str]) -> None:
    assert summary.capabilities(read(f"Resources: {resources}")) == needed


def test_a_summary_says_what_is_asked_and_what_is_made() -> None:
    template = read(
        "AWSTemplateFormatVersion: 2010-09-09\nDescription: the lab\nTransform: AWS::LanguageExtensions\nMetadata: {a: 1}\n"
        "Parameters:\n  Key: {Type: String, NoEcho: true}\n  Size: {Type: Number, Default: 3, AllowedValues: [3, 4], Description: sizes}\n"
        "Resources:\n  R: {Type: 'AWS::IAM::Role'}\n"
        "  Fn::ForEach::Buckets: [Name, !Ref Names, {'B${Name}': {Type: 'AWS::S3::Bucket'}}]\n"
    )
    assert summary.summary(template) == {
        "Version": "2010-09-09",
        "Description": "the lab",
        "Metadata": '{"a":1}',
        "Parameters": [
            {"ParameterKey": "Key", "ParameterType": "String", "NoEcho": True, "ParameterConstraints": {}},
            {
                "ParameterKey": "Size",
                "ParameterType": "Number",
                "DefaultValue": "3",
                "NoEcho": False,
                "Description": "sizes",
                "ParameterConstraints": {"AllowedValues": ["3", "4"]},
            },
        ],
        "ResourceTypes": ["AWS::IAM::Role", "AWS::S3::Bucket"],
        "DeclaredTransforms": ["AWS::LanguageExtensions"],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        "CapabilitiesReason": "The following resource(s) require capabilities: [AWS::IAM::Role]",
    }
