"""Site lists as they are written, to one frame of text: separators, encodings, missing headers, usual column names."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import plain

if TYPE_CHECKING:
    import polars

#: What is read -> usual names of its column, compared by letters and digits in small; the first that is there counts.
USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "cell": (
        *("cell", "cell name", "eutrancell", "eutrancell name", "nrcell", "nrcell name", "nrcelldu", "utrancell"),
        *("local cell name", "sector name", "ncgi", "ecgi", "cgi", "nci", "eci", "ci", "cell id", "sector id"),
        *("sector", "object name", "name"),
    ),
    "lon": ("lon", "longitude", "long", "lng", "x lon", "lon x", "lon wgs84", "longitude wgs84", "lon deg"),
    "lat": ("lat", "latitude", "y lat", "lat y", "lat wgs84", "latitude wgs84", "lat deg"),
    "azimuth": ("azimuth", "azimut", "azi", "azimuth deg", "antenna azimuth", "direction", "dir", "bearing"),
    "range_km": ("range km", "radius km", "cell radius km", "cell range km", "max range km"),
    "range_m": ("range m", "radius m", "cell radius m", "cell range m", "max range m"),
    "range": ("range", "radius", "cell radius", "cell range", "max range"),  # the unit is guessed
    "from": ("from", "valid from", "in service from", "service from", "from date"),
    "to": ("to", "valid to", "in service to", "service to", "to date", "valid until", "until"),
}
#: Columns of OpenCelliD and Mozilla Location Services, in their order; range is in metres.
OPENCELLID = (
    *("radio", "mcc", "net", "area", "cell", "unit", "lon", "lat", "range", "samples"),
    *("changeable", "created", "updated", "averageSignal"),
)
RADIOS = ("GSM", "UMTS", "LTE", "NR", "CDMA", "NBIOT")
SEPARATORS = ";\t,|"
ROW = "row"  # place of a row in its file


def read_site_file(path: Path, columns: Mapping[str, str], ledger: Ledger) -> polars.DataFrame:
    """The columns of `USUAL_NAMES` that the file has, as text with null for empty, and `row` (1 = first of the file).

    `columns`: what is read -> name in the file, for other names than the usual. Raises `IngestError`.
    """
    import polars

    if not path.is_file():
        raise IngestError(f"there is no site list {path}: check the path")
    unknown = sorted(set(columns) - set(USUAL_NAMES))
    if unknown:
        raise IngestError(
            f"--site-columns names {unknown}; it takes {', '.join(USUAL_NAMES)}, each with a column of {path}"
        )
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        try:
            frame = polars.read_parquet(path)
        except (polars.exceptions.PolarsError, OSError) as error:
            raise IngestError(f"{path} is a damaged Parquet file ({_first_line(error)}): fetch it again") from None
        first = 1
    else:
        frame, first = _read_text(path, ledger)
    frame = _name_opencellid(frame) if "cell" not in columns else frame
    found = _find(frame.columns, columns, path)
    return frame.select(
        (polars.int_range(polars.len(), dtype=polars.Int64) + first).alias(ROW),
        *(_as_text(frame[name]).alias(key) for key, name in found.items()),
    ).filter(polars.any_horizontal(polars.col(*found).is_not_null()))  # blank lines are none


def _read_text(path: Path, ledger: Ledger) -> tuple[polars.DataFrame, int]:
    """All columns of a text file as text, and the line of its first row."""
    import polars

    text = _decode(path, ledger)
    line = next(iter(io.StringIO(text)), "").rstrip("\r\n")
    if not line.strip():
        raise IngestError(f"{path} is empty or begins with an empty line: export it again")
    separator = max(SEPARATORS, key=_outside_quotes(line).count)
    if separator not in line:
        raise IngestError(
            f"{path} has one column only, {line[:80]!r}: its columns are told apart by ; , | or a tab, "
            "and at least cell, lon and lat are needed"
        )
    named = not _is_opencellid_row(line)
    try:
        frame = polars.read_csv(text.encode(), separator=separator, infer_schema=False, has_header=named)
    except polars.exceptions.PolarsError as error:
        raise IngestError(_fault(path, text, separator) or f"{path} is no table: {_first_line(error)}") from None
    if not named:
        frame.columns = [*OPENCELLID, *(f"further {index}" for index in range(frame.width))][: frame.width]
    for name in frame.columns:
        broken = frame[name].str.contains("\n", literal=True).fill_null(False)
        if broken.any():
            raise IngestError(
                f"row {(broken.arg_max() or 0) + 1 + named} of {path} runs over several lines in column {name!r}: "
                "a quote is not closed there, or take the line break out"
            )
    return frame, 2 if named else 1


def _decode(path: Path, ledger: Ledger) -> str:
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise IngestError(f"{path} is damaged gzip ({_first_line(error)}): fetch it again") from None
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    if not wide and b"\0" in content[:10_000]:
        raise IngestError(f"{path} is neither text nor Parquet: save the site list as CSV")
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        if wide:
            raise IngestError(f"{path} is damaged UTF-16: save it as UTF-8") from None
        ledger.note("site list is not UTF-8: read as Latin-1, check names with accents", 1, str(path))
        return content.decode("latin-1")


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _is_opencellid_row(line: str) -> bool:
    fields = line.split(",")
    return len(fields) >= 9 and fields[0] in RADIOS and all(field.isdigit() for field in fields[1:5])


def _fault(path: Path, text: str, separator: str) -> str:
    """What is wrong with a table that cannot be read: the first line with too many fields, or a quote left open."""
    width, line = 0, 1
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    try:
        for fields in reader:
            width = width or len(fields)
            if len(fields) > width:
                remedy = "quote decimal commas, or part columns by ;" if separator == "," else "correct that line"
                return f"line {line} of {path} has {len(fields)} fields and the first has {width}: {remedy}"
            line = reader.line_num + 1
    except csv.Error as error:
        return f"line {line} of {path} cannot be read ({error}): close its quote or correct it"
    return ""


def _name_opencellid(frame: polars.DataFrame) -> polars.DataFrame:
    """Rows of OpenCelliD under one name each, mcc-net-area-cell; other frames as they are."""
    import polars

    if not set(OPENCELLID[1:5]) <= set(frame.columns):
        return frame
    parts = [_as_text(frame[name]).alias(name) for name in OPENCELLID[1:5]]
    named = frame.with_columns(polars.concat_str(parts, separator="-").alias("cell"))
    return named.rename({"range": "range_m"}) if "range" in frame.columns else named


def _find(present: Iterable[str], columns: Mapping[str, str], path: Path) -> dict[str, str]:
    """What is read -> name in the file."""
    present = list(present)
    absent = sorted(name for name in columns.values() if name not in present)
    if absent:
        raise IngestError(f"{path} lacks the columns {absent} that --site-columns names; it has {present}")
    called: dict[str, str] = {}
    for name in present:
        called.setdefault(plain(name), name)
    found = dict(columns)
    for key, names in USUAL_NAMES.items():
        there = [called[plain(name)] for name in names if plain(name) in called]
        if key not in found and there and not (key.startswith("range") and any(k.startswith("range") for k in found)):
            found[key] = there[0]
    lacking = [key for key in ("cell", "lon", "lat") if key not in found]
    if lacking:
        raise IngestError(
            f"{path} has no column that is known as {', '.join(lacking)}; it has {present}: "
            f"say which with --site-columns {' '.join(f'{key}=COLUMN' for key in lacking)}"
        )
    return found


def _as_text(column: polars.Series) -> polars.Series:
    """Text without blanks around it; null for empty. Whole numbers of a float column lose their '.0'."""
    import polars

    if column.dtype.is_float() and (column.drop_nulls() == column.drop_nulls().floor()).all():
        column = column.cast(polars.Int64, strict=False)
    try:
        text = column.cast(polars.String, strict=False).str.strip_chars()
    except polars.exceptions.PolarsError:
        raise IngestError(f"column {column.name!r} holds {column.dtype}: write text or numbers") from None
    return text.set(text == "", None)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


__all__ = ["OPENCELLID", "ROW", "USUAL_NAMES", "read_site_file"]
