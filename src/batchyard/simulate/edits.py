"""What operators change in a simulation: queues and environments come, change and go, as the service's own edits do."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from batchyard.compute.catalogue import FARGATE
from batchyard.core.reasons import TIME_LIMIT_REASONS
from batchyard.model.capacity import Environment, Health, Platform, Queue, State, TimeLimit
from batchyard.model.consumable import NON_REPLENISHABLE, Consumable
from batchyard.model.definition import Definition
from batchyard.model.fault import client_fault
from batchyard.model.requests import Catalogue, Edit
from batchyard.simulate import sharing
from batchyard.simulate.scenario import Machine

ACCOUNT, REGION = "000000000000", "sim-east-1"
BATCH = f"arn:aws:batch:{REGION}:{ACCOUNT}"
LICENCE, TOKEN = f"{BATCH}:consumable-resource/licence", f"{BATCH}:consumable-resource/token"
TYPES: tuple[tuple[str, ...], ...] = (("optimal",), ("optimal",), ("m5.large", "m5.xlarge"), ("c5.large",), ("c5.large", "optimal"))


def new_definition(arn: str) -> Edit:
    def act(catalogue: Catalogue) -> None:
        catalogue.put(Definition(arn=arn, name="work", revision=1, account=ACCOUNT, region=REGION, created_at_ms=catalogue.now_ms))

    return Edit(act)


def new_consumables(random: Random) -> Edit:
    """Licences, which come back, and tokens, which do not."""
    licences, tokens = random.randint(1, 4), random.randint(0, 8)

    def act(catalogue: Catalogue) -> None:
        _put_consumables(catalogue, licences, tokens)

    return Edit(act)


def _put_consumables(catalogue: Catalogue, licences: int, tokens: int) -> None:
    licence = Consumable(arn=LICENCE, name="licence", account=ACCOUNT, region=REGION, total=licences, created_at_ms=catalogue.now_ms)
    catalogue.put(licence)
    catalogue.put(replace(licence, arn=TOKEN, name="token", total=tokens, kind=NON_REPLENISHABLE))


def new_environment(name: str, random: Random, machine: Machine) -> Edit:
    """An environment of any kind. What it is like is decided now, not when the engine looks at it."""
    most = random.randint(2, int(machine.vcpus) + 4)
    is_fargate = random.random() < 0.2
    environment = Environment(
        arn=f"{BATCH}:compute-environment/{name}",
        name=name,
        account=ACCOUNT,
        region=REGION,
        uuid=name,
        kind="MANAGED",
        platform=Platform.FARGATE if is_fargate else Platform.EC2,
        spot=random.random() < 0.5,
        min_vcpus=0 if is_fargate else random.choice((0, 0, 0, 1, 2)),
        max_vcpus=most,
        instance_types=(FARGATE,) if is_fargate else random.choice(TYPES),
        in_order=random.random() < 0.2,
        idle_s=random.choice((None, None, 0.0, 60.0)),
        update_policy=random.choice(({}, {"terminateJobsOnUpdate": True}, {"jobExecutionTimeoutMinutes": 1})),
    )

    def act(catalogue: Catalogue) -> None:
        catalogue.put(replace(environment, created_at_ms=catalogue.now_ms))

    return Edit(act)


def new_queue(name: str, random: Random, fair_share: float) -> Edit:
    """A queue over some of the environments that there are then, perhaps with a policy of its own."""
    seed, priority, spill = random.random(), random.randint(1, 3), random.random() < 0.4
    policy = sharing.new_policy(f"{BATCH}:scheduling-policy/{name}", ACCOUNT, REGION, random) if random.random() < fair_share else None
    limits = tuple(TimeLimit(reason, random.randint(20, 90)) for reason in TIME_LIMIT_REASONS) if random.random() < 0.3 else ()

    def act(catalogue: Catalogue) -> None:
        queue = Queue(
            arn=f"{BATCH}:job-queue/{name}",
            name=name,
            account=ACCOUNT,
            region=REGION,
            priority=priority,
            environments=_some(catalogue, Random(seed)),
            spill_idle=spill,
            scheduling_policy=policy.arn if policy else "",
            time_limits=limits,
            created_at_ms=catalogue.now_ms,
        )
        if policy is not None:
            catalogue.put(policy)
        catalogue.put(queue)

    return Edit(act)


def change(random: Random) -> Edit:
    """One of the updates and deletions that the API has."""
    action = random.choice(
        (_toggle, _resize, _resize, _replace_instances, _want, _rewire, _rewire, _stock, _reweigh, _delete_queue, _delete_environment)
    )
    seed = random.random()

    def act(catalogue: Catalogue) -> None:
        action(catalogue, Random(seed))

    return Edit(act)


def make_way() -> Edit:
    """The operator's hand at the end: everything that only somebody's setting keeps from running may run."""

    def act(catalogue: Catalogue) -> None:
        for environment in list(catalogue.environments.values()):
            if environment.health is Health.VALID:
                catalogue.put(replace(environment, state=State.ENABLED, min_vcpus=0, wanted_vcpus=0))
        _put_consumables(catalogue, 1_000_000, 1_000_000)

    return Edit(act)


def _valid(catalogue: Catalogue) -> list[Environment]:
    return sorted((e for e in catalogue.environments.values() if e.health is Health.VALID), key=lambda e: e.arn)


def _queues(catalogue: Catalogue) -> list[Queue]:
    return sorted((q for q in catalogue.queues.values() if q.health is Health.VALID), key=lambda q: q.arn)


def _some(catalogue: Catalogue, random: Random) -> tuple[str, ...]:
    arns = [e.arn for e in _valid(catalogue)]
    if not arns:
        raise client_fault("computeEnvironmentOrder is required: name at least one compute environment.")
    return tuple(random.sample(arns, random.randint(1, min(3, len(arns)))))


def _one(catalogue: Catalogue, random: Random) -> Environment:
    environments = _valid(catalogue)
    if not environments:
        raise client_fault("ComputeEnvironment does not exist")
    return random.choice(environments)


def _toggle(catalogue: Catalogue, random: Random) -> None:
    environment = _one(catalogue, random)
    catalogue.put(replace(environment, state=State.DISABLED if environment.state is State.ENABLED else State.ENABLED))


def _resize(catalogue: Catalogue, random: Random) -> None:
    most = random.randint(1, 12)
    environment = _one(catalogue, random)
    least = 0 if environment.platform is Platform.FARGATE else random.choice((0, 0, min(2, most)))
    catalogue.put(replace(environment, max_vcpus=most, min_vcpus=least))


def _replace_instances(catalogue: Catalogue, random: Random) -> None:
    """An infrastructure update."""
    environment = _one(catalogue, random)
    if environment.platform is Platform.EC2:
        catalogue.put(replace(environment, generation=environment.generation + 1, instance_types=random.choice(TYPES)))


def _want(catalogue: Catalogue, random: Random) -> None:
    environment = _one(catalogue, random)
    if environment.platform is Platform.EC2:
        catalogue.put(replace(environment, wanted_vcpus=random.randint(0, environment.max_vcpus)))


def _rewire(catalogue: Catalogue, random: Random) -> None:
    queues = _queues(catalogue)
    if queues:
        order = _some(catalogue, random)
        spill = random.random() < 0.4
        catalogue.put(replace(random.choice(queues), environments=order, priority=random.randint(1, 3), spill_idle=spill))


def _stock(catalogue: Catalogue, random: Random) -> None:
    """More or less of a resource, perhaps less than is in use."""
    known = sorted(catalogue.consumables.values(), key=lambda c: c.arn)
    if known:
        catalogue.put(replace(random.choice(known), total=random.randint(0, 5)))


def _reweigh(catalogue: Catalogue, random: Random) -> None:
    """Another policy in the place of one. The window stays, so that what was used can be worked out anew."""
    policies = sorted(catalogue.policies.values(), key=lambda p: p.arn)
    if policies:
        old = random.choice(policies)
        catalogue.put(replace(sharing.new_policy(old.arn, ACCOUNT, REGION, random), decay_s=old.decay_s))


def _delete_queue(catalogue: Catalogue, random: Random) -> None:
    queues = _queues(catalogue)
    if len(queues) < 2:
        raise client_fault("Cannot delete, job queue state must be disabled.")
    catalogue.put(replace(random.choice(queues), state=State.DISABLED, health=Health.DELETING))


def _delete_environment(catalogue: Catalogue, random: Random) -> None:
    """As the service does it: not while a queue refers to it, whatever the queue's own state."""
    environments = _valid(catalogue)
    if len(environments) < 2:
        raise client_fault("Cannot delete, resource is being modified.")
    gone = random.choice(environments)
    stay = tuple(e.arn for e in environments if e is not gone)
    for queue in list(catalogue.queues.values()):
        if gone.arn in queue.environments:
            if queue.health is Health.DELETING:
                raise client_fault("Cannot delete, found existing JobQueue relationship.")
            catalogue.put(replace(queue, environments=tuple(arn for arn in queue.environments if arn != gone.arn) or stay[:1]))
    catalogue.put(replace(gone, state=State.DISABLED, health=Health.DELETING))
