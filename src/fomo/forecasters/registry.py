"""Every forecaster of the scoreboard: what it is, what it can do, what it is trained on. Nothing heavy is imported.

One line each; `Entry.load` imports the class when it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from fomo.windows.task import ContextMode

Kind = Literal["rule", "statistical", "deep", "foundation", "fomo"]
TaskName = Literal["short", "long", "generate"]

FORECASTS: tuple[TaskName, ...] = ("short", "long")
ALL: tuple[TaskName, ...] = ("short", "long", "generate")
#: What a forecaster's parameters have seen, in words, as `fomo evaluate --list` prints it.
NOTHING = "nothing: the window alone"
PAST = "nothing: the known past"
SAME_WINDOWS = "windows of FoMo's training cities"
ELSEWHERE = "others' data, none of ours"


@dataclass(frozen=True)
class Entry:
    """A forecaster: its name in the tables, and the class that answers."""

    name: str
    kind: Kind
    tasks: tuple[TaskName, ...]
    where: str  # module:class, below fomo.forecasters
    arguments: tuple[Any, ...] = ()
    reads: tuple[str, ...] = ()  # layers of context
    needs: tuple[str, ...] = ()  # what a window must have for it: "last week", "users", "poi", "residents"
    trained_on: str = NOTHING
    remark: str = ""

    def load(self, **size: int) -> Any:
        """An instance: a forecaster, or the network that becomes one when it is trained (kind `deep`).

        `size`: arguments of such a network, where it is to be another one than usual.
        """
        module, name = self.where.split(":")
        return getattr(import_module(f"fomo.forecasters.{module}"), name)(*self.arguments, **size)

    def cannot(self, task: TaskName, context: ContextMode, past_week: bool) -> str:
        """Why it is not asked; empty where it is."""
        if task not in self.tasks:
            return "cannot generate cells without history" if task == "generate" else "only generates"
        if "last week" in self.needs and not past_week:
            return "needs the past week"
        if "users" in self.needs and context != "full":
            return "needs the users of the asked hours"
        if {"poi", "residents"} & set(self.needs) and context == "none":
            return "needs POI or residents"
        return ""


def _rule(name: str, where: str, tasks: tuple[TaskName, ...] = FORECASTS, **more: Any) -> Entry:
    return Entry(name, "rule", tasks, where if ":" in where else f"rules:{where}", **more)


def _deep(name: str, where: str, tasks: tuple[TaskName, ...] = ALL, remark: str = "") -> Entry:
    layers = ("users", "poi", "residents")
    return Entry(name, "deep", tasks, f"rivals.{where}", reads=layers, trained_on=SAME_WINDOWS, remark=remark)


#: The order of the tables: FoMo, the paper's thirteen, today's systems, simple rules.
ENTRIES: tuple[Entry, ...] = (
    Entry(
        "FoMo", "fomo", ALL, "fomo:load", reads=("users", "poi", "residents"), trained_on="the training part"
    ),
    _rule("history mean", "HistoryMean", remark="HA of the paper"),
    Entry("ARIMA", "statistical", FORECASTS, "rivals.arima:ARIMA", reads=("users",)),
    _deep("SpectraGAN", "spectragan:SpectraGAN"),
    _deep("keGAN", "kegan:KeGAN"),
    _deep("ADAPTIVE", "adaptive:Adaptive"),
    _deep("CSDI", "csdi:CSDI"),
    _deep("KG-Diff", "kg_diff:KGDiff"),
    _deep("Time-LLM", "time_llm:TimeLLM", remark="language weights: FOMO_LANGUAGE_MODEL"),
    _deep("TEMPO", "tempo:Tempo", remark="language weights: FOMO_LANGUAGE_MODEL"),
    _deep("PatchTST", "patchtst:PatchTST"),
    _deep("TimeGPT", "time_gpt:TimeGPT", remark="as the paper describes it"),
    _deep("Lag-Llama", "lag_llama:LagLlama"),
    _deep("UniST", "unist:UniST"),
    Entry(
        "TabPFN-TS", "foundation", FORECASTS, "rivals.tabpfn_ts:TabPFNTS", reads=("users",), trained_on=ELSEWHERE,
        remark="weights: FOMO_TABPFN",
    ),
    Entry(
        "Chronos-2", "foundation", FORECASTS, "rivals.chronos:Chronos2", reads=("users",), trained_on=ELSEWHERE,
        remark="weights: FOMO_CHRONOS",
    ),
    Entry(
        "TiRex", "foundation", FORECASTS, "rivals.tirex:TiRex", trained_on=ELSEWHERE,
        remark="weights: FOMO_TIREX",
    ),
    Entry(
        "TimesFM", "foundation", FORECASTS, "rivals.timesfm:TimesFM", trained_on=ELSEWHERE,
        remark="weights: FOMO_TIMESFM",
    ),
    _rule("persistence", "Persistence"),
    _rule("seasonal average", "SeasonalAverage"),
    _rule("same hour last week", "SameHourLastWeek", needs=("last week",)),
    _rule("same time on earlier days", "earlier_days:SameTimeOnEarlierDays", needs=("last week",), trained_on=PAST),
    _rule("traffic per user", "TrafficPerUser", reads=("users",), needs=("users",)),
    _rule(
        "traffic per user at that time", "earlier_days:TrafficPerUserAtThatTime", reads=("users",),
        needs=("last week", "users"), trained_on=PAST,
    ),
    _rule("mean of the other cells", "NeighbourMean", ("generate",)),
    _rule(
        "traffic per user of the other cells", "NeighbourTrafficPerUser", ("generate",), reads=("users",),
        needs=("users",),
    ),
    _rule(
        "proportional to POI", "Proportional", ("generate",), arguments=("poi",), reads=("poi",), needs=("poi",)
    ),
    _rule(
        "proportional to residents", "Proportional", ("generate",), arguments=("residents",), reads=("residents",),
        needs=("residents",),
    ),
)  # fmt: skip


class UnknownForecaster(ValueError):
    """A name that is not in the list."""


def find_entries(names: Sequence[str] = ()) -> list[Entry]:
    """Those of these names, in the order of the tables; all without names. Raises `UnknownForecaster`."""
    known = {entry.name.lower(): entry for entry in ENTRIES}
    wrong = [name for name in names if name.lower() not in known]
    if wrong:
        raise UnknownForecaster(
            f"there is no forecaster {', '.join(map(repr, wrong))}; there are: "
            f"{', '.join(entry.name for entry in ENTRIES)}"
        )
    wanted = {name.lower() for name in names} or set(known)
    return [entry for entry in ENTRIES if entry.name.lower() in wanted]


__all__ = ["ENTRIES", "Entry", "Kind", "TaskName", "UnknownForecaster", "find_entries"]
