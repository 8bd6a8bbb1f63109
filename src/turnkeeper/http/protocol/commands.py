"""Commands and their answers, as they look on every transport."""

from collections.abc import Awaitable, Callable

import msgspec
import structlog
from starlette.websockets import WebSocketDisconnect

from turnkeeper.codec import encode
from turnkeeper.errors import Invalid, TurnkeeperError
from turnkeeper.http.requests import as_uuid, check, parse
from turnkeeper.services.protocol.commands import Result
from turnkeeper.services.protocol.params import METHODS, Command, Params, RunStart
from turnkeeper.services.protocol.refusals import Refusal, refusal

log = structlog.get_logger()

Perform = Callable[[Params], Awaitable[Result]]


class MalformedError(Exception):
    """What came is no command; `answer` says so to the client."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class _Numbered(msgspec.Struct):
    id: int


def read(content: bytes) -> Command:
    """The command a client sent. Raises `MalformedError`."""
    try:
        check(content)
        return parse(content, Command)
    except TurnkeeperError as error:
        raise MalformedError(_refused(_number(content), refusal(error))) from None


async def answer(command: Command, perform: Perform) -> bytes:
    """Carry out a command and say what came of it. Whatever goes wrong, a client that is there gets its answer."""
    try:
        result = await perform(_params(command))
    except TurnkeeperError as error:
        return _refused(command.id, refusal(error))
    except WebSocketDisconnect:  # while it was told what it had asked for
        raise
    except Exception as error:  # a graph may raise anything when its state is looked at
        log.exception("unexpected error", command=command.method)
        return _refused(command.id, Refusal("unknown_error", f"500: {type(error).__name__}: {error}"))
    said = {"type": "success", "id": command.id, "result": result.result}
    if result.through is not None:
        said["meta"] = {"applied_through_seq": result.through}
    return encode(said)


def failure(error: Refusal) -> bytes:
    """That a stream as a whole has failed, which answers no command."""
    return _refused(None, error)


def _params(command: Command) -> Params:
    """Raises `Refusal` and `Invalid`."""
    kind = METHODS.get(command.method)
    if kind is None:
        raise Refusal("unknown_command", f"Unknown command: '{command.method}'; known are {', '.join(METHODS)}")
    given = bytes(command.params)
    params = parse(b"{}" if given == b"null" else given, kind)
    if isinstance(params, RunStart) and params.run_id is not None:
        return msgspec.structs.replace(params, run_id=as_uuid(params.run_id, "run"))
    return params


def _number(content: bytes) -> int | None:
    """The id of a command that is wrong otherwise, if it has one."""
    try:
        return parse(content, _Numbered).id
    except Invalid:
        return None


def _refused(number: int | None, error: Refusal) -> bytes:
    return encode({"type": "error", "id": number, "error": error.code, "message": str(error)})
