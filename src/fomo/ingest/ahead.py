"""Items made in advance: while one is worked on, a thread of its own makes the next."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items and errors in the same order, one made in advance by a thread of its own."""
    end = object()
    with ThreadPoolExecutor(1) as behind:
        following = behind.submit(next, items, end)
        while (item := following.result()) is not end:
            following = behind.submit(next, items, end)
            yield item  # type: ignore[misc]


__all__ = ["ahead"]
