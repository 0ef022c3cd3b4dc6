"""Records of tensors: one change to every tensor of a frozen dataclass, whatever lies inside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

Record = TypeVar("Record")


def each_tensor(record: Record, change: Callable[[str, Tensor], Tensor]) -> Record:
    """The record with `change(name, tensor)` in place of every tensor; records inside too, None stays None."""

    def changed(name: str, part: Any) -> Any:
        if part is None:
            return None
        return each_tensor(part, change) if is_dataclass(part) else change(name, part)

    names = [field.name for field in fields(record)]  # type: ignore[arg-type]
    return replace(record, **{name: changed(name, getattr(record, name)) for name in names})  # type: ignore[type-var]


def some_rows(record: Record, index: Tensor | slice) -> Record:
    """The record of some of the windows."""
    return each_tensor(record, lambda _, part: part[index])
