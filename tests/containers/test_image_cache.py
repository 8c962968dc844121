"""Which images a node removes, and when: against a daemon that is a dictionary."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest

from batchyard.compute.local.containers import cache, images
from batchyard.compute.local.containers.cache import ImageCache
from batchyard.compute.local.containers.engine import Engine, EngineError, HeldImage
from batchyard.compute.local.containers.images import CannotPull, Images
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.tasks import Task

GIB = 1024**3
PATIENCE_S = 60.0
SOON_MS = 150
T = TypeVar("T")


class Shelf:
    """A daemon with images of given sizes; what is in `busy` is used by a container that we know nothing of."""

    def __init__(self, **gib: int) -> None:
        self.gib = gib  # of what can be pulled
        self.here: dict[str, str] = {}  # the id of each name
        self.busy: set[str] = set()
        self.removed: list[str] = []
        self.room_gib: int | None = None  # None: no end of it
        self.daemon = SimpleNamespace(kind="docker")
        self.is_podman = False

    async def meet(self) -> Any:
        return self.daemon

    async def image_id(self, name: str) -> str:
        return self.here.get(f"{name}:latest", "")

    async def images(self) -> list[HeldImage]:
        return [HeldImage(id, (name,), 1, self._gib(name) * GIB) for name, id in self.here.items()]

    def _gib(self, name: str) -> int:
        return self.gib[name.removesuffix(":latest")]

    async def pull(self, name: str, auth: str = "") -> None:
        if name not in self.gib:
            raise EngineError(404, "manifest unknown")
        if self.room_gib is not None and sum(map(self._gib, self.here)) + self.gib[name] > self.room_gib:
            raise EngineError(500, "write /layer: no space left on device")
        self.here[f"{name}:latest"] = f"sha256:{name}"

    async def remove_image(self, name: str) -> None:
        name = next((each for each, id in self.here.items() if id == name), name)
        if name in self.busy:
            raise EngineError(409, "conflict: a container uses it")
        del self.here[name]
        self.removed.append(name.removesuffix(":latest"))


class Bench:
    """The images of one node."""

    def __init__(self, folder: Path, shelf: Shelf, limit_gib: float | None) -> None:
        self.loop, self.shelf, self.file = Loop(lambda: None), shelf, folder / "images.json"
        self._limit_gib = limit_gib
        self.start()

    def start(self) -> None:
        """A node begins, with what an earlier one has written down."""
        engine = cast(Engine, self.shelf)
        self.images = Images(engine, "missing", ImageCache(engine, self._limit_gib, self.file, lambda _: None), self.loop)

    def run(self, steps: Coroutine[Any, Any, T]) -> T:
        task = Task(steps)
        self.until(lambda: task.done)
        return task.result()

    def until(self, is_so: Callable[[], bool]) -> None:
        give_up_s = boot_s() + PATIENCE_S
        while not is_so():
            assert boot_s() < give_up_s
            self.loop.wake_at(boot_s() + 0.02)
            self.loop.once()

    def started(self, name: str) -> None:
        """A container starts from it, and runs on; not within the same millisecond as the one before."""
        time.sleep(0.002)
        self.images.hold(name)
        self.run(self.images.ready(name))

    def ran(self, *names: str) -> None:
        """A container started from each, one after the other, and is gone."""
        for name in names:
            self.started(name)
            self.images.let_go(name)

    def rest(self) -> None:
        """Nothing happens for longer than what was used counts as recent."""
        end_s = boot_s() + 4 * SOON_MS / 1000
        self.until(lambda: boot_s() > end_s)

    def here(self) -> set[str]:
        return {name.removesuffix(":latest") for name in self.shelf.here}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cache, images):
        monkeypatch.setattr(module, "RECENT_MS", SOON_MS)


def test_the_least_recently_used_goes_first_and_no_more_than_must(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Shelf(a=1, b=1, c=1, d=1), 3)
    bench.ran("a", "b", "c", "a")
    bench.rest()
    assert bench.here() == {"a", "b", "c"}, "as much as the limit is not too much"
    bench.ran("d")
    bench.until(lambda: bench.shelf.removed == ["b"])
    bench.rest()
    assert bench.here() == {"a", "c", "d"}


def test_it_goes_by_the_end_of_what_used_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Shelf(long=1, short=1, new=1), 2)
    bench.started("long")
    bench.rest()
    bench.ran("short")
    bench.rest()
    bench.images.let_go("long")
    bench.rest()
    bench.ran("new")
    bench.until(lambda: bench.shelf.removed == ["short"])


def test_over_the_limit_is_no_state_that_lasts_until_somebody_pulls_something_else(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Shelf(big=5), 3)
    bench.started("big")
    bench.rest()
    assert bench.here() == {"big"}, "larger than the limit, and used"
    bench.images.let_go("big")
    assert bench.here() == {"big"}, "it may be wanted again at once"
    bench.until(lambda: not bench.here())
    assert json.loads(bench.file.read_text()) == {}
    bench.ran("big")
    assert bench.here() == {"big"}, "and can be had again"


def test_what_is_held_is_kept_whoever_else_wants_room(tmp_path: Path) -> None:
    shelf = Shelf(held=2, foreign=2, old=2, new=2)
    bench = Bench(tmp_path, shelf, 1)
    bench.started("held")
    bench.ran("old", "foreign")
    shelf.busy.add("foreign:latest")
    bench.until(lambda: shelf.removed == ["old"])
    bench.rest()
    bench.ran("new")
    bench.until(lambda: shelf.removed == ["old", "new"])
    assert bench.here() == {"held", "foreign"}


def test_a_full_disk_is_made_room_on_before_a_pull_fails(tmp_path: Path) -> None:
    shelf = Shelf(a=2, b=2, c=3, huge=9)
    shelf.room_gib = 4
    bench = Bench(tmp_path, shelf, None)
    bench.ran("a")
    bench.started("b")
    with pytest.raises(CannotPull):
        bench.run(bench.images.ready("c"))
    assert shelf.removed == ["a"], "used a moment ago, and not now: the other is used"
    bench.images.let_go("b")
    bench.ran("c")
    assert bench.here() == {"c"}
    with pytest.raises(CannotPull, match="no space left on device"):
        bench.run(bench.images.ready("huge"))
    assert set(json.loads(bench.file.read_text())) == set(), "what could not be had is not remembered"


def test_room_is_made_by_itself_while_the_disk_is_nearly_full(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Shelf(a=1, b=1, c=1, d=1), None)
    bench.ran("a", "b", "c")
    bench.started("d")

    def is_enough() -> bool:
        return len(bench.shelf.here) <= 2

    bench.images.make_room(is_enough)
    bench.until(lambda: bench.shelf.removed == ["a", "b"])
    bench.images.make_room(lambda: False)
    bench.until(lambda: bench.shelf.removed == ["a", "b", "c"])
    assert not bench.images.make_room(lambda: False), "in vain a moment ago"
    assert bench.here() == {"d"}


def test_what_people_have_built_is_theirs_and_what_is_remembered_outlives_the_node(tmp_path: Path) -> None:
    shelf = Shelf(mine=1, pulled=1, dying=1)
    shelf.here["mine:latest"] = "sha256:built"
    # As earlier versions wrote it, and as it is written before a pull.
    (tmp_path / "images.json").write_text(json.dumps({"before:latest": 1000, "dying:latest": {"used_ms": 1000}}))
    shelf.here["dying:latest"] = "sha256:dying"  # the pull went on without its node
    bench = Bench(tmp_path, shelf, 0.5)
    bench.until(lambda: shelf.removed == ["dying"])
    bench.ran("mine", "pulled")
    bench.images.close()
    bench.start()
    bench.until(lambda: shelf.removed == ["dying", "pulled"])
    assert bench.here() == {"mine"}


def test_an_image_with_a_tag_and_a_digest_is_known_by_its_id(tmp_path: Path) -> None:
    shelf = Shelf(tool=2)
    shelf.here["tool:latest"] = "sha256:tool"
    name = f"tool:1@sha256:{'0' * 64}"  # which no daemon lists
    (tmp_path / "images.json").write_text(json.dumps({name: {"used_ms": 1000, "id": "sha256:tool"}}))
    bench = Bench(tmp_path, shelf, 1)
    bench.until(lambda: shelf.removed == ["tool"])
