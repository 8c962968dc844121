"""The ready jobs of every queue in the order in which they are to start: one lane per queue, with fair share one per share.

Whoever asks for the next job pays for the jobs that are looked at, and never for those that wait behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from batchyard.core.dependencies import bits
from batchyard.core.fairshare import in_turn
from batchyard.engine.lane import Key, Lane
from batchyard.model.capacity import Resources
from batchyard.model.consumable import Wants
from batchyard.model.fairshare import Sharing
from batchyard.model.job import Job, Specification, Status, child_id, split_child
from batchyard.model.view import Passing, Waiting

if TYPE_CHECKING:
    from batchyard.engine.yard import Yard

MOST_COUNTED = 2000


class Lanes:
    """One per yard."""

    def __init__(self, yard: Yard) -> None:
        self._yard = yard
        self._lanes: dict[str, dict[str, Lane]] = {}  # queue -> share ("" where there are none) -> its ready jobs, if it has any
        self._ready_arrays: dict[str, set[str]] = {}  # queue -> arrays in its lanes

    # --- looking ---

    def has_ready(self, queue: str) -> bool:
        return bool(self._lanes.get(queue))

    def ready(self, queue: str, passing: Passing = ()) -> Iterator[Waiting]:
        sharing = self.sharing(queue)
        if sharing is not None:
            return in_turn(sharing, lambda share: self._ready(queue, share, passing), passing)
        return self._ready(queue, "", passing)

    def sharing(self, queue: str) -> Sharing | None:
        policy = self._yard.shares.policy_of(queue)
        if policy is None:
            return None
        lanes = self._lanes.get(queue, {})
        return Sharing(policy, self._yard.shares.standings(queue, {share: lane.first[1] for share, lane in lanes.items() if lane.first}))

    def _ready(self, queue: str, share: str, passing: Passing) -> Iterator[Waiting]:
        lane = self._lanes.get(queue, {}).get(share)
        keys = lane.but_for(lambda sort: any(part in passing for part in sort)) if lane is not None else ()
        for _front, id, child in keys:
            kind = self._yard.resting.asleep.get(id)
            if kind is not None:
                if kind.needs not in passing and kind.consumables not in passing:
                    yield Waiting(id, self._yard.specifications[id], None, 1)
                continue
            spec = self._yard.specifications[id]
            if spec.needs in passing or spec.consumables in passing:
                continue
            if child >= 0:
                yield Waiting(child_id(id, child), spec, None, len(self._yard.jobs[child_id(id, child)].attempts) + 1)
            elif spec.array_size:
                for index in bits(self._yard.arrays[id].ready()):
                    yield Waiting(id, spec, index, 1)
                    if spec.needs in passing or spec.consumables in passing:
                        break
            else:
                yield Waiting(id, spec, None, len(self._yard.jobs[id].attempts) + 1)

    def count(self, queue: str) -> int:
        """Ready jobs of a queue, an array's children counted one by one."""
        lanes = self._lanes.get(queue, {}).values()
        return sum(map(len, lanes)) + sum(self._more_than_one(id) for id in self._ready_arrays.get(queue, ()))

    def position(self, queue: str, job_id: str) -> int | None:
        """The place of a ready job among the ready ones of its queue, from 1; of an array that of its next child. None if it is not
        among them, nor among the first few thousand with fair share."""
        parent, index = split_child(job_id)
        if self._yard.shares.policy_of(queue) is not None:
            return self._position_in_turn(queue, job_id)
        lane = self._lanes.get(queue, {}).get("")
        if lane is None:
            return None
        job = self._yard.jobs.awake.get(job_id)
        own = (0 if job is not None and job.attempts else 1, parent, -1 if index is None else index)
        shared = (1, parent, -1)
        key = own if own in lane else shared
        if key not in lane:
            return None
        before = lane.rank(key) + sum(self._more_than_one(id) for id in self._ready_arrays.get(queue, ()) if (1, id, -1) < key)
        if key is shared and index is not None:
            ready = self._yard.arrays[parent].ready()
            if not ready >> index & 1:
                return None
            before += (ready & ((1 << index) - 1)).bit_count()
        return before + 1

    def _position_in_turn(self, queue: str, job_id: str) -> int | None:
        """With fair share one has to count."""
        for position, waiting in enumerate(islice(self.ready(queue), MOST_COUNTED), 1):
            name = waiting.job_id if waiting.child is None else child_id(waiting.job_id, waiting.child)
            if job_id in (name, waiting.job_id):
                return position
        return None

    def _more_than_one(self, array: str) -> int:
        return self._yard.arrays[array].ready().bit_count() - 1

    def head(self, queue: str, share: str = "") -> Key | None:
        """The first of a queue's ready jobs, or of those of one share."""
        lane = self._lanes.get(queue, {}).get(share)
        return lane.first if lane else None

    # --- keeping ---

    def drop_queue(self, queue: str) -> None:
        self._lanes.pop(queue, None)
        self._ready_arrays.pop(queue, None)

    def fill(self, queue: str, ids: Iterable[str]) -> None:
        """At start: the ready jobs of a queue that rest, in order of their ids."""
        keys: dict[str, list[Key]] = {}
        for id in ids:
            kind = self._yard.resting.asleep[id]
            keys.setdefault(kind.share, []).append((_front(kind, False), id, -1))
        for share, ready in keys.items():
            ready.sort()
            self._lanes.setdefault(queue, {}).setdefault(share, Lane(self._sort_of)).fill(ready)

    def index_array(self, parent: str) -> bool:
        """Put an array into its lane, or take it out, as it has ready children or not; whether it was taken out."""
        spec = self._yard.specifications[parent]
        key = (_front(spec, False), parent, -1)
        arrays = self._ready_arrays.setdefault(spec.queue, set())
        if self._yard.arrays[parent].ready():
            self._line_up(spec, key)
            arrays.add(parent)
            return False
        arrays.discard(parent)
        return self._leave(spec, key)

    def _sort_of(self, key: Key) -> tuple[Resources, Wants]:
        spec = self._yard.resting.asleep.get(key[1]) or self._yard.specifications[key[1]]
        return spec.needs, spec.consumables

    def _line_up(self, spec: Specification, key: Key) -> None:
        lanes = self._lanes.setdefault(spec.queue, {})
        lane = lanes.get(spec.share)
        if lane is None:
            lane = lanes[spec.share] = Lane(self._sort_of)
        lane.add(key)

    def _leave(self, spec: Specification, key: Key) -> bool:
        """Whether the key was in its lane. Lanes without jobs go, so that who looks for the next one does not look at them."""
        lanes = self._lanes.get(spec.queue, {})
        lane = lanes.get(spec.share)
        if lane is None or key not in lane:
            return False
        lane.discard(key)
        if not lane:
            del lanes[spec.share]
        return True

    def index(self, old: Job | None, job: Job, spec: Specification) -> None:
        if job.node is not None:
            return  # nodes are placed with their job
        was = old is not None and old.status is Status.RUNNABLE
        now = job.status is Status.RUNNABLE
        if was and not now:
            assert old is not None
            self._leave(spec, _key(old, spec))
        elif now and not was:
            self._line_up(spec, _key(job, spec))


def _key(job: Job, spec: Specification) -> Key:
    return (_front(spec, bool(job.attempts)), job.spec_id, -1 if job.index is None else job.index)


def _front(spec: Specification, is_retried: bool) -> int:
    """Higher priorities within a share first (without fair share all have 0); of equals those that are tried again."""
    return -2 * spec.priority + (0 if is_retried else 1)
