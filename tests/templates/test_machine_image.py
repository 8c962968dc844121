"""The template of the machine image: AWS would take it, everything in it has a version, and what it installs is what instances look for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wheelhouse
import yaml  # type: ignore[import-untyped]
from botocore.exceptions import ClientError
from debian_root import World, debian, why_not
from genomics_stack import TEMPLATES, Stack, load_template, resolve
from test_genomics_schemas import CFN_LINT, REGIONS, faults

from yard import Yard, serving

TEMPLATE = TEMPLATES / "machine-image.yaml"
PARENT = "ami-0a1b2c3d4e5f60718"
GIVEN = {"Package": "s3://packages/batchyard.tar.gz", "ParentImageParameter": PARENT}
BTRFS = {"BtrfsToolsUrl": "https://example.com/btrfs-progs-v6.9.tar.xz", "BtrfsToolsSha256": "0" * 64}
SETS = {
    "defaults": {},
    "pinned": {"ParentImage": "ami-00000000000000001", "Package": "batchyard==0.1.0"},
    "btrfs": BTRFS,
    "btrfs from a bucket": BTRFS | {"BtrfsToolsUrl": "s3://sources/btrfs-progs-v6.9.tar.gz"},
    "a subnet": {"SubnetId": "subnet-0a1b2c3d", "SecurityGroupId": "sg-0a1b2c3d"},
}


def made(given: dict[str, str]) -> Stack:
    return resolve(load_template(TEMPLATE), GIVEN | given)


def phases(given: dict[str, str]) -> dict[str, list[str]]:
    """What the component runs, phase by phase: a script per step."""
    document = yaml.safe_load(made(given).properties("ScratchComponent")["Data"])
    assert document["schemaVersion"] == 1.0
    found = {}
    for phase in document["phases"]:
        assert all(step["action"] == "ExecuteBash" for step in phase["steps"])
        found[phase["name"]] = ["\n".join(step["inputs"]["commands"]) for step in phase["steps"]]
    return found


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("given", SETS.values(), ids=SETS.keys())
def test_every_property_is_in_the_published_schema(given: dict[str, str], region: str) -> None:
    for name, resource in made(given).resources.items():
        assert faults(resource["Type"], resource["Properties"], region) == [], name


@pytest.mark.timeout(700)  # ten seconds of a processor that nobody else wants
def test_cfn_lint_is_content(tmp_path: Path) -> None:
    assert "cfn-lint" not in TEMPLATE.read_text(), "rules are switched off in the template"
    command = [*CFN_LINT, "--format", "json", "--include-checks", "I", "--regions", *REGIONS, "--", str(TEMPLATE)]
    told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False)
    assert json.loads(told.stdout) == []


def test_everything_in_it_has_a_version() -> None:
    stack = made({"Version": "2.1.0"})
    recipe = stack.properties("Recipe")
    assert recipe["ParentImage"] == PARENT, "as the SSM parameter says on the day"
    assert made(SETS["pinned"]).properties("Recipe")["ParentImage"] == "ami-00000000000000001"
    assert (recipe["Version"], stack.properties("ScratchComponent")["Version"]) == ("2.1.0", "2.1.0")
    assert recipe["Components"] == [
        {"ComponentArn": "arn:aws:imagebuilder:eu-central-1:111122223333:component/genomics-scratchcomponent/1.0.0/1"}
    ]
    (device,) = recipe["BlockDeviceMappings"]
    assert (device["DeviceName"], device["Ebs"]["Encrypted"]) == ("/dev/xvda", True), "the launch template changes this very device"
    assert stack.properties("Infrastructure")["InstanceMetadataOptions"]["HttpTokens"] == "required"
    assert stack.outputs["ImageId"]["Value"] == stack.properties("ImageParameter")["Value"]
    pattern = load_template()["Parameters"]["ImageId"]["AllowedPattern"]
    assert re.search(pattern, stack.outputs["ImageId"]["Value"]), "the environment takes it"


def test_the_builder_may_fetch_what_goes_in_and_nothing_else() -> None:
    def objects(given: dict[str, str]) -> list[str]:
        granted = []
        for policy in made(given).properties("BuilderRole")["Policies"]:
            (statement,) = policy["PolicyDocument"]["Statement"]
            assert (statement["Effect"], statement["Action"]) == ("Allow", "s3:GetObject")
            granted.append(statement["Resource"])
        return granted

    assert objects({}) == ["arn:aws:s3:::packages/batchyard.tar.gz"]
    assert objects(SETS["pinned"]) == []
    assert objects(SETS["btrfs from a bucket"])[1:] == ["arn:aws:s3:::sources/btrfs-progs-v6.9.tar.gz"]


def test_scripts_are_sound_shell() -> None:
    for scripts in phases(BTRFS).values():
        for script in scripts:
            assert subprocess.run(["bash", "-n"], input=script, text=True, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("parameter", ["Package=http://a/b.tar.gz", "Version=1.0", "BtrfsToolsUrl=https://a/b.tar.xz;rm"])
def test_values_that_make_no_sense_are_refused(parameter: str) -> None:
    name, _, value = parameter.partition("=")
    with pytest.raises(AssertionError):
        made({name: value})


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("image") / "data") as found:
        yield found


def test_batchyard_refuses_it_by_name(yard: Yard) -> None:
    """There are no machine images here: nothing is made, and nothing is pretended."""
    given = [{"ParameterKey": name, "ParameterValue": value} for name, value in {**GIVEN, "ParentImageParameter": "/image"}.items()]
    yard.client("ssm").put_parameter(Name="/image", Value=PARENT, Type="String")
    with pytest.raises(ClientError, match=r"AWS::ImageBuilder::\w+"):
        yard.client("cloudformation").create_stack(
            StackName="image", TemplateBody=TEMPLATE.read_text(), Parameters=given, Capabilities=["CAPABILITY_IAM"]
        )


@pytest.mark.system("debootstrap, btrfs-progs, xfsprogs")
@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.timeout(1200)
def test_the_component_installs_what_user_data_then_finds(tmp_path: Path) -> None:
    """Its phases run in a clean Debian, in order; dnf and the AWS CLI are stand-ins."""
    from test_user_data import AWS, LIBEXEC, STANDS_IN, asked_for, boot

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scratch"))
    from ec2_double import Double

    with Double(tmp_path / "cloud", by_id=tmp_path / "by-id") as double, debian(tmp_path / "by-id", {}) as world:
        for name in ("systemctl", "dnf"):
            world.program(f"/usr/bin/{name}", STANDS_IN)
        world.program("/usr/bin/aws", AWS)
        (world.buckets / "packages").mkdir()
        wheelhouse.make(world.buckets / "packages" / "batchyard.tar.gz")
        agent = world.path("/var/lib/ecs/data/agent.db")
        agent.parent.mkdir(parents=True)
        agent.write_text("the identity of the instance on which the image is made")
        for name in ("build", "validate", "test"):
            for script in phases({})[name]:
                run_as_component(world, script)
        assert asked_for(world)[-1] == "systemctl stop ecs.service", "or it would write again what is taken away"
        assert list(agent.parent.iterdir()) == [], "each instance joins as itself"
        assert world.run("ls", "/opt/batchyard/wheels")[0] == 2, "what is not needed is not in the image"
        boot(world, double, {"Scratch": "auto", "ImageId": "ami-0123456789abcdef0"})
        assert world.run(LIBEXEC, "install") == (0, ""), "at once: it is there"


def run_as_component(world: World, script: str) -> None:
    world.program("/root/step", f"#!/bin/bash\n{script}")
    code, said = world.run("/root/step", timeout_s=300)
    assert code == 0, said
