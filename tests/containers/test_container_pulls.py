"""Images from a registry: pulled once for all who wait, STARTING while it lasts, and exact words when they are not to be had."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from batchyard.model.messages import AttemptStarted, StopAttempt
from compute.compute_rig import LocalRig
from containers.engines import Daemon
from containers.registry import Registry
from containers.test_container_lives import contained, run


@pytest.fixture
def holding(registry: Registry) -> Iterator[Registry]:
    """Gives no layer until it is opened."""
    registry.open.clear()
    yield registry
    registry.open.set()


def fresh(request: pytest.FixtureRequest, what: str) -> str:
    """An image name that nobody has pulled yet."""
    return f"{what}-{re.sub('[^a-z0-9]+', '-', request.node.name.lower()).strip('-')}"


async def test_one_pull_serves_all_who_wait_and_nothing_runs_before(
    local: LocalRig, holding: Registry, request: pytest.FixtureRequest
) -> None:
    image = fresh(request, "shared")
    launches = [contained(local, image=holding.name(image)) for _ in range(3)]
    beside = contained(local, "echo", "meanwhile")
    process = local.launch("true")
    local.provider.carry_out([*launches, beside, process])
    assert (await local.ended(process.attempt)).exit_code == 0
    assert (await local.ended(beside.attempt)).exit_code == 0
    assert not any(local.of(AttemptStarted, attempt=launch.attempt) for launch in launches)
    holding.open.set()
    for launch in launches:
        assert (await local.ended(launch.attempt)).exit_code == 0
        assert local.log(launch.attempt) == [f"I am {image}"]
    asked = holding.manifests_asked[image]
    await run(local, image=holding.name(image))
    assert holding.manifests_asked[image] == asked  # it is here now


async def test_an_image_that_was_removed_meanwhile_is_pulled_again(
    local: LocalRig, shared_daemon: Daemon, registry: Registry, request: pytest.FixtureRequest
) -> None:
    image = fresh(request, "removed")
    for _ in range(2):
        assert (await run(local, image=registry.name(image)))[1] == [f"I am {image}"]
    asked = registry.manifests_asked[image]
    await local.eventually(lambda: shared_daemon.call("GET", "/v1.40/containers/json?all=1")[1] == [], "its containers are removed")
    assert shared_daemon.call("DELETE", f"/v1.40/images/{registry.name(image)}?force=1")[0] == 200
    assert (await run(local, image=registry.name(image)))[1] == [f"I am {image}"]
    assert registry.manifests_asked[image] > asked


async def test_who_is_stopped_while_an_image_is_pulled_does_not_take_it_from_the_others(
    local: LocalRig, holding: Registry, request: pytest.FixtureRequest
) -> None:
    image = holding.name(fresh(request, "stopped"))
    first, second = contained(local, image=image), contained(local, image=image)
    local.provider.carry_out([first, second])
    await local.eventually(lambda: holding.held, "the image is being pulled")
    local.provider.carry_out([StopAttempt(first.attempt)])
    ended = await local.ended(first.attempt)
    assert (ended.cause, ended.exit_code, ended.started_at_ms) == ("stopped", None, None)
    assert not local.of(AttemptStarted)
    holding.open.set()
    assert (await local.ended(second.attempt)).exit_code == 0


@pytest.mark.parametrize(("image", "words"), [("missing/tool:7", "manifest unknown"), ("secret/tool", "denied|403")])
async def test_an_image_that_is_not_to_be_had(local: LocalRig, registry: Registry, image: str, words: str) -> None:
    ended, lines = await run(local, "true", image=registry.name(image))
    assert (ended.cause, ended.exit_code, ended.started_at_ms) == ("not-started", None, None)
    assert ended.reason.startswith("CannotPullContainerError: Error response from daemon: ")
    assert re.search(words, ended.reason)
    assert lines


@pytest.mark.parametrize("local", [["--pull", "never"]], indirect=True)
async def test_never_pull(local: LocalRig, registry: Registry, request: pytest.FixtureRequest) -> None:
    image = fresh(request, "never")
    ended, _ = await run(local, "true", image=registry.name(image))
    assert ended.reason.startswith("CannotPullContainerError: Error response from daemon: No such image: ")
    assert registry.manifests_asked[image] == 0
    assert (await run(local, "true"))[0].exit_code == 0


@pytest.mark.parametrize("local", [["--pull", "always"]], indirect=True)
async def test_always_pull_and_take_what_is_here_if_that_fails(local: LocalRig, registry: Registry, request: pytest.FixtureRequest) -> None:
    image = fresh(request, "always")
    for _ in range(2):
        asked = registry.manifests_asked[image]
        assert (await run(local, image=registry.name(image)))[0].exit_code == 0
        assert registry.manifests_asked[image] > asked
    registry.refused.add(image)
    assert (await run(local, image=registry.name(image)))[0].exit_code == 0
