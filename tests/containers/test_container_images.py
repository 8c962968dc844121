"""What images cost a node: credentials of registries, the bound of what is pulled, and what is never removed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from compute.compute_rig import LocalRig
from containers.engines import IMAGE, Daemon
from containers.registry import PASSWORD, USER, Registry
from containers.test_container_lives import contained, run
from containers.test_container_pulls import fresh

TINY = ("--image-cache-gib", "0.000001")  # less than any image: whatever can go, goes


def auth(user: str, password: str, registry: Registry) -> str:
    told = {"username": user, "password": password, "serveraddress": f"127.0.0.1:{registry.port}"}
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode()


@pytest.mark.parametrize("kind", ["private_registry", "token_registry"])
async def test_a_private_image_is_pulled_with_the_credentials_of_its_launch(
    local: LocalRig, kind: str, request: pytest.FixtureRequest
) -> None:
    registry: Registry = request.getfixturevalue(kind)
    image = fresh(request, "private")
    for wrong in ("", auth(USER, "wrong", registry)):
        launch = contained(local, image=registry.name(image), registry_auth=wrong)
        local.provider.carry_out([launch])
        refused = await local.ended(launch.attempt)
        assert (refused.cause, refused.exit_code) == ("not-started", None)
        assert refused.reason.startswith("CannotPullContainerError: Error response from daemon: ")
    launch = contained(local, image=registry.name(image), registry_auth=auth(USER, PASSWORD, registry))
    local.provider.carry_out([launch])
    assert (await local.ended(launch.attempt)).exit_code == 0
    assert local.log(launch.attempt) == [f"I am {image}"]


def is_there(daemon: Daemon, name: str) -> bool:
    return any(tag.endswith(name) for tag in daemon.images())


@pytest.mark.parametrize("local", [TINY], indirect=True)
async def test_what_was_pulled_goes_when_it_is_too_much_and_not_used(
    local: LocalRig, shared_daemon: Daemon, registry: Registry, request: pytest.FixtureRequest
) -> None:
    first, held, last = (f"{registry.name(fresh(request, what))}:latest" for what in ("first", "held", "last"))
    remembered = Path(local.directory / "images.json")
    await run(local, image=first)
    holder = contained(local, "sleep", "1000", image=held)
    local.provider.carry_out([holder])
    await local.started(holder.attempt)
    assert set(json.loads(remembered.read_text())) == {first, held}
    assert all(told["id"].startswith("sha256:") for told in json.loads(remembered.read_text()).values())
    assert is_there(shared_daemon, first), "what was used a moment ago may be about to start again"

    await local.provider.shut_down(0.0)  # the memory outlives the node; make all of it old
    remembered.write_text(json.dumps({name: 1000 + number for number, name in enumerate((first, held))}))
    await local.connect(2)
    await local.up("i-1")
    holder = contained(local, "sleep", "1000", image=held)
    local.provider.carry_out([holder])
    await local.started(holder.attempt)
    await run(local, image=last)
    await local.eventually(lambda: not is_there(shared_daemon, first), "the image that nobody uses is removed")
    assert is_there(shared_daemon, held) and is_there(shared_daemon, last) and is_there(shared_daemon, IMAGE)
    await local.eventually(lambda: set(json.loads(remembered.read_text())) == {held, last}, "and forgotten")
    assert (await run(local, image=first))[0].exit_code == 0  # pulled again


@pytest.mark.parametrize("local", [TINY], indirect=True)
async def test_an_image_that_the_node_did_not_pull_is_never_removed(
    local: LocalRig, shared_daemon: Daemon, registry: Registry, request: pytest.FixtureRequest
) -> None:
    shared_daemon.load("built")
    assert (await run(local, "true", image="built:latest"))[0].exit_code == 0
    pulled = registry.name(fresh(request, "pulled"))
    assert (await run(local, image=pulled))[0].exit_code == 0
    assert set(json.loads((local.directory / "images.json").read_text())) == {f"{pulled}:latest"}
    assert is_there(shared_daemon, "built:latest")


@pytest.mark.parametrize("local", [TINY], indirect=True)
async def test_a_node_that_starts_looks_at_what_earlier_ones_pulled(
    local: LocalRig, shared_daemon: Daemon, registry: Registry, request: pytest.FixtureRequest
) -> None:
    name = f"{registry.name(fresh(request, 'left'))}:latest"
    remembered = Path(local.directory / "images.json")
    assert (await run(local, image=name))[0].exit_code == 0
    await local.provider.shut_down(0.0)
    id = json.loads(remembered.read_text())[name]["id"]
    remembered.write_text(json.dumps({name: {"used_ms": 1000, "id": id}}))
    await local.connect(2)
    await local.eventually(lambda: not is_there(shared_daemon, name), "it is removed")
    await local.eventually(lambda: json.loads(remembered.read_text()) == {}, "and forgotten")


@pytest.mark.parametrize("local", [TINY], indirect=True)
async def test_what_was_being_pulled_when_the_node_died_is_known_to_be_its(
    local: LocalRig, shared_daemon: Daemon, registry: Registry, request: pytest.FixtureRequest
) -> None:
    name = f"{registry.name(fresh(request, 'dying'))}:latest"
    remembered = Path(local.directory / "images.json")
    registry.open.clear()
    try:
        launch = contained(local, image=name)
        local.provider.carry_out([launch])
        await local.eventually(lambda: registry.held, "it is being pulled")
        assert json.loads(remembered.read_text()) == {name: {"used_ms": json.loads(remembered.read_text())[name]["used_ms"]}}
    finally:
        registry.open.set()
    assert (await local.ended(launch.attempt)).exit_code == 0
    assert json.loads(remembered.read_text())[name]["id"].startswith("sha256:")


@pytest.mark.parametrize("local", [TINY], indirect=True)
async def test_what_somebody_puts_under_a_name_that_was_pulled_is_theirs(
    local: LocalRig, shared_daemon: Daemon, registry: Registry, request: pytest.FixtureRequest
) -> None:
    name = f"{registry.name(fresh(request, 'taken'))}:latest"
    remembered = Path(local.directory / "images.json")
    assert (await run(local, image=name))[0].exit_code == 0
    before = json.loads(remembered.read_text())[name]["id"]
    await local.provider.shut_down(0.0)
    remembered.write_text(json.dumps({name: {"used_ms": 1000, "id": before}}))
    shared_daemon.load(name.removesuffix(":latest"), "CMD echo mine")  # built or loaded by hand, under the same name
    await local.connect(2)
    await local.eventually(lambda: json.loads(remembered.read_text()) == {}, "what was pulled, which has no name now, is removed")
    assert is_there(shared_daemon, name)
    assert before not in ids(shared_daemon)
    await local.up("i-1")
    assert (await run(local, image=name))[1] == ["mine"]


@pytest.mark.parametrize("local", [[*TINY, "--pull", "always"]], indirect=True)
async def test_what_a_later_pull_of_the_same_name_leaves_without_one_is_removed_too(
    local: LocalRig, shared_daemon: Daemon, registry: Registry, request: pytest.FixtureRequest
) -> None:
    image = fresh(request, "moving")
    name, remembered = f"{registry.name(image)}:latest", Path(local.directory / "images.json")
    assert (await run(local, image=name))[1] == [f"I am {image}"]
    before = json.loads(remembered.read_text())[name]["id"]
    registry.renew(image)
    assert (await run(local, image=name))[1] == [f"I am {image}, renewed"]
    told = json.loads(remembered.read_text())
    assert set(told) == {name, before} and told[name]["id"] != before
    await local.provider.shut_down(0.0)
    remembered.write_text(json.dumps({key: {**one, "used_ms": 1000} for key, one in told.items()}))
    await local.connect(2)
    await local.eventually(lambda: not {before, told[name]["id"]} & ids(shared_daemon), "both are removed")


def ids(daemon: Daemon) -> set[str]:
    return {image["Id"] for image in daemon.listed()}
