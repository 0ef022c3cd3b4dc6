"""Columns of CSV and Parquet files and of frames as polars frames of checked types, or a plain error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fomo.city import EARLIEST, LATEST, CityError
from fomo.sources.archive import first_line, scan, table_columns
from fomo.sources.in_memory import Frame, Table

if TYPE_CHECKING:
    import polars

#: An explicit format parses three times as fast as a guessed one; the first value of a column chooses.
TIME_FORMATS = (
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d",
    "%Y%m%d%H%M",
    "%d.%m.%Y %H:%M",
)
#: Those with an offset or Z, `%#z`: of one instant everywhere.
INSTANT_FORMATS = tuple(form + "%#z" for form in TIME_FORMATS if form.startswith("%Y-%m-%d") and "%H" in form)


def read_columns(path: Table, columns: Mapping[str, str], time_zone: str = "") -> polars.DataFrame:
    """Columns name -> kind ('text', 'number', 'time') of a CSV, TSV or Parquet file or a frame, in that order.

    Numbers become Float64 with null for an empty field; times become Datetime without a zone, taken as local
    wall clock; a column with a zone is converted to the wall clock of `time_zone`, an IANA name. Raises `CityError`
    naming file, column and the first value that does not fit, as a time before 1990 or after 2099 does not.
    """
    import polars

    present = table_columns(path)
    absent = [name for name in columns if name not in present]
    if absent and len(present) == 1 and ";" in next(iter(present)):
        raise CityError(f"columns of {path} are separated by ';', which is not read: write it with commas or as .tsv")
    if absent:
        raise CityError(
            f"{path} lacks the columns {absent}; it has {present}: rename them or pass columns= (--columns)"
        )
    try:
        frame = scan(path).select(*columns).collect()
    except (polars.exceptions.PolarsError, OSError) as error:
        if "utf-8" in str(error).lower():
            raise CityError(f"{path} is not in UTF-8, perhaps in Latin-1: write it anew in UTF-8") from None
        raise CityError(f"{path} is damaged or is no table ({first_line(error)}): fetch it again") from None
    if not frame.height:
        raise CityError(f"{path} has no rows: export it again")
    return frame.with_columns(_convert(frame[name], kind, path, time_zone) for name, kind in columns.items())


def read_renamed(
    path: Table, kinds: Mapping[str, str], renamed: Mapping[str, str], time_zone: str = ""
) -> polars.DataFrame:
    """The same under other names: `kinds` by the names of the result, `renamed` from these to those of the file."""
    called = {name: renamed.get(name, name) for name in kinds}
    for name, other in called.items():
        first = next(each for each in called if called[each] == other)
        if first != name:
            raise CityError(
                f"column {other!r} of {path} would be both {first} and {name}: name another one for one of them, in "
                "columns= (--columns)"
            )
    frame = read_columns(path, {called[name]: kind for name, kind in kinds.items()}, time_zone)
    frame.columns = list(kinds)
    return frame


def _place(path: Table, row: int) -> str:
    """Where a row is found in an editor: the line of a text, whose first is the header."""
    return f"at row {row}" if isinstance(path, Frame) or path.suffix == ".parquet" else f"in line {row + 2}"


def _convert(column: polars.Series, kind: str, path: Table, time_zone: str) -> polars.Series:
    import polars

    if column.dtype.is_nested() or column.dtype == polars.Object:
        raise CityError(f"column {column.name!r} of {path} is {column.dtype}: that is no {kind}; write one value a row")
    if kind == "number":
        converted = column.cast(polars.Float64, strict=False)
    else:
        empty = column.is_null().arg_max()
        if column.null_count() and empty is not None:
            raise CityError(f"column {column.name!r} of {path} is empty {_place(path, empty)}: fill or drop that row")
        converted = column.cast(polars.String) if kind == "text" else _as_time(column, path, time_zone)
    lost = (converted.is_null() & column.is_not_null()).arg_max()
    if converted.null_count() > column.null_count() and lost is not None:
        raise CityError(
            f"column {column.name!r} of {path} is {column[lost]!r} {_place(path, lost)}: "
            f"that is no {kind}; correct it"
            + (", or leave the field empty where nothing was recorded" if kind == "number" else "")
        )
    if kind == "time":
        _check_times(column, converted, path)
    return converted


def _check_times(column: polars.Series, times: polars.Series, path: Table) -> None:
    """Refuse what no counter was read at: `%Y` takes the 24 of 01.02.24 for the year 24."""
    wrong = ~times.is_between(EARLIEST, LATEST, closed="left")
    at = wrong.arg_max()
    if wrong.any() and at is not None:
        raise CityError(
            f"column {column.name!r} of {path} is {str(column[at])!r} {_place(path, at)}: that is no time from "
            "1990 to 2099; write years with four digits, like 2024-01-31T23:45"
        )


def _as_time(column: polars.Series, path: Table, time_zone: str) -> polars.Series:
    import polars

    if column.dtype == polars.String:
        for form in TIME_FORMATS:
            if column.head(1).str.to_datetime(form, strict=False).null_count() == 0:
                return column.str.to_datetime(form, strict=False, time_unit="us")
        for form in INSTANT_FORMATS:
            if _instants(column.head(1), form).null_count() == 0:
                return _on_the_clock(_instants(column, form), path, time_zone, f"have an offset, as in {column[0]!r}")
        raise CityError(
            f"column {column.name!r} of {path} begins with {column[0]!r}: write local wall-clock time "
            "like 2024-01-31T23:45"
        )
    if not (column.dtype == polars.Date or isinstance(column.dtype, polars.Datetime)):
        raise CityError(
            f"column {column.name!r} of {path} is {column.dtype}: write local wall-clock time like 2024-01-31T23:45"
        )
    if isinstance(column.dtype, polars.Datetime) and column.dtype.time_zone:
        column = _on_the_clock(column, path, time_zone, f"are in {column.dtype.time_zone}")
    return column.cast(polars.Datetime("us"))


def _instants(column: polars.Series, form: str) -> polars.Series:
    """Text with an offset or Z as times in UTC; null where it is none."""
    return column.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")


def _on_the_clock(column: polars.Series, path: Table, time_zone: str, told: str) -> polars.Series:
    """Times with a zone on the wall clock of the city. Raises `CityError` where its zone is not known."""
    if not time_zone:
        raise CityError(
            f"column {column.name!r} of {path}: times {told}: "
            "pass the city's time zone, time_zone= (--time-zone), or write local wall clock"
        )
    return column.dt.convert_time_zone(time_zone).dt.replace_time_zone(None)
