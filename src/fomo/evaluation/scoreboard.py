"""The scoreboard as one tidy table: a line per city, protocol, task, context, forecaster and metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import polars as pl

from fomo.evaluation.protocol import EvaluationError, Scores
from fomo.evaluation.rows import RESAMPLED, SCORES, Row, row
from fomo.files import whole_file

#: What the paper sees: FoMo with users of the whole window and POI, everyone else without.
PAPER = "paper"
#: How a note says that not all windows were answered; tables mark such numbers with a star.
FEWER_WINDOWS = "th window"
#: The note of what nobody has asked for yet.
NOT_YET = "not scored yet"
PAPERS_METRICS = {"short": ("rmse", "mae"), "long": ("rmse", "mae"), "generate": ("jsd", "mae")}


@dataclass(frozen=True)
class Line:
    """One number of the scoreboard. `value` is None where the forecaster cannot do it; `note` says why."""

    city: str
    protocol: str
    task: str
    context: str
    forecaster: str
    kind: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    train_seconds: float | None
    infer_seconds: float | None
    windows: int
    units: int
    leakage: bool
    note: str

    @property
    def comparable(self) -> bool:
        """Whether it answers the windows that the others answer, and did not see them."""
        return not self.leakage and FEWER_WINDOWS not in self.note


def fewer_windows(every: int) -> str:
    """The note of a slow forecaster, which answers each so manieth window of a column."""
    return f"each {every}{FEWER_WINDOWS}"


@dataclass(frozen=True)
class Result:
    """What one forecaster did in one column: its scores, or why there are none."""

    city: str
    protocol: str
    task: str
    context: str
    forecaster: str
    kind: str
    scores: Scores | None
    train_seconds: float | None
    note: str = ""

    @property
    def row(self) -> Row | None:
        """The line of a table with all scores."""
        return None if self.scores is None else row(self.scores)


def lines(results: Sequence[Result]) -> list[Line]:
    """Every metric of every result, and the setting `paper`, which compares FoMo's `full` with the others' `none`.

    Where a city has no context to know, there is no such setting.
    """
    found = [line for result in results for line in _lines(result, result.context)]
    known = {(result.city, result.protocol, result.task) for result in results if result.context == "full"}
    for result in results:
        shown = result.context == ("full" if result.kind == "fomo" else "none")
        if shown and (result.city, result.protocol, result.task) in known:
            found += _lines(result, PAPER)
    return found


def _lines(result: Result, context: str) -> list[Line]:
    made = result.row
    about = (result.city, result.protocol, result.task, context, result.forecaster, result.kind)
    if made is None or result.scores is None or made.rmse is None:
        note = result.note or (made.note if made else "")
        return [Line(*about, "rmse", None, None, None, result.train_seconds, None, 0, 0, False, note)]
    values = asdict(made)
    return [
        Line(
            *about,
            metric,
            values[metric],
            values.get(f"{metric}_low") if metric in RESAMPLED else None,
            values.get(f"{metric}_high") if metric in RESAMPLED else None,
            result.train_seconds,
            made.seconds,
            made.windows,
            made.units,
            made.leakage,
            result.note or made.note,
        )
        for metric in SCORES
        if values[metric] is not None
    ]


def frame(found: Sequence[Line]) -> pl.DataFrame:
    """The lines as a data frame; its types do not depend on what is defined."""
    types = {"str": pl.String, "int": pl.Int64, "bool": pl.Boolean, "float | None": pl.Float64}
    schema = {field.name: types[str(field.type)] for field in fields(Line)}
    return pl.DataFrame([asdict(line) for line in found], schema=schema)


def write_scoreboard(found: Sequence[Line], path: Path) -> Path:
    """CSV or Parquet by the suffix, written whole."""
    with whole_file(path) as fresh:
        if path.suffix == ".csv":
            frame(found).write_csv(fresh, float_precision=6)
        else:
            frame(found).write_parquet(fresh)
    return path


def read_scoreboard(path: Path) -> list[Line]:
    """The lines of a Parquet file that `write_scoreboard` wrote. Raises `EvaluationError`."""
    try:
        return [Line(**each) for each in pl.read_parquet(path).iter_rows(named=True)]
    except (OSError, pl.exceptions.PolarsError, TypeError) as error:
        raise EvaluationError(f"{path} is no scoreboard that can be read: {error}") from error


def with_kept(found: Sequence[Line], before: Sequence[Line]) -> list[Line]:
    """The lines found, and where a forecaster has no number in a column those that it had before.

    Where it had none either, the reason that is found stands, if it is one.
    """

    def place(line: Line) -> tuple[str, ...]:
        return line.city, line.protocol, line.task, line.context, line.forecaster

    kept: dict[tuple[str, ...], list[Line]] = {}
    for line in before:
        kept.setdefault(place(line), []).append(line)
    together: list[Line] = []
    for line in found:
        old = kept.pop(place(line), [line]) if line.value is None else [line]
        known = line.note != NOT_YET and all(each.value is None for each in old)
        together += [line] if known else old
    return together


def markdown(found: Sequence[Line], protocol: str, task: str, context: str, metrics: Sequence[str]) -> str:
    """One of the paper's tables: forecasters down, cities across, the metrics of a cell joined by ' / '.

    Bold is the lowest of its column among those that answer all windows and did not see them; '–' where a forecaster
    cannot; a star where it answers some windows only.
    """
    chosen = [line for line in found if (line.protocol, line.task, line.context) == (protocol, task, context)]
    cities = list(dict.fromkeys(line.city for line in chosen))
    values = {(line.forecaster, line.city, line.metric): line for line in chosen}
    names = dict.fromkeys(line.forecaster for line in sorted(chosen, key=lambda line: line.kind != "fomo"))
    least = {
        (city, metric): min(
            (line.value for line in chosen if line.city == city and line.metric == metric and line.comparable
             and line.value is not None), default=None,
        )
        for city in cities
        for metric in metrics
    }  # fmt: skip

    def cell(name: str, city: str, metric: str) -> str:
        line = values.get((name, city, metric))
        if line is None or line.value is None:
            return "–"
        return _shown(line, least[city, metric])

    table = ["| forecaster | " + " | ".join(cities) + " |", "|---" * (len(cities) + 1) + "|"]
    for name in names:
        cells = [" / ".join(cell(name, city, metric) for metric in metrics) for city in cities]
        if any(text.strip("– /") for text in cells):
            table.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(table) + "\n"


def summary(found: Sequence[Line], protocol: str, context: str) -> str:
    """All tasks and cities of a protocol in one table: RMSE, of generated cells JSD; then what each costs.

    Bold is the lowest of a column, a star a forecaster that answers some windows only. Forecasters without any number
    are named below with the reason, rules left out.
    """
    chosen = [line for line in found if (line.protocol, line.context) == (protocol, context)]
    columns = list(dict.fromkeys((line.task, line.city) for line in chosen))
    scored = {
        (line.forecaster, line.task, line.city): line
        for line in chosen
        if line.value is not None and line.metric == ("jsd" if line.task == "generate" else "rmse")
    }
    least = {
        column: min(
            (line.value or 0.0 for key, line in scored.items() if key[1:] == column and line.comparable), default=None
        )
        for column in columns
    }
    headings = [f"{city} {task}" + (" JSD" if task == "generate" else "") for task, city in columns]
    table = [
        "| forecaster | " + " | ".join([*headings, "training, min", "ms a window"]) + " |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for name in dict.fromkeys(line.forecaster for line in sorted(chosen, key=lambda line: line.kind != "fomo")):
        own = [scored.get((name, *column)) for column in columns]
        known = [line for line in own if line is not None]
        if not known:
            continue
        cells = []
        for column, line in zip(columns, own, strict=True):
            cells.append("–" if line is None else _shown(line, least[column]))
        training = known[0].train_seconds
        asked = [1000 * (line.infer_seconds or 0.0) / line.windows for line in known if line.task != "generate"]
        cells.append("–" if training is None else f"{training / 60:.0f}")
        cells.append(f"{sum(asked) / len(asked):.0f}" if asked else "–")
        table.append(f"| {name} | " + " | ".join(cells) + " |")
    without = _without(chosen, {name for name, *_ in scored})
    return "\n".join(table) + "\n" + (f"\nWithout a number: {without}.\n" if without else "")


def _without(chosen: Sequence[Line], named: set[str]) -> str:
    """Those that are no rules and have no number, each with its reason."""
    reasons: dict[str, str] = {}
    for line in chosen:
        if line.kind != "rule" and line.forecaster not in named:
            reasons.setdefault(line.forecaster, line.note)  # of the first column: forecasts come before what few can do
    return "; ".join(f"{name} ({note or NOT_YET})" for name, note in reasons.items())


def _shown(line: Line, least: float | None) -> str:
    """A number of a table."""
    text = f"{line.value:.4f}" + ("*" if FEWER_WINDOWS in line.note else "")
    return f"**{text}**" if line.comparable and line.value == least else text


def first_place(found: Sequence[Line], metric: str = "rmse") -> list[dict[str, str | float | None]]:
    """FoMo against the best of the others, a row per column: its value over the best deep one's and over the best."""
    rows: list[dict[str, str | float | None]] = []
    columns = dict.fromkeys(
        (line.protocol, line.task, line.context, line.city) for line in found if line.metric == metric
    )
    for protocol, task, context, city in columns:
        here = [
            line
            for line in found
            if (line.protocol, line.task, line.context, line.city, line.metric)
            == (protocol, task, context, city, metric)
            and line.value is not None
            and line.comparable
        ]
        own = next((line.value for line in here if line.kind == "fomo"), None)
        deep = min((line for line in here if line.kind == "deep"), key=lambda line: line.value or 0.0, default=None)
        best = min((line for line in here if line.kind != "fomo"), key=lambda line: line.value or 0.0, default=None)
        rows.append(
            {
                "protocol": protocol, "task": task, "context": context, "city": city, "FoMo": own,
                "best deep": deep.forecaster if deep else None,
                "over best deep": own / deep.value if own and deep and deep.value else None,
                "best other": best.forecaster if best else None,
                "over best other": own / best.value if own and best and best.value else None,
            }
        )  # fmt: skip
    return rows


__all__ = [
    "NOT_YET",
    "PAPER",
    "PAPERS_METRICS",
    "Line",
    "Result",
    "fewer_windows",
    "first_place",
    "frame",
    "lines",
    "markdown",
    "read_scoreboard",
    "summary",
    "with_kept",
    "write_scoreboard",
]
