"""Why a command is refused, in the protocol's own words."""

from typing import Literal

from turnkeeper import errors

Code = Literal[
    "invalid_argument", "unknown_command", "unknown_error", "no_such_run", "no_such_subscription",
    "no_such_namespace", "no_such_interrupt", "no_such_checkpoint", "permission_denied", "not_supported",
]  # fmt: skip


class Refusal(errors.TurnkeeperError):
    """A command that is not carried out; nothing was changed."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code


STATUS: dict[type[errors.TurnkeeperError], int] = {
    errors.Impossible: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.Invalid: 422,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}
"""What HTTP would answer with; also the beginning of the message where the protocol has no code of its own."""


def status(error: errors.TurnkeeperError) -> int:
    """The status HTTP has for a refusal."""
    return STATUS.get(type(error), 500)


def refusal(error: errors.TurnkeeperError) -> Refusal:
    """Any refusal of ours as one of the protocol."""
    match error:
        case Refusal():
            return error
        case errors.Invalid() | errors.Impossible():
            return Refusal("invalid_argument", str(error))
        case _:
            return Refusal("unknown_error", f"{status(error)}: {error}")
