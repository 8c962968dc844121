"""What a resource type must promise, and what it is told: the seam between the steps of a stack and the services that they act on.

A step may be carried out twice, since the server may be killed between the act and the note that it was done. So every act must bear
being repeated with the same `Asked`: services on the shelf answer a repeated call of one step by themselves (`Hands.call` numbers the
calls of a step, and a number that was answered is not acted on again); where a service is not on the shelf (Batch, S3, Logs), the name
is chosen beforehand (`Asked.name`) and `Asked.is_repeat` says that what stands there under that name may be this step's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from batchyard.services import Caller

Properties = dict[str, Any]


class Hands(Protocol):
    """How a handler reaches the services: as the one who asked for the stack (or its role), through the same checks as on the wire."""

    @property
    def account(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def partition(self) -> str: ...

    @property
    def caller(self) -> Caller:
        """Whose rights calls have."""
        ...

    @property
    def cancelled(self) -> Callable[[], bool]:
        """Whether somebody else's failure has ended the operation: what only waits should give up."""
        ...

    @property
    def desk(self) -> Any:
        """The server's desk, for what no operation of AWS gives."""
        ...

    async def call(self, service: str, operation: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """An operation's answer, in AWS spelling. `service` is botocore's name. Raises the operation's Fault."""
        ...

    async def until(self, done: Callable[[], Awaitable[Any]], *, patience_s: float, what: str) -> Any:
        """What `done` gives as soon as it is true. Raises Fault("NotStabilized") when that takes longer than `patience_s`."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A resource as a stack wants it. `properties` are resolved, and typed as the published schema has them."""

    stack_id: str
    stack_name: str
    logical_id: str
    type: str
    properties: Properties
    tags: Mapping[str, str] = field(default_factory=dict)  # of the stack; the aws:cloudformation:* ones are in `system_tags`
    system_tags: Mapping[str, str] = field(default_factory=dict)
    name: str = ""  # a physical name for what has none in its properties: STACK-LOGICAL-RANDOM, within the type's `NameRule`
    token: str = ""  # the same when the step is repeated; 32 hexadecimal digits
    is_repeat: bool = False
    is_undoing: bool = False  # the update takes back another one: `properties` are what it was made of before
    inner_template: str = ""  # of a stack within the stack: the text at its TemplateURL when the step was begun
    creation_policy: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """What a create or an update left. `ref` is what Ref gives, the physical id unless it differs; `attributes` what GetAtt gives.

    An update that answers another physical id made a new thing: the one before is taken away when the stack's update is through, and put
    back when that fails. With `keeps_former` it is left alone for good, and no longer the stack's.
    """

    physical_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    ref: str = ""
    keeps_former: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """A resource as it stands: what it was last made of."""

    stack_id: str
    stack_name: str
    logical_id: str
    type: str
    physical_id: str
    properties: Properties
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    token: str = ""
    is_repeat: bool = False


Create = Callable[[Hands, Asked], Awaitable[Made]]
Update = Callable[[Hands, Asked, Kept], Awaitable[Made]]
Delete = Callable[[Hands, Kept], Awaitable[None]]
Read = Callable[[Hands, Kept], Awaitable[Properties | None]]


@dataclass(frozen=True, slots=True)
class NameRule:
    """How a physical name is made where the template gives none: at most `length` characters, in lower case if `is_lower`."""

    property: str  # the property that would name it, such as BucketName
    length: int = 64
    is_lower: bool = False
    separator: str = "-"


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One type. Each act raises a Fault when the service refuses; its message becomes the resource's status reason.

    - `create` makes it and waits until it is usable. When it raises, nothing of it may be left.
    - `update` changes it in place (replacement is a create and a later delete, and not the handler's business).
    - `delete` takes it away and waits until it is gone; one that is gone already is no error.
    - `read` gives its properties as they are now, for drift; None when it is not there. A type without it is not checked for drift.
    - `has_stack_tags`: whether the tags of the stack go onto it (a change of them is an update of it).
    - `replaces`: properties whose change replaces it beside those of the schema; for what the schema leaves to the handler.
    """

    name: str
    create: Create
    update: Update | None
    delete: Delete
    read: Read | None = None
    named: NameRule | None = None
    has_stack_tags: bool = False
    replaces: Callable[[Properties, Properties], frozenset[str]] | None = None
