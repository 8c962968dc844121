"""What each function of a template comes to, and how it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from batchyard.services.cloudformation.template import functions, parameters
from batchyard.services.cloudformation.template.functions import LATER, Scope, resolve
from batchyard.services.cloudformation.template.model import TemplateFault
from batchyard.services.cloudformation.template.reading import read

HEAD = """
Parameters:
  Stage: {Type: String, Default: prod}
  Size: {Type: Number, Default: 3}
  Names: {Type: CommaDelimitedList, Default: 'reads, variants'}
  None: {Type: CommaDelimitedList, Default: ''}
Mappings:
  Days:
    prod: {Logs: 365, Zones: [a, b]}
Resources:
  Bucket: {Type: 'AWS::S3::Bucket'}
  Network: {Type: 'AWS::CloudFormation::Stack'}
  Later: {Type: 'AWS::S3::Bucket'}
  Answer: {Type: 'Custom::Answer'}
"""
PSEUDO = {"AWS::Region": "eu-west-1", "AWS::AccountId": "012345678901", "AWS::NotificationARNs": ["arn:one"], "AWS::StackName": "lab"}


def scope(text: str = HEAD, **more: Any) -> Scope:
    template = read(text)
    return Scope(
        template,
        parameters.settle(template, {}),
        PSEUDO,
        conditions={"Is": True, "Isnt": False},
        refs={"Bucket": "lab-bucket", "Network": "arn:stack", "Answer": "one"},
        attributes={
            "Bucket": {"Arn": "arn:aws:s3:::lab-bucket"},
            "Network": {"Outputs.Vpc": "vpc-1"},
            "Answer": {"Of": {"All": 42}, "List": ["x", "y"]},
        },
        exports={"network-vpc": "vpc-2"},
        outputs={"network": {"Vpc": "vpc-3"}},
        zones={"": ["eu-west-1a", "eu-west-1b"], "us-east-1": ["us-east-1a"]},
        **more,
    )


def value(written: str, **more: Any) -> Any:
    """What a value comes to that stands in a template as it is written here."""
    here = scope(HEAD + f"Outputs:\n  Out:\n    Value: {written}\n", **more)
    return resolve(here.template.content["Outputs"]["Out"]["Value"], here, ("Outputs", "Out", "Value"))


EXTENDED = "Transform: AWS::LanguageExtensions\n"


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("!Ref Stage", "prod"),
        ("!Ref Size", "3"),
        ("!Ref Names", ["reads", "variants"]),
        ("!Ref None", [""]),
        ("!Ref Bucket", "lab-bucket"),
        ("!Ref AWS::Region", "eu-west-1"),
        ("!Ref AWS::NotificationARNs", ["arn:one"]),
        ("!Ref AWS::NoValue", None),
        ("!GetAtt Bucket.Arn", "arn:aws:s3:::lab-bucket"),
        ("{Fn::GetAtt: [Bucket, Arn]}", "arn:aws:s3:::lab-bucket"),
        ("{Fn::GetAtt: Network.Outputs.Vpc}", "vpc-1"),
        ("!GetAtt Answer.Of.All", 42),
        ("!GetAtt Answer.List", ["x", "y"]),
        ("!Sub 'a ${Stage} b ${Size}${AWS::Region}'", "a prod b 3eu-west-1"),
        ("!Sub 's3://${Bucket}/${Bucket.Arn}/${Network.Outputs.Vpc}'", "s3://lab-bucket/arn:aws:s3:::lab-bucket/vpc-1"),
        ("!Sub 'echo ${!HOME} $USER ${ {x}'", "echo ${HOME} $USER ${ {x}"),
        ("!Sub ['${A}-${Stage}', {A: !Ref Size}]", "3-prod"),
        ("!Sub ['${Stage}', {Stage: 'shadowed'}]", "shadowed"),
        ("!Sub ['${A} ${B} ${C}', {A: 1, B: true, C: 1.50}]", "1 true 1.5"),
        ("!Join [',', [a, 1, true, !Ref AWS::NoValue, !Ref Stage]]", "a,1,true,prod"),
        ("!Join ['', !Ref None]", ""),
        ("!Join ['-', !Ref Names]", "reads-variants"),
        ("!Split [',', 'a,,b']", ["a", "", "b"]),
        ("!Split ['|', none]", ["none"]),
        ("!Select [1, !Ref Names]", "variants"),
        ("!Select ['0', [a, b]]", "a"),
        ("!Select [!FindInMap [Days, prod, Logs], [a]]", "refused"),
        ("!FindInMap [Days, !Ref Stage, Logs]", 365),
        ("!FindInMap [Days, prod, Zones]", ["a", "b"]),
        ("!If [Is, a, b]", "a"),
        ("!If [Isnt, !GetAtt Nowhere.Arn, {c: d}]", {"c": "d"}),
        ("[a, !If [Isnt, b, !Ref AWS::NoValue], c]", ["a", "c"]),
        ("{a: 1, b: !If [Isnt, b, !Ref AWS::NoValue]}", {"a": 1}),
        ("!Base64 größer", "Z3LDtsOfZXI="),
        ("!GetAZs ''", ["eu-west-1a", "eu-west-1b"]),
        ("!GetAZs us-east-1", ["us-east-1a"]),
        ("!Cidr [10.0.0.0/16, 3, 8]", ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]),
        ("!Cidr [192.168.0.0/24, '6', '5']", [f"192.168.0.{number * 32}/27" for number in range(6)]),
        ("!Cidr [10.0.0.0/16, 3]", ["10.0.0.0/18", "10.0.64.0/18", "10.0.128.0/18"]),
        ("!Cidr ['2600:1f18::/56', 2, 64]", ["2600:1f18::/64", "2600:1f18:0:1::/64"]),
        ("!ImportValue network-vpc", "vpc-2"),
        ("{Fn::ImportValue: !Sub 'network-${A}'}", "refused"),
        ("{Fn::ImportValue: !Sub ['network-${A}', {A: vpc}]}", "vpc-2"),
        ("{Fn::GetStackOutput: {StackName: network, OutputName: Vpc}}", "vpc-3"),
        ("{Fn::GetStackOutput: {StackName: network, OutputName: Vpc, Region: eu-west-1}}", "vpc-3"),
        ("{Fn::Length: !Ref Names}", 2),
        ("{Fn::ToJsonString: {a: [1, true, !Ref Stage], b: !Ref AWS::NoValue}}", '{"a":[1,true,"prod"]}'),
        ("plain text", "plain text"),
        ("2010-09-09", "2010-09-09"),
    ],
)
def test_a_function_comes_to(written: str, wanted: Any) -> None:
    if wanted == "refused":
        with pytest.raises(TemplateFault):
            value(written)
    else:
        assert value(written) == wanted


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("!Ref Later", "Template format error: Unresolved resource dependencies [Later] in the Outputs block of the template (line 17)"),
        ("!GetAtt Nowhere.Arn", "Template error: instance of Fn::GetAtt references undefined resource Nowhere (line 17)"),
        ("!GetAtt Bucket.Color", "Template error: resource Bucket does not support attribute type Color in Fn::GetAtt (line 17)"),
        ("!Sub '${Names}'", "Template error: variable Names in Fn::Sub expression does not resolve to a string (line 17)"),
        ("!Select [2, [a, b]]", "Template error: Fn::Select cannot select nonexistent value at index 2 (line 17)"),
        ("!FindInMap [Days, test, Logs]", "Template error: Unable to get mapping for Days::test::Logs (line 17)"),
        (
            "!FindInMap [Nights, a, b]",
            "Template error: Mapping named 'Nights' is not present in the 'Mappings' section of template. (line 17)",
        ),
        ("!ImportValue nothing", "No export named nothing found (line 17)"),
        ("!If [Maybe, a, b]", "Template error: unresolved condition dependency Maybe in Fn::If (line 17)"),
        ("!Base64 [a]", "Template error: every Fn::Base64 object must have a String-typed value. (line 17)"),
        ("{Fn::GetStackOutput: {StackName: gone, OutputName: a}}", "Template error: Stack with id gone does not exist (line 17)"),
        ("{Fn::GetStackOutput: {StackName: network, OutputName: a}}", "Template error: Stack network has no output a (line 17)"),
        ("{Fn::ToJsonString: text}", "Template error: every Fn::ToJsonString object requires an object or a list (line 17)"),
    ],
)
def test_a_function_is_refused_with_its_line(written: str, message: str) -> None:
    with pytest.raises(TemplateFault) as refused:
        value(written)
    assert refused.value.message == message
    assert refused.value.code == "ValidationError"


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("!Ref Later", LATER),
        ("!GetAtt Later.Arn", LATER),
        ("!Sub '${Later.Arn}/*'", LATER + "/*"),
        ("!Join [',', [a, !Ref Later]]", "a," + LATER),
        ("!Join [',', !GetAtt Later.List]", LATER),
        ("!Select [0, !GetAtt Later.List]", LATER),
        ("!Split [',', !Ref Later]", LATER),
        ("!Base64 {Ref: Later}", LATER),
        ("!Cidr [!GetAtt Later.Block, 2, 8]", LATER),
        ("{Fn::ImportValue: !Ref Later}", LATER),
        ("!If [Is, !Ref Later, a]", LATER),
    ],
)
def test_what_is_not_there_yet_is_marked_in_a_plan(written: str, wanted: Any) -> None:
    assert value(written, is_plan=True) == wanted


def test_a_default_of_find_in_map_needs_the_transform() -> None:
    written = "Outputs: {Out: {Value: !FindInMap [Days, test, Logs, {DefaultValue: !Ref Size}]}}"
    path = ("Outputs", "Out", "Value")
    plain = scope(HEAD + written)
    with pytest.raises(TemplateFault, match="every Fn::FindInMap object requires three parameters"):
        resolve(plain.template.content["Outputs"]["Out"]["Value"], plain, path)
    extended = scope(EXTENDED + HEAD + written)
    assert resolve(extended.template.content["Outputs"]["Out"]["Value"], extended, path) == "3"


def test_names_of_imports_are_of_the_branch_that_is_taken() -> None:
    wanted = read("a: [!If [Is, !ImportValue one, !ImportValue two], {Fn::ImportValue: !Sub 'x-${Stage}'}, {Fn::ImportValue: !Ref Later}]")
    assert functions.imported(wanted.content, scope(), ()) == {"one", "x-prod"}


def test_an_output_is_a_text() -> None:
    assert functions.output({"Ref": "Size"}, scope(), ("Outputs",)) == "3"
    with pytest.raises(TemplateFault, match="The Value field of every Outputs member must evaluate to a String"):
        functions.output({"Fn::GetAtt": ["Answer", "List"]}, scope(), ("Outputs",))
