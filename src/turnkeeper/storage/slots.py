"""Limits of concurrency keys as rows."""

from turnkeeper.types import Limits


def rows(limits: Limits) -> list[tuple[str, int]]:
    """Key and limit, sorted. The empty key, which no run can have, stands for all that are not named."""
    each = [] if limits.each is None else [("", limits.each)]
    return each + sorted(limits.named.items())
