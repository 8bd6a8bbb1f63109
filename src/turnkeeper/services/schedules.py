"""When a cron is due: schedules, time zones and dates as clients write them, and the tick that comes next.

A schedule has five fields (minute, hour, day of month, month, day of week), or a sixth that is the seconds, or is one
of the well-known names. Where the clocks are changed it goes by the rules of Debian's cron: a fixed time that is
skipped comes as soon as the clocks have jumped, one that comes twice counts once.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from turnkeeper.errors import Invalid
from turnkeeper.types import Cron, timestamp

NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

LONGEST = 255
"""Characters a schedule and the name of a time zone may have."""

_WITH_SECONDS = 6
_ALLOWED = (
    "allowed are five fields (minute, hour, day of month, month, day of week), a sixth for the seconds, "
    f"or one of {', '.join(NAMED)}"
)


class Schedule:
    """A schedule in a time zone."""

    def __init__(self, schedule: str, timezone: str | None) -> None:
        """`timezone` is an IANA name, by default UTC. Raises `Invalid`."""
        self._zone = _zone(timezone)
        self._fields = NAMED.get(schedule.strip().lower(), schedule).split()
        self._check(schedule)

    def after(self, moment: float) -> float | None:
        """The first tick after a moment, in seconds since the epoch; `None` where there is none for decades."""
        local = datetime.fromtimestamp(moment, self._zone)
        found = (tick.timestamp() for tick in self._ticks(local))
        return next((tick for tick in found if tick > moment), None)  # on changed clocks the first may be in the past

    def _check(self, given: str) -> None:
        try:
            if len(given) > LONGEST or len(self._fields) not in (_WITH_SECONDS - 1, _WITH_SECONDS):
                raise CronSimError("Wrong number of fields")  # noqa: TRY301 - told like those of the library
            never = next(self._ticks(datetime(2000, 1, 1, tzinfo=UTC)), None) is None
        except CronSimError as error:
            raise Invalid(f"schedule: '{given[:LONGEST]}' is not allowed ({error}); {_ALLOWED}") from None
        if never:
            raise Invalid(f"schedule: '{given}' never comes; {_ALLOWED}")

    def _ticks(self, local: datetime) -> Iterator[datetime]:
        """All ticks after a moment in the schedule's time zone."""
        expression = " ".join([*self._fields[5:], *self._fields[:5]])  # the library has the seconds first
        fixed = not any(field.startswith("*") for field in self._fields[:2])
        if len(self._fields) < _WITH_SECONDS or not fixed or self._zone is UTC:
            return CronSim(expression, local)
        return (_real(tick, self._zone) for tick in CronSim(expression, local.replace(tzinfo=None)))


def upcoming(cron: Cron, moment: float) -> str | None:
    """A cron's first tick after a moment (seconds since the epoch), if it comes to one. Raises `Invalid`."""
    tick = Schedule(cron.schedule, cron.timezone).after(moment)
    if tick is None or not cron.enabled:
        return None
    date = timestamp(tick)
    return None if cron.end_time is not None and date > cron.end_time else date


def _real(tick: datetime, zone: tzinfo) -> datetime:
    """A time of day as a moment: the first of two, or the next that exists. The library does so for five fields."""
    while (found := tick.replace(tzinfo=zone)) != found.astimezone(UTC).astimezone(zone):
        tick += timedelta(minutes=1)
    return found


def _zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        if not 0 < len(name) <= LONGEST:
            raise ValueError(name)  # noqa: TRY301 - told like those of the library
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # a folder of the database is an OSError
        raise Invalid(
            f"timezone: '{name[:LONGEST]}' is not allowed; allowed are IANA names as Europe/Berlin or UTC"
        ) from None


def as_date(given: str, field: str) -> str:
    """A date of a request in UTC, as it is stored; one that names no time zone is in UTC. Raises `Invalid`."""
    try:
        date = datetime.fromisoformat(given)
        return timestamp((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, OSError):
        raise Invalid(f"{field}: '{given[:LONGEST]}' is not allowed; allowed are dates in ISO 8601") from None


def seconds(stored: str) -> float:
    """A stored date in seconds since the epoch."""
    return datetime.fromisoformat(stored).timestamp()
