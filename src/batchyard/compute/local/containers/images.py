"""Images: found on this machine, or pulled; one pull at a time of each, shared by all who wait for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from batchyard.compute.local.containers.cache import RECENT_MS, ImageCache, Outcome
from batchyard.compute.local.containers.engine import Engine, EngineError, full_name
from batchyard.compute.local.containers.wire import EngineAway
from batchyard.compute.local.loop import Loop, Timer, boot_s
from batchyard.compute.local.node_log import say
from batchyard.compute.local.tasks import Promise, Task

MOST_SEEN = 1000
_VAIN_S = 30.0  # when nothing could be removed, or not enough, the next attempt is so much later
_AGAIN_S = 5.0  # Podman fails to list images while one is being removed
_NO_ROOM = "no space left on device"
_OF_PODS = {"Always": "always", "IfNotPresent": "missing", "Never": "never"}


class CannotPull(Exception):
    """The image is not to be had; the text is the reason in the words of the ECS agent (aws-batch.md 2.3)."""


class Images:
    """`policy`: "missing" pulls what is not here; "always" pulls at every start and takes what is here if that fails, as the ECS agent does
    by default; "never" takes only what is here. What was pulled here is bounded by `cache`."""

    def __init__(self, engine: Engine, policy: str, cache: ImageCache, loop: Loop) -> None:
        self._engine = engine
        self._policy = policy
        self._cache = cache
        self._loop = loop
        self._pulls: dict[tuple[str, str], Task[None]] = {}  # under way, by image and credentials
        self._in_use: Counter[str] = Counter()  # how many attempts hold each
        self._removing: Task[None] | None = None
        self._due: Timer | None = None  # when what can be removed is looked for again
        self._in_vain_s = 0.0  # when a full disk could not be helped last
        self._seen: dict[str, str] = {}  # images that were here when they were last asked for, as the daemon knows them
        if cache.is_bounded:
            self._look_in(0.0)

    def hold(self, name: str) -> None:
        """An attempt wants it: it is not removed until it is let go."""
        self._in_use[full_name(name)] += 1

    def let_go(self, name: str) -> None:
        """The attempt's container is gone. If there is too much, it goes when its time has come."""
        name = full_name(name)
        self._in_use[name] -= 1
        if not self._in_use[name]:
            del self._in_use[name]
        self._cache.used(name)
        if self._cache.is_bounded:
            self._look_in(RECENT_MS / 1000)

    async def ready(self, name: str, wanted: str = "", *, auth: str = "", is_asked: bool = False) -> str:
        """Wait until an image is here; the name by which the daemon knows it. CannotPull, EngineAway.

        `wanted` is a pod's own imagePullPolicy, which wins. `auth` are credentials for its registry (see `messages.Launch`). An image that
        was here before is taken to be here still, which saves a question at each start; where the daemon then says otherwise, it is asked
        for (`is_asked`).
        """
        policy = _OF_PODS.get(wanted, self._policy)
        self._cache.used(full_name(name))
        if policy != "always" and not is_asked and name in self._seen and self._engine.daemon is not None:
            return self._seen[name]
        found, _ = await self._found(name)
        if found and policy != "always":
            return found
        if policy == "never":
            raise CannotPull(f"CannotPullContainerError: Error response from daemon: No such image: {name} (images are never pulled here)")
        if not found:
            self._cache.pulling(full_name(name))
        try:
            await self._pulled(name, auth)
        except EngineError as error:
            if found:
                return found
            self._cache.not_pulled(full_name(name))
            raise CannotPull(f"CannotPullContainerError: Error response from daemon: {error}") from error
        here, id = await self._found(name)
        if here:
            self._cache.pulled(full_name(name), id, was_here=bool(found))
        if self._cache.is_bounded:
            self._look_in(0.0)
        return here or name

    def make_room(self, is_enough: Callable[[], bool]) -> bool:
        """The daemon's disk is nearly full: remove what nobody uses. Whether that is under way; False if it was in vain a moment ago."""
        if self._removing is not None and not self._removing.done:
            return True
        if boot_s() - self._in_vain_s < _VAIN_S:
            return False
        self._removing = Task(self._emptied(is_enough))
        return not self._removing.done

    def close(self) -> None:
        """Write down what was used when."""
        self._cache.close()

    async def _found(self, name: str) -> tuple[str, str]:
        """The name of an image that is here, and its id; "" if it is not. What was built with `podman build -t NAME` is called
        localhost/NAME."""
        names = [name]
        await self._engine.meet()
        if self._engine.is_podman and not _has_registry(name):
            names.append(f"localhost/{name}")
        self._seen.pop(name, None)
        for each in names:
            id = await self._engine.image_id(each)
            if id:
                if len(self._seen) >= MOST_SEEN:
                    self._seen.clear()
                self._seen[name] = each
                return each, id
        return "", ""

    async def _pulled(self, name: str, auth: str) -> None:
        key = (name, auth)
        pull = self._pulls.get(key)
        if pull is None:
            pull = self._pulls[key] = Task(self._pull(name, auth))
            pull.then(lambda: self._forget(key))
        waiting: Promise[None] = Promise()
        pull.then(lambda: waiting.keep(None))
        await waiting  # not for the pull itself: whoever is cancelled must not take it from the others
        pull.result()

    async def _pull(self, name: str, auth: str) -> None:
        """Once more if the disk was full and images could be removed."""
        try:
            await self._engine.pull(name, auth)
        except EngineError as error:
            if _NO_ROOM not in str(error) or not (await self._removed(self._cache.empty(self._wanted))).removed:
                raise
            await self._engine.pull(name, auth)

    async def _removed(self, removing: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Let it be done; what was here may be gone then."""
        outcome = await removing
        if outcome.removed:
            self._seen.clear()
        return outcome

    def _wanted(self) -> set[str]:
        """What is used, waited for, or being pulled."""
        return {*self._in_use, *(full_name(name) for name, _ in self._pulls)}

    def _forget(self, key: tuple[str, str]) -> None:
        del self._pulls[key]

    # --- to keep within the bound, beside what starts: nobody waits for it ---

    def _look_in(self, seconds: float) -> None:
        if self._due is None or self._due.when_s > boot_s() + seconds:
            self._loop.cancel(self._due)
            self._due = self._loop.at(boot_s() + seconds, self._look)

    def _look(self) -> None:
        self._due = None
        if self._removing is None or self._removing.done:
            self._removing = Task(self._trimmed())
        else:
            self._look_in(_AGAIN_S)

    async def _trimmed(self) -> None:
        try:
            outcome = await self._removed(self._cache.trim(self._wanted))
        except (EngineAway, EngineError) as error:
            say(f"images cannot be looked through: {error}")
            self._look_in(_AGAIN_S if isinstance(error, EngineError) else RECENT_MS / 1000)
        else:
            if outcome.again_ms is not None:
                self._look_in(outcome.again_ms / 1000)

    async def _emptied(self, is_enough: Callable[[], bool]) -> None:
        try:
            outcome = await self._removed(self._cache.empty(self._wanted, is_enough))
        except (EngineAway, EngineError) as error:
            say(f"no image can be removed to make room: {error}")
            self._in_vain_s = boot_s()
        else:
            if not is_enough() or not outcome.removed:
                self._in_vain_s = boot_s()


def _has_registry(name: str) -> bool:
    first, slash, _ = name.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")
