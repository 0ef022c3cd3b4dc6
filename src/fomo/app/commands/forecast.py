"""`fomo forecast`, `fomo generate`, `fomo fill`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from fomo.app.commands.console import working, wrote
from fomo.app.commands.options import (
    CityFile,
    CityName,
    DaysOff,
    Device,
    Figure,
    ForecastFolder,
    Samples,
    Seed,
    Table,
    Totals,
    Weights,
)

if TYPE_CHECKING:
    from fomo.app.service.forecasting import Answer, ForecastOptions
    from fomo.app.service.outputs import Outputs
    from fomo.city import City


@dataclass(frozen=True, kw_only=True)
class _Ask:
    """What all three ask alike."""

    city: CityName = None
    samples: Samples = 20
    seed: Seed = 0
    weights: Weights = "fomo-tiny"
    device: Device = "auto"
    csv: Table = None
    totals: Totals = None
    figure: Figure = None

    def _open(self, file: Path, out: Path) -> tuple[City, Outputs]:
        with working("reading"):
            from fomo.app.service.cities import choose_city
            from fomo.app.service.outputs import Outputs

            outputs = Outputs(out, self.csv, self.figure, self.totals).check()
            return choose_city(file, self.city), outputs


@dataclass(frozen=True, kw_only=True)
class Forecast(_Ask):
    """The steps after the end of a city, or of several, with their uncertainty.

    Started by torchrun, several processes share cities, districts of large ones, and members; the first process of a
    city joins and writes it.
    """

    files: Annotated[
        tuple[Path, ...],
        Positional,
        arg(metavar="CITY", help="A *.zarr folder that FoMo wrote, or any file of a known form; or several of them."),
    ]
    horizon: Annotated[int, arg(metavar="STEPS", help="Steps to forecast.")] = 16
    history: Annotated[
        int | None,
        arg(
            metavar="STEPS",
            help="Observed steps to look back on, if fewer than the network's window leaves.",
            help_behavior_hint="(default: what it leaves)",
        ),
    ] = None
    no_past_week: bool = False
    """Do not look at what was before the history: the same hours one week before, and hindcasts."""
    no_hindcasts: bool = False
    """Let the network alone answer, not weighed against hindcasts of the city's own past."""
    tails: bool = False
    """Members with the tails that errors have, for `fomo plan --forecast`: what is rare costs most there."""
    context: Literal["none", "past", "full"] = "past"
    """What is used of the city's users, POI and residents: nothing, what is known by now, or assumed users too."""
    assume_users: Annotated[
        float | None,
        arg(
            metavar="FACTOR",
            help="For --context full: users ahead are those of last week times this.",
            help_behavior_hint="(default: none)",
        ),
    ] = None
    days_off: DaysOff = None
    out: ForecastFolder = Path("forecast.zarr")
    out_folder: Annotated[
        Path | None,
        arg(
            metavar="DIR",
            help="Instead of --out, for all cities of the files: DIR/NAME.zarr each. What is there is kept.",
            help_behavior_hint="(default: none)",
        ),
    ] = None

    def run(self) -> int:
        """Forecast and write."""
        from fomo.app.errors import UsageError

        if not self.files:
            raise UsageError("forecast: name the file of a city")
        if self.out_folder is not None:
            return self._all(self.out_folder)
        if len(self.files) > 1:
            raise UsageError(f"{len(self.files)} files of cities: name a folder for the forecasts, --out-folder DIR")
        city, outputs = self._open(self.files[0], self.out)
        with working("forecasting"):
            from fomo.app.service.forecasting import forecast
            from fomo.processes import Place

            answer = forecast(
                city,
                outputs,
                options=self._options(),
                weights=self.weights,
                device=self.device,
                place=Place.of_environment(),
            )
        return _say(answer, self.context)

    def _all(self, folder: Path) -> int:
        """Forecast all cities of the files."""
        from fomo.app.errors import UsageError

        if any(each is not None for each in (self.csv, self.totals, self.figure)):
            raise UsageError("--csv, --totals, --figure: one city at a time, with --out instead of --out-folder")
        with working("forecasting"):
            from fomo.app.service.forecasting_cities import forecast_cities
            from fomo.processes import Place

            answers = forecast_cities(
                self.files,
                self.city,
                folder,
                options=self._options(),
                weights=self.weights,
                device=self.device,
                place=Place.of_environment(),
            )
            for name, answer in answers:
                if answer is None:
                    print(f"{name}: there already, as it is asked")
                else:
                    _say(answer, self.context)
        return 0

    def _options(self) -> ForecastOptions:
        from fomo.app.service.forecasting import ForecastOptions

        return ForecastOptions(
            horizon=self.horizon,
            history=self.history,
            samples=self.samples,
            seed=self.seed,
            past_week=not self.no_past_week,
            context=self.context,
            assume_users=self.assume_users,
            hindcasts=not self.no_hindcasts,
            days_off=self.days_off,
            tails=self.tails,
        )


