"""`fomo plan sleep | prb | deploy`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg, subcommand

from fomo.app.commands.console import plain_table, show, working, wrote
from fomo.app.commands.options import DataFolder, Device, Weights

if TYPE_CHECKING:
    from fomo.app.service.planning.ahead import Ahead
    from fomo.app.service.planning.run import Compared, Request

#: What only plans that are judged ask: a saved forecast has its own.
OF_JUDGED = ("city", "data", "weights", "samples", "seeds", "json", "rival", "fits", "context", "origins",
             "no_sensitivity", "signal_to_noise", "area")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Ask:
    """What all plans ask alike."""

    city: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="Judge plans on a family of the data folder, or one region: family/region.",
            help_behavior_hint="(this, or --forecast)",
        ),
    ] = None
    data: DataFolder = None
    weights: Weights = "fomo-tiny"
    samples: Annotated[int, arg(metavar="N", help="Members of every forecast.")] = 24
    seeds: Annotated[int, arg(metavar="N", help="How often everything that is drawn is drawn again.")] = 3
    out: Annotated[
        Path | None,
        arg(
            metavar="DIR", help="Where plan, tables, pictures and page go.", help_behavior_hint="(default: output/...)"
        ),
    ] = None
    json: Annotated[
        Path | None,
        arg(metavar="FILE", help="Also one row per strategy (.json).", help_behavior_hint="(default: none)"),
    ] = None
    device: Device = "auto"

    def _say(self, found: Compared, request: Request, parameters: Sequence[tuple[str, object, str, str]]) -> int:
        from fomo.app.service.planning.writing import strategy_rows, summary, write_json, write_plan

        out = self.out or Path("output") / f"plan-{found.application}-{found.city.replace('/', '-')}"
        written = write_plan(found, request, parameters, out)
        rows = strategy_rows(found)
        if self.json is not None:
            written.append(write_json(rows, self.json))
        metrics = list(dict.fromkeys(row.metric for row in found.rows))
        lines = [
            (row["strategy"], row["forecaster"], *(_number(row, metric.replace(" ", "_")) for metric in metrics))
            for row in rows
        ]
        show(plain_table(("strategy", "by", *metrics), lines, right=metrics))
        for line in (*summary(found), *found.remarks):
            print(line)
        wrote(written)
        return 0

    def _named(self) -> str:
        from fomo.app.errors import UsageError

        if self.city is None:
            raise UsageError("--city NAME: say on which city of the data folder plans are judged")
        return self.city

    def _say_ahead(self, found: Ahead, parameters: list[tuple[str, object, str, str]]) -> int:
        """Write and say the plan of a saved forecast."""
        from fomo.app.service.planning.ahead import write_ahead

        name = found.city.replace("/", "-")
        with working("writing"):
            written = write_ahead(found, parameters, self.out or Path("output") / f"plan-{found.application}-{name}")
        for line in (*found.summary, *found.remarks):
            print(line)
        wrote(written)
        return 0

    def _alone(self) -> None:
        """Refuse what a saved forecast cannot heed."""
        from fomo.app.errors import UsageError

        given = [
            f"--{field.name.replace('_', '-')}"
            for field in fields(self)
            if field.name in OF_JUDGED and getattr(self, field.name) != field.default
        ]
        if given:
            raise UsageError(
                f"--forecast DIR goes without {', '.join(given)}: a saved forecast is planned on as it is, and is not "
                "judged against what happened"
            )

    def _check(self) -> None:
        """Refuse paths before the work begins."""
        from fomo.app.service.planning.places import check_plans

        check_plans(self.out, self.json)


@dataclass(frozen=True, kw_only=True)
class _Forecast(_Ask):
    """What plans from forecasts ask beside that."""

    rival: Annotated[str, arg(metavar="NAME", help="Who else forecasts, of 'fomo evaluate --list'.")] = "Lag-Llama"
    fits: Annotated[
        Path | None,
        arg(
            metavar="DIR",
            help="Where 'fomo scoreboard' keeps trained rivals.",
            help_behavior_hint="(default: the trained Lag-Llama that comes with FoMo)",
        ),
    ] = None
    context: Literal["none", "past", "full"] = "past"
    """What of users, POI and residents is known: nothing, what is known before the asked steps, users of them too."""
    origins: Annotated[
        int | None,
        arg(metavar="N", help="Start times per region, at most.", help_behavior_hint="(default: all of the test part)"),
    ] = None
    no_sensitivity: bool = False
    """Leave out biased forecasts and failed sites."""
    forecast: Annotated[
        Path | None,
        arg(
            metavar="DIR",
            help="Plan the periods of a forecast of 'fomo forecast', instead of judging plans.",
            help_behavior_hint="(default: none)",
        ),
    ] = None
    history: Annotated[
        Path | None,
        arg(
            metavar="CITY",
            help="For --forecast: the city that it is of, *.zarr; its busy hours say what its hardware carries.",
            help_behavior_hint="(default: none)",
        ),
    ] = None

    def _request(self) -> Request:
        from fomo.app.service.forecasting import choose_device
        from fomo.app.service.planning.run import Request
        from fomo.app.service.planning.strategies import SHIPPED_FITS

        self._check()
        return Request(
            city=self._named(), data=self.data, weights=self.weights, rival=self.rival, fits=self.fits or SHIPPED_FITS,
            context=self.context, samples=self.samples, seeds=tuple(range(self.seeds)), most=self.origins,
            device=choose_device(self.device), sensitivity=not self.no_sensitivity,
        )  # fmt: skip

    def _ahead(self, plan: Callable[..., Ahead], setting: object, said: list[tuple[str, object, str, str]]) -> int:
        """The plan of a saved forecast."""
        from fomo.app.errors import UsageError
        from fomo.app.service.planning.ahead import plan_saved

        if self.forecast is None or self.history is None:
            raise UsageError("--forecast DIR goes with --history CITY, the city that it is of")
        self._alone()
        self._check()
        with working("planning"):
            found = plan_saved(plan, setting, self.forecast, self.history)
        return self._say_ahead(found, said)


@dataclass(frozen=True, kw_only=True)
class Sleep(_Forecast):
    """Which radio units may sleep in the next 48 periods, and what that costs and saves."""

    rrus: Annotated[int, arg(metavar="N", help="Radio units of every cell.")] = 8
    least: Annotated[int, arg(metavar="N", help="Radio units that stay awake, for coverage.")] = 1
    headroom: Annotated[float, arg(metavar="SHARE", help="What all units carry beyond the cell's busy hour.")] = 0.1
    qos_cost: Annotated[
        float, arg(metavar="COST", help="Of losing a cell's traffic for an hour, in full RRU-hours of energy.")
    ] = 15.0
    switching_cost: Annotated[
        float, arg(metavar="COST", help="Of switching one unit on or off, in full RRU-hours.")
    ] = 0.28
    risk: Annotated[
        float | None,
        arg(
            metavar="P",
            help="Largest probability that a cell is overloaded in a period; takes 1/P - 1 members or more.",
            help_behavior_hint="(default: only the costs decide)",
        ),
    ] = None

    def run(self) -> int:
        """Plan, play, write."""
        with working("reading weights and libraries"):
            from fomo.app.service.planning.run import plan_sleep_of
            from fomo.app.service.planning.sleeping import SleepSetting
            from fomo.planning.energy import EnergyModel
            from fomo.planning.sleep import SleepParameters

            energy = EnergyModel()
            parameters = SleepParameters(
                rrus=self.rrus, least=self.least, qos_cost=self.qos_cost, switching_cost=self.switching_cost,
                risk=self.risk,
            )  # fmt: skip
            setting = SleepSetting(parameters, energy, self.headroom)
        said: list[tuple[str, object, str, str]] = [
            ("radio units", self.rrus, "per cell", "M of (17)"),
            ("least awake", self.least, "per cell", "for coverage"),
            ("headroom", self.headroom, "share of the busy hour", "what all units of a cell carry beyond it"),
            ("cost of lost traffic", self.qos_cost, "full RRU-hours per cell-hour", "weight of Q in (17)"),
            ("cost of a switch", self.switching_cost, "full RRU-hours", "weight of W"),
            ("idle unit", energy.idle, "of a full one", "fitted to 5G stations, results/energy-fit.md"),
            ("load of a full unit", energy.load, "of a full one", "fitted"),
            ("sleeping unit", energy.asleep, "of a full one", "fitted"),
            ("risk", "none" if self.risk is None else self.risk, "probability", "of overload, per cell and period"),
        ]
        if self.forecast is not None or self.history is not None:
            from fomo.app.service.planning.ahead import sleep_ahead

            return self._ahead(sleep_ahead, setting, said)
        request = self._request()
        with _Progress() as told:
            found = plan_sleep_of(request, setting, told)
        return self._say(found, request, said)


@dataclass(frozen=True, kw_only=True)
class Prb(_Forecast):
    """Who gets which resource blocks in the next 16 slots: backlog and delay of cells that share a server."""

    busy_share: Annotated[
        float, arg(metavar="SHARE", help="Of a server's blocks, what the busiest slot of the record would use.")
    ] = 1.3
    delay_weight: Annotated[float, arg(metavar="COST", help="Of a slot of delay, in mean slots of backlog.")] = 1.0
    method: Literal["slot", "horizon"] = "slot"
    """Each slot alone, exactly; or looking ahead, which takes longer."""
    signal_to_noise: Annotated[float, arg(metavar="DB", help="Of the middle cell, where plans are judged.")] = 7.4

    def run(self) -> int:
        """Plan, play, write."""
        with working("reading weights and libraries"):
            from fomo.app.service.planning.allocating import BLOCKS_A_CELL, PrbSetting
            from fomo.app.service.planning.run import plan_prb_of
            from fomo.planning.channel import ChannelParameters

            channel = ChannelParameters(signal_to_noise_db=self.signal_to_noise)
            setting = PrbSetting(
                channel, busy_share=self.busy_share, delay_weight=self.delay_weight, method=self.method
            )
        said: list[tuple[str, object, str, str]] = [
            ("busy share", self.busy_share, "of all blocks", "what the busiest slot of the record would use"),
            ("mean slot of a cell", BLOCKS_A_CELL, "blocks of the mean channel", "assumed"),
            ("delay weight", self.delay_weight, "mean slots of backlog per slot", "of d in (18)"),
            ("method", self.method, "", "how far each slot looks ahead"),
        ]
        if self.forecast is not None or self.history is not None:
            from fomo.app.service.planning.ahead import prb_ahead

            return self._ahead(prb_ahead, setting, said)
        said += [
            ("signal to noise", self.signal_to_noise, "dB", "of the middle cell, measured in Barcelona"),
            ("between cells", channel.between_cells_db, "dB", "assumed"),
            ("between slots", channel.between_slots_db, "dB", "measured in Barcelona"),
        ]
        request = self._request()
        with _Progress() as told:
            found = plan_prb_of(request, setting, told)
        return self._say(found, request, said)


@dataclass(frozen=True, kw_only=True)
class Deploy(_Ask):
    """Where base stations go in a district without history, judged by whom they serve as people move.

    With --forecast it is a district that nobody can judge yet: stations go by its generated traffic.
    """

    # Stations go by the mean over the members, and levels of cells without history differ much between them.
    samples: Annotated[int, arg(metavar="N", help="Members of the generated district.")] = 128
    area: Annotated[
        str,
        arg(
            metavar="Y0:Y1,X0:X1",
            help="Rows and columns of the district, ends left out.",
            help_behavior_hint="(default: the 16 x 16 with the most recorded cells)",
        ),
    ] = ""
    stations: Annotated[int, arg(metavar="N", help="Stations in all.")] = 64
    reach_km: Annotated[float, arg(metavar="KM", help="How far from its cell's centre a station serves cells.")] = 1.6
    most: Annotated[int, arg(metavar="N", help="Most stations in one cell.")] = 4
    served: Annotated[
        float,
        arg(
            metavar="SHARE",
            help="Of the people (with --forecast: the traffic) of the busiest hour, what all stations together serve.",
        ),
    ] = 0.85
    seconds: Annotated[float, arg(metavar="S", help="For each solver, at most.")] = 20.0
    forecast: Annotated[
        Path | None,
        arg(
            metavar="DIR",
            help="Plan for the cells that a forecast was asked for, as of 'fomo generate', instead of judging plans.",
            help_behavior_hint="(default: none)",
        ),
    ] = None

    def run(self) -> int:
        """Plan, play, write."""
        if self.forecast is not None:
            return self._ahead(self.forecast)
        with working("reading weights and libraries"):
            from fomo.app.service.forecasting import choose_device
            from fomo.app.service.planning.run import Request, plan_deploy_of
            from fomo.planning.deployment import DeploymentParameters

            self._check()
            parameters = DeploymentParameters(
                stations=self.stations, reach_km=self.reach_km, stations_per_place=self.most
            )
            request = Request(
                city=self._named(), data=self.data, weights=self.weights, samples=self.samples,
                seeds=tuple(range(self.seeds)), device=choose_device(self.device),
            )  # fmt: skip
        with _Progress() as told:
            found = plan_deploy_of(request, parameters, told, area=self.area, served=self.served, seconds=self.seconds)
        return self._say(found, request, self._said("people"))

    def _ahead(self, forecast: Path) -> int:
        """The stations of a saved forecast."""
        self._alone()
        self._check()
        with working("planning"):
            from fomo.app.service.planning.greenfield import stations_ahead
            from fomo.forecast import Forecast
            from fomo.planning.deployment import DeploymentParameters

            parameters = DeploymentParameters(
                stations=self.stations, reach_km=self.reach_km, stations_per_place=self.most
            )
            found = stations_ahead(Forecast.open(forecast), parameters, served=self.served, seconds=self.seconds)
        return self._say_ahead(found, self._said("traffic"))

    def _said(self, what: str) -> list[tuple[str, object, str, str]]:
        return [
            ("stations", self.stations, "", "in all"),
            ("reach", self.reach_km, "km", "from the centre of a station's cell"),
            ("most in one cell", self.most, "stations", ""),
            ("capacity", self.served, f"of the busiest hour's {what}", "of all stations together"),
        ]


@dataclass(frozen=True)
class Plan:
    """Plans from forecasts, judged by what really happened: which radio units sleep, who gets which blocks, where
    stations go."""

    what: Annotated[
        Annotated[Sleep, subcommand("sleep", prefix_name=False)]
        | Annotated[Prb, subcommand("prb", prefix_name=False)]
        | Annotated[Deploy, subcommand("deploy", prefix_name=False)],
        arg(name=""),
    ]

    def run(self) -> int:
        """Run what was asked."""
        return self.what.run()


def _number(row: dict[str, object], metric: str) -> str:
    value, low, high = (row[f"{metric}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.4g}" if low == high else f"{value:.4g} ({low:.4g} to {high:.4g})"


class _Progress:
    """A bar of forecasts with the time left; nothing where stderr is no terminal."""

    def __enter__(self) -> Callable[[int, int, str], None]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True).__enter__()
            self.job = self.bar.add_task("planning", total=None)
        return self._told

    def _told(self, done: int, total: int, what: str) -> None:
        if self.bar is not None:
            self.bar.update(self.job, completed=done, total=total, description=what)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.__exit__(None, None, None)


__all__ = ["Plan"]
