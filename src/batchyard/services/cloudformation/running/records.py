"""What is remembered of a stack: itself, its resources and what is being done to them. What may be secret is sealed."""

from __future__ import annotations

from typing import Any

import msgspec

from batchyard.services import Caller


class Physical(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A real thing, and what it was made of: `properties` resolved, but for dynamic references, which stand as written."""

    type: str
    physical_id: str = ""
    ref: str = ""
    properties: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    tags: dict[str, str] = {}
    needs: list[str] = []
    deletion_policy: str = "Delete"
    update_replace_policy: str = "Delete"
    is_inert: bool = False
    is_gone: bool = False  # taken away before its replacement could be made
    keeps_former: bool = False  # what stood there before this one is left alone
    creation_policy: dict[str, Any] = {}
    inner_template: str = ""


class Doing(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A step that was begun: what a repeated one needs to be the same. `verb` is create, update, delete."""

    verb: str
    token: str
    wanted: Physical  # of a delete: what goes
    name: str = ""
    undoes: bool = False  # an update back to what was before


class Resource(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A resource of a stack. `before` is what stood there when the operation under way first touched it (None: nothing)."""

    logical_id: str
    type: str
    status: str = ""
    reason: str = ""
    updated_ms: int = 0
    metadata: str = ""
    current: Physical | None = None
    last_id: str = ""  # the physical id of one that is gone
    before: Physical | None = None
    touched_in: str = ""  # the operation that has changed it
    settled_in: str = ""  # the operation that is through with it
    doing: Doing | None = None
    leftovers: list[Physical] = []  # to be taken away at the end of the operation
    drift: dict[str, Any] = {}

    @property
    def physical_id(self) -> str:
        """Of what there is, or was last."""
        return self.current.physical_id if self.current is not None else self.last_id


class Failure(msgspec.Struct, omit_defaults=True):
    """Why an operation turns back: the resources that failed, in order, or a reason of its own (time, the user)."""

    resources: list[str] = []
    reason: str = ""


class Operation(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What is being done to a stack. `phase` is one of `phases.PHASES`."""

    token: str
    phase: str
    client_token: str = ""
    began_ms: int = 0
    deadline_ms: int = 0
    on_failure: str = "ROLLBACK"  # DO_NOTHING, ROLLBACK, DELETE
    template: int = 0  # the number of the template that it leads to
    old_template: int = 0
    parameters: dict[str, str] = {}
    old_parameters: dict[str, str] = {}
    looked_up: dict[str, str] = {}
    old_looked_up: dict[str, str] = {}
    hidden: list[str] = []
    tags: dict[str, str] = {}
    old_tags: dict[str, str] = {}
    retain: list[str] = []
    skip: list[str] = []
    failure: Failure | None = None
    then_delete: bool = False
    deleter: Actor | None = None  # who asked for that: what is deleted, is deleted with their rights
    change_set: str = ""
    policy: str = ""  # the stack policy that holds for this update, where it is another one


class Actor(msgspec.Struct, omit_defaults=True):
    """Whose rights a stack's steps have."""

    account: str
    region: str
    access_key_id: str
    arn: str
    user_id: str
    is_job: bool = False
    session_policy: str = ""

    def caller(self) -> Caller:
        return Caller(
            self.account,
            self.region,
            self.access_key_id,
            self.arn,
            self.user_id,
            "",
            self.is_job,
            self.session_policy,
            via="cloudformation",
        )


class Stack(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A stack. `parameters` are as given and with defaults, before lookups; times are in milliseconds."""

    id: str  # of its ARN, a UUID
    name: str
    arn: str
    status: str
    reason: str = ""
    created_ms: int = 0
    updated_ms: int = 0
    deleted_ms: int = 0
    description: str = ""
    parameters: dict[str, str] = {}
    looked_up: dict[str, str] = {}  # parameter -> the value behind it
    hidden: list[str] = []  # parameters with NoEcho
    tags: dict[str, str] = {}
    capabilities: list[str] = []
    notification_arns: list[str] = []
    disable_rollback: bool = False
    timeout_min: int = 0
    role_arn: str = ""
    is_protected: bool = False
    outputs: list[dict[str, str]] = []
    parent_arn: str = ""
    root_arn: str = ""
    template: int = 0
    templates: int = 0  # how many there have been
    events: int = 0
    last_event_ms: int = 0
    change_set: str = ""
    retain_except_on_create: bool = False
    actor: Actor | None = None
    operation: Operation | None = None
    stuck: Operation | None = None  # one that stopped half-way, and may be gone back from
    policy: str = ""
    drift: dict[str, Any] = {}
    rollback_triggers: dict[str, Any] = {}
