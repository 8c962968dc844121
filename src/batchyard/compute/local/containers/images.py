"""Images: found on this machine, or pulled; one pull at a time of each, shared by all who wait for it."""

from __future__ import annotations

from batchyard.compute.local.containers.engine import Engine, EngineError
from batchyard.compute.local.tasks import Promise, Task

MOST_SEEN = 1000
_OF_PODS = {"Always": "always", "IfNotPresent": "missing", "Never": "never"}


class CannotPull(Exception):
    """The image is not to be had; the text is the reason in the words of the ECS agent (aws-batch.md 2.3)."""


class Images:
    """`policy`: "missing" pulls what is not here; "always" pulls at every start and takes what is here if that fails, as the ECS agent does
    by default; "never" takes only what is here."""

    def __init__(self, engine: Engine, policy: str) -> None:
        self._engine = engine
        self._policy = policy
        self._pulls: dict[str, Task[None]] = {}
        self._seen: dict[str, str] = {}  # images that were here when they were last asked for, as the daemon knows them

    async def ready(self, name: str, wanted: str = "", *, is_asked: bool = False) -> str:
        """Wait until an image is here; the name by which the daemon knows it. CannotPull, EngineAway.

        `wanted` is a pod's own imagePullPolicy, which wins. An image that was here before is taken to be here still, which saves a question
        at each start; where the daemon then says otherwise, it is asked for (`is_asked`).
        """
        policy = _OF_PODS.get(wanted, self._policy)
        if policy != "always" and not is_asked and name in self._seen and self._engine.daemon is not None:
            return self._seen[name]
        found = await self._found(name)
        if found and policy != "always":
            return found
        if policy == "never":
            raise CannotPull(f"CannotPullContainerError: Error response from daemon: No such image: {name} (images are never pulled here)")
        try:
            await self._pulled(name)
        except EngineError as error:
            if found:
                return found
            raise CannotPull(f"CannotPullContainerError: Error response from daemon: {error}") from error
        return await self._found(name) or name

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

    async def _pulled(self, name: str) -> None:
        pull = self._pulls.get(name)
        if pull is None:
            pull = self._pulls[name] = Task(self._engine.pull(name))
            pull.then(lambda: self._forget(name))
        waiting: Promise[None] = Promise()
        pull.then(lambda: waiting.keep(None))
        await waiting  # not for the pull itself: whoever is cancelled must not take it from the others
        pull.result()

    def _forget(self, name: str) -> None:
        del self._pulls[name]


def _has_registry(name: str) -> bool:
    first, slash, _ = name.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")
