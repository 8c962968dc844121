"""A provider for tests: it records what it is asked, and reports what the test tells it to have happened.

It keeps the promises of `provider.Provider` (nothing begun twice, ends kept until acknowledged, older epochs refused), so that the
engine meets the same behaviour as with a real one; a script only decides when things happen and how they end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batchyard.compute.provider import Deliver
from batchyard.model.messages import (
    AttemptEnded,
    AttemptStarted,
    Effect,
    InstanceGone,
    InstanceUp,
    Launch,
    NoticeInstance,
    ProviderBack,
    Report,
    ScratchSeen,
    StartInstance,
    StopAttempt,
    StopInstance,
)
from batchyard.model.task import ContainerEnd

DEFAULT_SCRATCH_MIB = 100 * 1024


class ScriptedProvider:
    """Records effects in `asked`; the test calls `bring_up`, `begin`, `end`, `refuse`, `lose_instance` and `die`.

    With `automatic`, instances come up at once, attempts begin at once, and a StopAttempt ends them with 143: then a test only says
    how attempts end.
    """

    def __init__(self, now_ms: Callable[[], int], *, name: str = "local", automatic: bool = False) -> None:
        self.name = name
        self.automatic = automatic
        self.asked: list[Effect] = []
        self.acknowledged: list[str] = []
        self.begun: list[str] = []  # one entry per start
        self.launches: dict[str, Launch] = {}  # taken and not ended
        self.wanted: dict[str, StartInstance] = {}  # instances asked for and not up
        self.instances: set[str] = set()
        self.outcomes: dict[str, AttemptEnded] = {}  # ended, not acknowledged
        self.notices: dict[str, int] = {}
        self.refused_epochs: list[int] = []
        self._started_at_ms: dict[str, int] = {}
        self._now_ms = now_ms
        self._deliver: Deliver | None = None
        self._epoch = 0
        self._generation = 0

    # --- what a provider does ---

    async def start(self, deliver: Deliver, epoch: int) -> None:
        """Connect; nothing is ever delivered to a lease that is older than one before."""
        if epoch < self._epoch:
            self.refused_epochs.append(epoch)
            return
        self._epoch, self._deliver = epoch, deliver
        self.announce()

    def carry_out(self, effects: Sequence[Effect]) -> None:
        if self._deliver is None:
            return
        for effect in effects:
            self.asked.append(effect)
            self._carry_out(effect)

    def acknowledge(self, attempts: Sequence[str]) -> None:
        if self._deliver is None:
            return
        self.acknowledged.extend(attempts)
        for attempt in attempts:
            self.outcomes.pop(attempt, None)

    def announce(self) -> None:
        held = (*self.launches, *self.outcomes)
        back = ProviderBack(self.name, f"{self.name}-{self._generation}", tuple(sorted(self.instances)), held, self._now_ms())
        up = [InstanceUp(instance, self._now_ms()) for instance in sorted(self.instances)]
        started = [AttemptStarted(attempt, at_ms) for attempt, at_ms in self._started_at_ms.items() if attempt in self.launches]
        self._report(back, self._scratch_now(), *up, *started, *self.outcomes.values())

    async def close(self) -> None:
        self._deliver = None

    # --- what the test says ---

    def bring_up(self, instance: str) -> None:
        """An instance that was asked for is there."""
        if self.wanted.pop(instance, None) is not None:
            self.instances.add(instance)
        self._report(InstanceUp(instance, self._now_ms()))

    def begin(self, attempt: str) -> None:
        """An attempt that was launched runs."""
        if attempt in self.launches and attempt not in self._started_at_ms:
            self.begun.append(attempt)
            at_ms = self._started_at_ms[attempt] = self._now_ms()
            self._report(AttemptStarted(attempt, at_ms))

    def end(
        self,
        attempt: str,
        exit_code: int | None = 0,
        *,
        cause: str = "exited",
        oom: bool = False,
        containers: tuple[ContainerEnd, ...] = (),
    ) -> None:
        """An attempt is over; of a task of several containers `containers` says what came of each."""
        started_at_ms = self._started_at_ms.get(attempt)
        self._over(AttemptEnded(attempt, self._now_ms(), cause, exit_code, oom, started_at_ms=started_at_ms, containers=containers))

    def refuse(self, attempt: str, reason: str) -> None:
        """An attempt cannot be started."""
        self._over(AttemptEnded(attempt, self._now_ms(), "not-started", reason=reason))

    def lose_instance(self, instance: str) -> None:
        """An instance dies with all on it."""
        for attempt in [attempt for attempt, launch in self.launches.items() if launch.instance == instance]:
            self.end(attempt, None, cause="lost")
        self.instances.discard(instance)
        self.wanted.pop(instance, None)
        self._report(InstanceGone(instance, self._now_ms()))

    def die(self) -> None:
        """The provider's process is replaced by a new one, which holds no instances and has lost what ran."""
        self._generation += 1
        self.instances.clear()
        self.wanted.clear()
        lost = list(self.launches)
        deliver, self._deliver = self._deliver, None
        for attempt in lost:
            self.end(attempt, None, cause="lost")
        self._deliver = deliver
        self.announce()

    def took(self) -> list[Effect]:
        """What was asked since the last call, and nothing else."""
        asked, self.asked = self.asked, []
        return asked

    # --- inside ---

    def _scratch_now(self) -> ScratchSeen:
        return ScratchSeen(self.name, True, "", DEFAULT_SCRATCH_MIB, 0, self._now_ms())

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case StartInstance(instance):
                if instance.id not in self.instances:
                    self.wanted[instance.id] = effect
                if self.automatic or instance.id in self.instances:
                    self.bring_up(instance.id)
            case StopInstance(instance_id):
                self.lose_instance(instance_id)
            case NoticeInstance(instance_id, reclaim_at_ms):
                self.notices[instance_id] = reclaim_at_ms
            case Launch():
                self._launch(effect)
            case StopAttempt(attempt):
                if attempt in self.outcomes:
                    self._report(self.outcomes[attempt])
                elif attempt not in self._started_at_ms or attempt not in self.launches:
                    self.end(attempt, None, cause="stopped")
                elif self.automatic:
                    self.end(attempt, 143, cause="stopped")

    def _launch(self, launch: Launch) -> None:
        if launch.attempt in self.outcomes:
            self._report(self.outcomes[launch.attempt])
        elif launch.attempt in self.launches:
            if launch.attempt in self._started_at_ms:
                self._report(AttemptStarted(launch.attempt, self._started_at_ms[launch.attempt]))
        elif launch.instance not in self.instances:
            self.end(launch.attempt, None, cause="lost")
        else:
            self.launches[launch.attempt] = launch
            if self.automatic:
                self.begin(launch.attempt)

    def _over(self, ended: AttemptEnded) -> None:
        self.launches.pop(ended.attempt, None)
        self._started_at_ms.pop(ended.attempt, None)
        self.outcomes[ended.attempt] = ended
        self._report(ended)

    def _report(self, *reports: Report) -> None:
        if self._deliver is not None:
            self._deliver(reports)
