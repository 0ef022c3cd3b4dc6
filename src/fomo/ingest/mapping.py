"""What an operator's counters mean: a small TOML file, guessed from the counters' names where there is none.

    [time]
    zone = "Europe/Helsinki"   # of times without an offset, and of the city
    marks = "begin"            # or "end": which end of its period a time names, where the form of the file does not say
    [cell]
    pattern = "Cell Name=([^,]+)"   # the cell's name within an object's name; without it, all of that
    names = {BX010_1 = "BO010_1"}   # cells that have another name in the counters, or had: both are one cell
    [traffic]
    unit = "GB"
    counters = {"DRB.PdcpSduVolumeDL" = 1.25e-7}   # summed, each times its factor to the unit
    [users]
    counters = {"pmRrcConnLevSum" = 1.0}
    over = {"pmRrcConnLevSamp" = 1.0}   # divided by the sum of these

`counters.toml` lists what is known of usual counters.
"""

from __future__ import annotations

import json
import re
import tomllib
import zoneinfo
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from fomo.config import Config, ConfigError, load_toml
from fomo.ingest.ledger import IngestError

#: Of traffic whose unit nobody says; bytes in a GB.
UNKNOWN_UNIT, BYTES = "unknown volume", 1e9


class TimeConfig(Config):
    """How times are written."""

    zone: str = ""  # IANA; '' = as written, where all times of a file have one offset or none
    format: str = ""  # strptime's; '' = found from the first value
    marks: Literal["begin", "end"] = "begin"
    minutes: int = Field(0, ge=0, le=1440)  # granularity period where the file does not say; 0 = found

    @field_validator("zone")
    @classmethod
    def _zone_is_known(cls, zone: str) -> str:
        if zone and zone not in zoneinfo.available_timezones():
            raise ValueError(f"unknown time zone {zone!r}: write one like Europe/Helsinki")
        return zone


class CellConfig(Config):
    """How cells are named."""

    pattern: str = ""  # regular expression; its first group is the name
    names: dict[str, str] = Field(default_factory=dict)  # name in the counters -> that of the site list

    @field_validator("pattern")
    @classmethod
    def _pattern_has_a_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        if pattern and groups < 1:
            raise ValueError(f"{pattern!r} has no group: put brackets around the cell's name")
        return pattern

    @field_validator("names")
    @classmethod
    def _names_lead_to_a_cell(cls, names: dict[str, str]) -> dict[str, str]:
        for other, cell in names.items():
            if not other.strip() or not cell.strip():
                raise ValueError(f"{other!r} = {cell!r}: both are names of cells, and neither is empty")
            if cell in names:
                raise ValueError(f"{other!r} is called {cell!r}, which has another name itself: write the last of them")
        return names

    def called(self, cells: Iterable[str]) -> set[str]:
        """Cells by the names of the site list."""
        return {self.names.get(cell, cell) for cell in cells}


class NumberConfig(Config):
    """How numbers are written in text files."""

    decimal: Literal[".", ","] = "."
    missing: tuple[str, ...] = ("", "NIL", "NULL", "NaN", "/0", "-", "n/a")


class Quantity(Config):
    """A sum of counters, each times a factor, perhaps over the sum of others."""

    counters: dict[str, float] = Field(default_factory=dict)
    over: dict[str, float] = Field(default_factory=dict)
    cumulative: bool = False  # counters that only grow: differences of neighbouring periods count, resets are marked


class TrafficConfig(Quantity):
    """The traffic."""

    unit: str = UNKNOWN_UNIT


class ColumnConfig(Config):
    """Columns of tables; '' = found by usual names. Counters are columns of their own names."""

    cell: str = ""
    time: str = ""
    minutes: str = ""  # granularity period, in minutes
    reliability: str = ""  # a text; anything but 'Reliable' or true is suspect


class Mapping(Config):
    """All of it."""

    time: TimeConfig = TimeConfig()
    cell: CellConfig = CellConfig()
    numbers: NumberConfig = NumberConfig()
    columns: ColumnConfig = ColumnConfig()
    traffic: TrafficConfig = TrafficConfig()
    users: Quantity = Quantity()

    @property
    def counters(self) -> frozenset[str]:
        """Names of all counters that are read."""
        parts = (self.traffic.counters, self.traffic.over, self.users.counters, self.users.over)
        return frozenset(name for part in parts for name in part)


