"""Frames of polars and of pandas as tables that are read like files."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fomo.city import CityError

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class Frame:
    """A table in memory, and what messages call it."""

    frame: polars.DataFrame
    called: str

    def __str__(self) -> str:
        """What messages call it."""
        return self.called


Table: TypeAlias = Path | Frame


def table_of(given: Any, called: str) -> Table:
    """A file by its path, or a frame of polars or pandas, which messages call `called`. Raises `CityError`."""
    import polars

    if isinstance(given, str | PathLike):
        return Path(given)
    if isinstance(given, polars.LazyFrame):
        return Frame(given.collect(), called)
    if isinstance(given, polars.DataFrame):
        return Frame(given, called)
    if type(given).__module__.partition(".")[0] == "pandas" and hasattr(given, "columns"):
        return Frame(_from_pandas(given, called), called)
    raise CityError(
        f"{called} is of the type {type(given).__name__}: give the path of a CSV or Parquet file, or a DataFrame of "
        "polars or pandas"
    )


def _from_pandas(frame: Any, called: str) -> polars.DataFrame:
    """Column by column: polars itself needs pyarrow for text, times with a zone and numbers with gaps."""
    import polars

    names = [str(name) for name in frame.columns]
    twice = [name for at, name in enumerate(names) if name in names[:at]]
    if twice:
        raise CityError(f"{called} has two columns {twice[0]!r}: keep one, or rename one")
    return polars.DataFrame([_column(name, frame.iloc[:, at]) for at, name in enumerate(names)])


def _column(name: str, column: Any) -> polars.Series:
    """One column of pandas; what is missing there is null."""
    import polars

    zoned = getattr(column.dtype, "tz", None) is not None
    if zoned:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufM":
        values = column.to_numpy()
        values = values.astype("datetime64[us]") if column.dtype.kind == "M" else values
        made = polars.Series(name, values, nan_to_null=True)
    else:
        known = (None if empty else value for value, empty in zip(column, column.isna(), strict=True))
        made = polars.Series(name, list(known), strict=False)
    return made.dt.replace_time_zone("UTC") if zoned else made


__all__ = ["Frame", "Table", "table_of"]
