"""Refusals as plain exceptions. They know nothing of HTTP; `http.app` maps each class to a status."""


class TurnkeeperError(Exception):
    """Base of every error this package raises on purpose; `str(error)` is meant for the caller's eyes."""


class NotFound(TurnkeeperError):
    """The thing named does not exist, or the caller may not know that it does."""


class Conflict(TurnkeeperError):
    """The request is well formed but the present state forbids it; nothing was changed."""


class Invalid(TurnkeeperError):
    """The request itself is wrong: a field has a value that is not allowed."""


class Impossible(TurnkeeperError):
    """The request is well formed, but what it asks cannot be done to this thing (say, an unknown node)."""


class TooLarge(TurnkeeperError):
    """The request body is longer than the server takes."""


class TooMany(TurnkeeperError):
    """A limit on what may wait is reached; nothing was changed, and it may be tried again later."""


class Fenced(TurnkeeperError):
    """A write came from an attempt that no longer owns its run; it was discarded (invariant I7)."""


class Unavailable(TurnkeeperError):
    """The database cannot take the write now (disk full, file locked); nothing was changed."""


class WriteLost(TurnkeeperError):
    """A write nobody waited for did not get into the database: what builds on it must not be kept."""


class ConfigError(TurnkeeperError):
    """`langgraph.json`, an environment variable or a graph could not be used.

    Carries where it stands, what is wrong, the nearest right name and how to mend it, so that the
    command line can show one readable screen.
    """

    def __init__(
        self,
        problem: str,
        *,
        where: str | None = None,
        cause: str | None = None,
        nearest: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = where
        self.cause = cause
        self.nearest = nearest
        self.fix = fix
