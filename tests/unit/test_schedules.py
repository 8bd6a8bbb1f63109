"""When crons are due: as many fields as there are dialects, time zones, and clocks that are changed."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from turnkeeper.errors import Invalid
from turnkeeper.services.schedules import LONGEST, Schedule, as_date, seconds


def ticks(schedule: str, zone: str | None, after: str, count: int = 3) -> list[str]:
    """The next ticks, each as the clocks there show it."""
    found, moment = [], datetime.fromisoformat(after).timestamp()
    for _ in range(count):
        tick = Schedule(schedule, zone).after(moment)
        assert tick is not None
        found.append(datetime.fromtimestamp(tick, ZoneInfo(zone or "UTC")).strftime("%m-%d %H:%M:%S %z"))
        moment = tick
    return found


@pytest.mark.parametrize(
    ("schedule", "first"),
    [
        ("* * * * *", "01-01 10:31:00"),
        ("*/20 * * * *", "01-01 10:40:00"),
        ("0 9-17 * * MON-FRI", "01-01 11:00:00"),
        ("15 14 1 FEB *", "02-01 14:15:00"),
        ("0 0 L * *", "01-31 00:00:00"),
        ("0 12 * * FRI#2", "01-09 12:00:00"),
        ("* * * * * *", "01-01 10:30:21"),
        ("* * * * * */30", "01-01 10:30:30"),
        ("45 10 * * * 7", "01-01 10:45:07"),
        ("@hourly", "01-01 11:00:00"),
        ("@Daily", "01-02 00:00:00"),
        ("@midnight", "01-02 00:00:00"),
        ("@weekly", "01-04 00:00:00"),
        ("@monthly", "02-01 00:00:00"),
        ("@yearly", "01-01 00:00:00"),
    ],
)
def test_the_next_tick_comes_after_now(schedule: str, first: str) -> None:
    assert ticks(schedule, None, "2026-01-01T10:30:20.5+00:00", 1) == [f"{first} +0000"]


def test_a_schedule_goes_by_the_clocks_of_its_time_zone() -> None:
    assert ticks("0 9 * * *", "America/New_York", "2026-03-07T00:00+00:00") == [
        "03-07 09:00:00 -0500",
        "03-08 09:00:00 -0400",
        "03-09 09:00:00 -0400",
    ]


@pytest.mark.parametrize(("seconds", "shown"), [("", "00"), (" 15", "15")])
def test_a_time_of_day_that_is_skipped_comes_as_soon_as_it_can(seconds: str, shown: str) -> None:
    assert ticks(f"30 2 * * *{seconds}", "Europe/Berlin", "2026-03-28T12:00+00:00", 2) == [
        f"03-29 03:00:{shown} +0200",
        f"03-30 02:30:{shown} +0200",
    ]


@pytest.mark.parametrize(("seconds", "shown"), [("", "00"), (" 15", "15")])
@pytest.mark.parametrize("after", ["2026-10-25T00:30:15+00:00", "2026-10-25T01:10+00:00"])
def test_a_time_of_day_that_comes_twice_counts_once(after: str, seconds: str, shown: str) -> None:
    first = f"10-25 02:30:{shown} +0200"
    assert ticks(f"30 2 * * *{seconds}", "Europe/Berlin", "2026-10-24T12:00+00:00", 1) == [first]
    assert ticks(f"30 2 * * *{seconds}", "Europe/Berlin", after, 1) == [f"10-26 02:30:{shown} +0100"]


@pytest.mark.parametrize(("seconds", "shown"), [("", "00"), (" 15", "15")])
def test_what_comes_every_hour_comes_every_hour(seconds: str, shown: str) -> None:
    assert ticks(f"30 * * * *{seconds}", "Europe/Berlin", "2026-10-25T00:00+00:00") == [
        f"10-25 02:30:{shown} +0200",
        f"10-25 02:30:{shown} +0100",
        f"10-25 03:30:{shown} +0100",
    ]


@pytest.mark.parametrize(
    "schedule",
    ["", " ", "x", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
     "* * * * * 60", "*/0 * * * *", "5-1 * * * *", "H * * * *", "R * * * *", "@reboot", "0 0 30 2 *", "* * * * MOON",
     "٣ * * * *", "* * * * *" + " " * LONGEST],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_what_is_one(schedule: str) -> None:
    with pytest.raises(Invalid, match=r"^schedule: .*five fields.*@daily"):
        Schedule(schedule, None)


@pytest.mark.parametrize(
    "zone", ["", " ", "Mars/Olympus", "America", "../etc/passwd", "/etc/localtime", "é" * 999, "UTC\0"]
)
def test_what_is_no_time_zone_is_refused_with_what_is_one(zone: str) -> None:
    with pytest.raises(Invalid, match=r"(?s)^timezone: .*Europe/Berlin"):
        Schedule("* * * * *", zone)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-01-01T10:00:00+02:00", "2026-01-01T08:00:00.000000+00:00"),
        ("2026-01-01T10:00:00.5Z", "2026-01-01T10:00:00.500000+00:00"),
        ("2026-01-01T10:00:00", "2026-01-01T10:00:00.000000+00:00"),
        ("2026-01-01", "2026-01-01T00:00:00.000000+00:00"),
    ],
)
def test_a_date_is_kept_in_utc(given: str, kept: str) -> None:
    assert as_date(given, "end_time") == kept
    assert seconds(kept) == datetime.fromisoformat(kept).timestamp()


@pytest.mark.parametrize("given", ["", "tomorrow", "2026-13-01", "0001-01-01T00:00:00+14:00", "9" * 999])
def test_what_is_no_date_is_refused(given: str) -> None:
    with pytest.raises(Invalid, match=r"^end_time: .*ISO 8601"):
        as_date(given, "end_time")
