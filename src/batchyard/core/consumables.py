"""What is left of consumable resources during one cycle, and who may have it.

All that a job wants of them is taken together, when it is placed (user guide, "Resource-aware scheduling"). A job that lacks some does
not block those behind it, but it does not lose its turn either: what it lacks is kept for it, so that nobody who comes after it
takes the next unit away. A job that wants more than there is in all keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from batchyard.model.consumable import REPLENISHABLE, Consumable, Wants
from batchyard.model.view import Reason


class StockView(Protocol):
    """What of the yard is looked at."""

    @property
    def consumables(self) -> Mapping[str, Consumable]: ...

    def in_use(self, resource: str) -> int:
        """How much of a resource the attempts hold."""
        ...


def available(view: StockView, resource: str) -> int:
    """What of a resource a job could have now; 0 for one that does not exist. Never below 0, also after the total was lowered."""
    known = view.consumables.get(resource)
    if known is None:
        return 0
    return max(0, known.total - (view.in_use(resource) if known.kind == REPLENISHABLE else 0))


class Stock:
    """One cycle's view: `take` in the order in which jobs come."""

    def __init__(self, view: StockView) -> None:
        self._view = view
        self._left: dict[str, int] = {}
        self._kept: set[str] = set()  # resources that an earlier job waits for

    def take(self, wants: Wants) -> bool:
        """Take all that a job wants, or nothing; what is short is kept for this job from now on."""
        if not self.offers(wants):
            self._keep(wants)
            return False
        for resource, quantity in wants:
            self._left[resource] = self._amount(resource) - quantity
        return True

    def give_back(self, wants: Wants) -> None:
        """The job that took it will not run in this cycle, nor wait for room."""
        for resource, quantity in wants:
            self._left[resource] += quantity

    def offers(self, wants: Wants) -> bool:
        """Whether all that a job wants is there."""
        return all(resource not in self._kept and self._amount(resource) >= quantity for resource, quantity in wants)

    def _keep(self, wants: Wants) -> None:
        if all((known := self._view.consumables.get(r)) is not None and known.total >= quantity for r, quantity in wants):
            self._kept.update(resource for resource, quantity in wants if self._amount(resource) < quantity)

    def _amount(self, resource: str) -> int:
        left = self._left.get(resource)
        return available(self._view, resource) if left is None else left


def reasons(view: StockView, wants: Wants) -> Iterator[Reason]:
    """What is short of each resource of which a job could not have enough now, and the fix; in the place of an environment stands the
    resource's name."""
    for arn, quantity in wants:
        name, known = arn.rpartition("/")[2], view.consumables.get(arn)
        if known is None:
            yield Reason(name, "it does not exist", "create it: CreateConsumableResource")
        elif known.total < quantity:
            fix = f"raise its total to {quantity} or more: UpdateConsumableResource"
            yield Reason(name, f"the job needs {quantity} and there are {known.total} in all", fix)
        elif (free := available(view, arn)) < quantity:
            yield Reason(name, f"the job needs {quantity} and {free} of {known.total} are free", "wait for a job that holds some to end")