@dataclass(frozen=True)
class Known:
    """A counter that `counters.toml` lists."""

    name: str
    quantity: Literal["traffic", "users", "users_over"]
    factor: float  # to the unit, or to users
    note: str
    unit: str = ""


@dataclass(frozen=True)
class Guess:
    """A mapping made from counters' names, and why: one line a counter that was guessed, for people to check."""

    mapping: Mapping
    reasons: tuple[str, ...]


def load_mapping(path: Path) -> Mapping:
    """A mapping file. Raises `ConfigError`."""
    if not path.exists():
        raise ConfigError(f"there is no mapping {path}: 'fomo city mapping' writes one to correct")
    return load_toml(path, Mapping)


@cache
def known_counters() -> tuple[Known, ...]:
    """What is known of usual counters, in the order in which they are preferred: bytes, which become GB, or a unit."""
    text = files("fomo.ingest").joinpath("counters.toml").read_text(encoding="utf-8")
    return tuple(
        Known(
            name,
            entry["quantity"],
            float(entry["factor"]) / (BYTES if entry["quantity"] == "traffic" and "unit" not in entry else 1),
            str(entry.get("note", "")),
            str(entry.get("unit", "GB")) if entry["quantity"] == "traffic" else "",
        )
        for name, entry in tomllib.loads(text).items()
    )


def guess_mapping(names: Iterable[str], base: Mapping | None = None) -> Guess:
    """Traffic and users from the names of the counters that are there; what `base` says already stays.

    Of several counters of a quantity the first of `counters.toml` that is there is taken. Raises `IngestError` where
    no traffic is found, naming what is there.
    """
    base = base or Mapping()
    present = {plain(name): name for name in names}
    reasons: dict[str, str] = {}  # quantity -> which counter, and what it is
    unit = ""  # of the traffic
    found: dict[str, dict[str, float]] = {"traffic": {}, "users": {}, "users_over": {}}
    for known in known_counters():
        there = present.get(plain(known.name))
        if there is None or found[known.quantity]:
            continue
        if known.quantity == "users_over" and not found["users"]:
            continue
        found[known.quantity][there] = known.factor
        unit = unit or known.unit
        reasons[known.quantity] = f"{known.quantity.replace('_', ' ')}: {there} ({known.note})"
    update: dict[str, object] = {}
    guessed: list[str] = []
    if not base.traffic.counters:
        if not found["traffic"]:
            listed = ", ".join(sorted(present.values())[:20]) or "none"
            raise IngestError(
                f"no counter of the traffic is known among {listed}: name it in a mapping file, "
                '[traffic] counters = {"NAME" = factor}'
            )
        said = base.traffic.unit
        if said not in (unit, UNKNOWN_UNIT):
            if unit != UNKNOWN_UNIT:
                name = next(iter(found["traffic"]))
                raise IngestError(
                    f"the traffic is {name}, which comes out in {unit}, and the unit is said to be {said}: leave the "
                    "unit out, or name counters with their factors to it in a mapping file"
                )
            unit = said
        guessed.append("traffic")
        update["traffic"] = base.traffic.model_copy(update={"counters": found["traffic"], "unit": unit})
    if not base.users.counters and found["users"]:
        guessed += ["users", "users_over"]
        update["users"] = base.users.model_copy(update={"counters": found["users"], "over": found["users_over"]})
    return Guess(base.model_copy(update=update), tuple(reasons[name] for name in guessed if name in reasons))


def mapping_text(mapping: Mapping) -> str:
    """The mapping as a file that `load_mapping` reads: what a person corrects."""
    lines = []
    for section, content in mapping.model_dump().items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {_toml(value)}" for key, value in content.items()]
        lines.append("")
    return "\n".join(lines)


def plain(name: str) -> str:
    """A counter's name as it is compared: letters and digits in small."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


__all__ = [
    "ConfigError",
    "Guess",
    "Known",
    "Mapping",
    "Quantity",
    "guess_mapping",
    "known_counters",
    "load_mapping",
    "mapping_text",
    "plain",
]
