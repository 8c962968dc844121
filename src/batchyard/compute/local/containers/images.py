"""Images: found on this machine, or pulled; one pull at a time of each, shared by all who wait for it."""

from __future__ import annotations

from batchyard.compute.local.containers.cache import ImageCache
from batchyard.compute.local.containers.engine import Engine, EngineError, full_name
from batchyard.compute.local.containers.wire import EngineAway
from batchyard.compute.local.node_log import say
from batchyard.compute.local.tasks import Promise, Task

MOST_SEEN = 1000
_NO_ROOM = "no space left on device"
_OF_PODS = {"Always": "always", "IfNotPresent": "missing", "Never": "never"}


class CannotPull(Exception):
    """The image is not to be had; the text is the reason in the words of the ECS agent (aws-batch.md 2.3)."""


class Images:
    """`policy`: "missing" pulls what is not here; "always" pulls at every start and takes what is here if that fails, as the ECS agent does
    by default; "never" takes only what is here. What was pulled here is bounded by `cache`."""

    def __init__(self, engine: Engine, policy: str, cache: ImageCache) -> None:
        self._engine = engine
        self._policy = policy
        self._cache = cache
        self._pulls: dict[tuple[str, str], Task[None]] = {}  # under way, by image and credentials
        self._trimming: Task[None] | None = None
        self._seen: dict[str, str] = {}  # images that were here when they were last asked for, as the daemon knows them

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
        found = await self._found(name)
        if found and policy != "always":
            return found
        if policy == "never":
            raise CannotPull(f"CannotPullContainerError: Error response from daemon: No such image: {name} (images are never pulled here)")
        try:
            await self._pulled(name, auth)
        except EngineError as error:
            if found:
                return found
            raise CannotPull(f"CannotPullContainerError: Error response from daemon: {error}") from error
        if not found:
            self._cache.pulled(full_name(name))
            self._trim()
        return await self._found(name) or name

    def close(self) -> None:
        """Write down what was used when."""
        self._cache.close()

    async def _found(self, name: str) -> str:
        """The name of an image that is here, or "". What was built with `podman build -t NAME` is called localhost/NAME."""
        names = [name]
        await self._engine.meet()
        if self._engine.is_podman and not _has_registry(name):
            names.append(f"localhost/{name}")
        self._seen.pop(name, None)
        for each in names:
            if await self._engine.has_image(each):
                if len(self._seen) >= MOST_SEEN:
                    self._seen.clear()
                self._seen[name] = each
                return each
        return ""

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
            if _NO_ROOM not in str(error) or not await self._cache.empty(self._awaited()):
                raise
            await self._engine.pull(name, auth)

    def _awaited(self) -> set[str]:
        return {full_name(name) for name, _ in self._pulls}

    def _forget(self, key: tuple[str, str]) -> None:
        del self._pulls[key]

    def _trim(self) -> None:
        """Keep within the bound, beside what starts: nobody waits for it."""
        if self._trimming is None or self._trimming.done:
            self._trimming = Task(self._trimmed())

    async def _trimmed(self) -> None:
        try:
            await self._cache.trim(self._awaited())
        except (EngineAway, EngineError) as error:
            say(f"images cannot be looked through: {error}")


def _has_registry(name: str) -> bool:
    first, slash, _ = name.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")
