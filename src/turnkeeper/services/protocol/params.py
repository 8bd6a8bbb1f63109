"""The commands as clients send them (`langchain_protocol`). Every optional field may also be `null`."""

from typing import Annotated, Any, Literal

import msgspec

from turnkeeper import lifecycle
from turnkeeper.services.protocol.filters import EventsWanted, Namespace
from turnkeeper.services.requests import CommandBody, ConfigBody, JsonObject, Limit, RunCreate, SendBody
from turnkeeper.types import EMPTY, NULL


class Command(msgspec.Struct, frozen=True):
    """What every command looks like from outside."""

    id: Annotated[int, msgspec.Meta(ge=0)]
    method: str
    params: msgspec.Raw = EMPTY


class RunStart(RunCreate, frozen=True):
    """`run.start`: all that a run may be told elsewhere, and the names under which JavaScript says some of it."""

    strategy: lifecycle.Strategy | None = msgspec.field(default=None, name="multitaskStrategy")
    fork_from: str | None = msgspec.field(default=None, name="forkFrom")


class RunCancel(msgspec.Struct, frozen=True):
    """`run.cancel`."""

    run_id: str
    action: lifecycle.CancelAction | None = None


class Answer(msgspec.Struct, frozen=True):
    """One answer to one interrupt. Interrupts have unique ids, so the namespace says nothing more."""

    interrupt_id: str
    response: Any = None
    namespace: Namespace | None = None


class InputRespond(msgspec.Struct, frozen=True):
    """`input.respond`: an answer to one interrupt, or to several at once in `responses`."""

    interrupt_id: str | None = None
    response: Any = None
    namespace: Namespace | None = None
    responses: list[Answer] | None = None
    update: JsonObject | list[tuple[str, Any]] | None = None
    goto: str | SendBody | list[str | SendBody] | None = None
    config: ConfigBody | None = None
    metadata: JsonObject | None = None
    strict_resume: bool | None = None

    def answers(self) -> dict[str, Any]:
        """The answers by interrupt; empty when no interrupt is named."""
        if self.responses:
            return {each.interrupt_id: each.response for each in self.responses}
        return {} if self.interrupt_id is None else {self.interrupt_id: self.response}

    def command(self) -> CommandBody:
        """The run's command."""
        return CommandBody(update=self.update, resume=self.answers(), goto=self.goto)


class InputMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message as it goes into the state."""

    role: Literal["user", "system"]
    content: str
    name: str | None = None


class InputInject(msgspec.Struct, frozen=True):
    """`input.inject`."""

    message: InputMessage
    namespace: Namespace | None = None


class AgentGetTree(msgspec.Struct, frozen=True):
    """`agent.getTree`: of a run, by default the newest."""

    run_id: str | None = None


class StateGet(msgspec.Struct, frozen=True):
    """`state.get`."""

    namespace: Namespace | None = None
    keys: list[str] | None = None


class StateListCheckpoints(msgspec.Struct, frozen=True):
    """`state.listCheckpoints`."""

    namespace: Namespace | None = None
    limit: Limit | None = None
    before: str | None = None


class StateFork(msgspec.Struct, frozen=True):
    """`state.fork`."""

    checkpoint_id: str
    input: msgspec.Raw = NULL
    config: ConfigBody | None = None


class Subscribe(EventsWanted, frozen=True):
    """`subscription.subscribe`."""


class Unsubscribe(msgspec.Struct, frozen=True):
    """`subscription.unsubscribe`."""

    subscription_id: str


class Reconnect(EventsWanted, frozen=True):
    """`subscription.reconnect`: go on hearing of a run after the event a client has seen last."""

    run_id: str = ""
    last_event_id: str | None = None
    subscriptions: list[str] | None = None


Params = (
    RunStart
    | RunCancel
    | InputRespond
    | InputInject
    | AgentGetTree
    | StateGet
    | StateListCheckpoints
    | StateFork
    | Subscribe
    | Unsubscribe
    | Reconnect
)

METHODS: dict[str, type[Params]] = {
    "run.start": RunStart,
    "run.cancel": RunCancel,
    "input.respond": InputRespond,
    "input.inject": InputInject,
    "agent.getTree": AgentGetTree,
    "state.get": StateGet,
    "state.listCheckpoints": StateListCheckpoints,
    "state.fork": StateFork,
    "subscription.subscribe": Subscribe,
    "subscription.unsubscribe": Unsubscribe,
    "subscription.reconnect": Reconnect,
}
