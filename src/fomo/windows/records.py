"""Records of tensors: one change to every tensor of a frozen dataclass, whatever lies inside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

Record = TypeVar("Record")

#: Fields of a batch, its context and its observation that have no cells.
WITHOUT_GRID = frozenset(
    (
        *("start_hour", "step_hours", "cell_km", "shapes", "noise", "anything"),
        *("rate", "rate_within", "rate_between", "answer"),
        *("users_shapes", "users_noise", "users_family", "rate_shapes", "rate_noise"),
    )
)


def each_tensor(record: Record, change: Callable[[str, Tensor], Tensor]) -> Record:
    """The record with `change(name, tensor)` in place of every tensor; records inside too, None stays None."""

    def changed(name: str, part: Any) -> Any:
        if part is None:
            return None
        return each_tensor(part, change) if is_dataclass(part) else change(name, part)

    names = [field.name for field in fields(record)]  # type: ignore[arg-type]
    return replace(record, **{name: changed(name, getattr(record, name)) for name in names})  # type: ignore[type-var]


def each_pair(record: Record, other: Record, change: Callable[[str, Tensor, Tensor], Tensor]) -> Record:
    """The record with `change(name, tensor, that of the other)` in place of every tensor; both have the same ones."""
    theirs: list[Tensor] = []

    def listed(_: str, part: Tensor) -> Tensor:
        theirs.append(part)
        return part

    each_tensor(other, listed)
    following = iter(theirs)
    return each_tensor(record, lambda name, part: change(name, part, next(following)))


def some_rows(record: Record, index: Tensor | slice) -> Record:
    """The record of some of the windows."""
    return each_tensor(record, lambda _, part: part[index])