@dataclass(frozen=True, kw_only=True)
class Generate(_Ask):
    """Traffic for cells without history, from their neighbours and from users, POI and residents."""

    file: CityFile
    area: Annotated[
        str, arg(metavar="Y0:Y1,X0:X1", help="The cells: rows from the south, columns from the west, ends left out.")
    ]
    context: Literal["none", "past", "full"] = "full"
    """What is used of the city's users, POI and residents: nothing, POI and residents, or users too."""
    layers: tuple[Literal["users", "poi", "residents"], ...] = ("users", "poi", "residents")
    """Use only these layers of the context."""
    out: ForecastFolder = Path("generated.zarr")

    def run(self) -> int:
        """Generate and write."""
        city, outputs = self._open(self.file, self.out)
        with working("generating"):
            from fomo.app.service.forecasting import generate, parse_area
            from fomo.processes import Place

            answer = generate(
                city,
                parse_area(self.area, city),
                outputs,
                weights=self.weights,
                samples=self.samples,
                seed=self.seed,
                context=self.context,
                layers=self.layers,
                device=self.device,
                place=Place.of_environment(),
            )
        return _say(answer, self.context)


@dataclass(frozen=True, kw_only=True)
class Fill(_Ask):
    """What was not recorded; recorded values stay as they are."""

    file: CityFile
    context: Literal["none", "past", "full"] = "full"
    """What is used of the city's users, POI and residents: nothing, POI and residents, or users too."""
    out: ForecastFolder = Path("filled.zarr")

    def run(self) -> int:
        """Fill and write."""
        city, outputs = self._open(self.file, self.out)
        with working("filling"):
            from fomo.app.service.forecasting import fill
            from fomo.processes import Place

            answer = fill(
                city,
                outputs,
                weights=self.weights,
                samples=self.samples,
                seed=self.seed,
                context=self.context,
                device=self.device,
                place=Place.of_environment(),
            )
        return _say(answer, self.context)


def _of_its_gaps(attrs: Mapping[str, Any]) -> list[str]:
    """What gaps that were made again said, in a line; none where the network alone was asked."""
    number, blend = attrs.get("hindcasts", 0), str(attrs.get("blend", ""))
    if "own_past" not in blend and not number:
        return []
    again = "1 gap like these was" if number == 1 else f"{number or 'no'} gaps like these were"
    wide = f"members {attrs['width']:.2f} times as wide as the network's"
    return [f"{again} made again where the answer is known; believed: {blend}; {wide}"]


def _of_its_past(attrs: Mapping[str, Any]) -> list[str]:
    """What the past of the city said, in lines."""
    if "own_past" not in attrs:
        return _of_its_gaps(attrs)
    believed = f"believed: {attrs['blend']}"
    said = f"its own past: {attrs['own_past']}"
    wide = f"members {attrs['width']:.2f} times as wide as the network's"
    common = f"{attrs['in_common']:.0%} of their variance common to all cells"
    number = attrs["hindcasts"]
    if not number:
        little = "too little past before the steps looked back on to ask it what is asked now"
        return [little, f"{believed}; {wide}, {common}", said]
    found = "1 hindcast of its past was" if number == 1 else f"{number} hindcasts of its past were"
    found += f" {attrs['hindcast_error']:.1%} off on average" if "hindcast_error" in attrs else " looked at"
    if "hindcast_error_last_week" in attrs:
        found += f", the same hours of the week before {attrs['hindcast_error_last_week']:.1%}"
    return [found, f"{believed}; {wide}, {common}", said]


def _say(answer: Answer, asked_context: str) -> int:
    from fomo.app.service.totals import Totals, all_together
    from fomo.units import SHARES

    if answer.forecast is None:
        print(f"{answer.place}: {answer.drew} in {answer.seconds:.1f} s; {answer.joined_by} joins and writes them")
        return 0
    members, asked = answer.forecast.samples.sizes["sample"], int(answer.forecast.asked.values.sum())
    attrs = answer.forecast.attrs
    print(f"{attrs['city']}: {members} members of {asked:,} values [{attrs['unit']}] in {answer.seconds:.1f} s")
    if attrs["unit"] == SHARES:
        print("1 is full traffic, whatever that is here: nothing is recorded beside what was asked for to take it from")
    if asked:
        print(all_together(answer.forecast, Totals.of(answer.forecast)))
    used, layers = attrs["context"], attrs["context_layers"] or "no layer"
    if "users_known" in attrs:
        from fomo.evaluation.plain_text import share_in_words

        known = share_in_words(attrs["users_known"])
        layers = layers.replace("users", f"users (known at {known} of the asked values)", 1)
    print(f"context {used}: {layers}" + ("" if used == asked_context else f"; less than the {asked_context} asked for"))
    if "tails" in attrs:
        print(f"members with the tails that errors have: {attrs['tails']}")
    if "out_of_service" in attrs:
        print(f"out of service, left out: {attrs['out_of_service']}")
    if "days_off" in attrs:
        print(f"days off in the asked time: {attrs['days_off'] or 'none'}")
    for line in _of_its_past(attrs):
        print(line)
    wrote(answer.written)
    return 0
