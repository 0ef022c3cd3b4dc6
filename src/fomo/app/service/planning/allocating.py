"""Who gets which resource blocks: every strategy's allocation at every origin, played against what came.

Each square of cells (`servers.find_servers`) is one server; its channel is drawn per origin and seed, the same for all
strategies. Most releases do not say what their volume is, so a mean slot of a cell's traffic takes a fixed number of
blocks of a mean channel; how many blocks a server has follows from its record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from fomo.app.service.planning.origins import Origin, cell_periods, load_at, with_failed_site, without_asked
from fomo.app.service.planning.record import recorded_together
from fomo.app.service.planning.servers import Server, find_servers
from fomo.app.service.planning.strategies import NOBODY, Expected
from fomo.city import City
from fomo.planning.channel import Channel, ChannelParameters, draw_channel
from fomo.planning.comparison import REGRET, Played
from fomo.planning.load import Load, PlanError
from fomo.planning.rows import AS_FORECAST, Strategy
from fomo.planning.scheduling import PrbParameters, dimension_prbs, parameters_of_history
from fomo.planning.scheduling_play import PrbOutcome, play_prb
from fomo.seeds import seed_of
from fomo.sources.barcelona_radio import JoinedSites

#: Metric -> unit, means over cells and slots. The objective adds backlog (mean slots of traffic) and delay (slots).
UNITS = {
    "objective": "per cell and slot",
    REGRET: "per cell and slot",
    "delay": "slots",
    "backlog": "mean slots of traffic",
    "carried": "share of the bits",
}


@dataclass(frozen=True)
class PrbSetting:
    """What is the same for all strategies."""

    channel: ChannelParameters
    #: Share of all blocks that the busiest slot of the record uses at the mean channel.
    busy_share: float = 1.3
    delay_weight: float = 1.0
    horizon_slots: int = 4
    method: Literal["slot", "horizon"] = "slot"
    bits_per_unit: float = 8.0

    def __post_init__(self) -> None:
        """Refuse what would fail after the forecasts are made. Raises `PlanError`."""
        if not (math.isfinite(self.busy_share) and self.busy_share > 0):
            raise PlanError(f"busy_share is {self.busy_share:g}: it is the used share of all PRBs, above 0")
        PrbParameters(1.0, self.bits_per_unit, self.delay_weight, self.horizon_slots)

    def parameters_of(self, history: Load) -> PrbParameters:
        """Units and weights of (18) for the cells of a history."""
        return parameters_of_history(
            history, bits_per_unit=self.bits_per_unit, delay_weight=self.delay_weight, horizon_slots=self.horizon_slots
        )


@dataclass(frozen=True)
class PrbServer:
    """A server at an origin: its truth, channel and blocks."""

    server: Server
    truth: Load
    channel: Channel
    prbs: int
    parameters: PrbParameters


@dataclass(frozen=True)
class PrbRun:
    """One server of one origin, every strategy's outcome, for pictures and tables."""

    at: PrbServer
    outcomes: dict[Strategy, PrbOutcome]

    def table(self, dated: bool) -> pl.DataFrame:
        """FoMo's allocation."""
        at = self.at
        return blocks_of(at.server, self.outcomes["fomo"], at.prbs, at.parameters.backlog_unit_bits, dated)


def servers_at(city: City, origin: Origin, setting: PrbSetting, seed: int) -> list[PrbServer]:
    """The servers of the origin's region, each with as many blocks as its record asks for."""
    rest = without_asked(city, origin)
    found = []
    for server in find_servers(city):
        truth = load_at(origin, origin.truth[None], server.places)
        history = recorded_together(rest, server.places)
        _, slots, cells = truth.members.shape
        own = seed_of(seed, f"{server.name} {origin.name}")
        channel = draw_channel(setting.channel, slots, cells, truth.step_minutes, own)
        parameters = one_scale(channel, setting.parameters_of(history))
        prbs = prbs_of(history, channel, parameters, setting)
        found.append(PrbServer(server, truth, channel, prbs, parameters))
    return found


def prbs_of(history: Load, channel: Channel, parameters: PrbParameters, setting: PrbSetting) -> int:
    """Blocks of a server, by its record, in the scale of `one_scale`. Raises `PlanError` for too large a busy share."""
    try:
        return dimension_prbs(history, channel.mean_bits_per_prb, parameters, setting.busy_share)
    except PlanError as error:  # the scale is ours, so what that message advises about units is no remedy
        cells = len(channel.mean_bits_per_prb)
        raise PlanError(
            f"with a busy share of {setting.busy_share:g} a server has fewer blocks than its {cells} cells: lower "
            "--busy-share"
        ) from error


#: Blocks that carry one mean slot of a cell's traffic at the mean channel, where the load's unit is not known.
BLOCKS_A_CELL = 50


def one_scale(channel: Channel, parameters: PrbParameters) -> PrbParameters:
    """Bits in the load's unit such that a mean slot of a cell takes `BLOCKS_A_CELL` blocks of a mean channel.

    Most releases do not say what their volume is; as bytes it could be less than one block in an hour. Only how finely
    blocks divide the load depends on this number.
    """
    factor = BLOCKS_A_CELL * float(channel.mean_bits_per_prb.mean()) / parameters.backlog_unit_bits
    return replace(
        parameters,
        bits_per_unit=parameters.bits_per_unit * factor,
        backlog_unit_bits=parameters.backlog_unit_bits * factor,
    )


def play_allocating(
    city: City,
    origin: Origin,
    everyone: Sequence[Expected],
    setting: PrbSetting,
    seeds: Sequence[int],
    bias: float = 1.0,
    scenario: str = AS_FORECAST,
    fails: bool = False,
) -> list[Played]:
    """All strategies on all servers of an origin. Every seed draws a channel, for all of them.

    `bias` multiplies what is expected (never what came). `fails`: in each server the busiest site fails, and what came
    there goes to its neighbours, which only the oracle expects.
    """
    found = []
    for seed in seeds:
        for at in servers_at(city, origin, setting, seed):
            if fails:
                at = replace(at, truth=with_failed_site(at.truth))
            found += played_at(at, origin, everyone, setting, seed, bias, scenario)
    return found


def played_at(
    at: PrbServer,
    origin: Origin,
    everyone: Sequence[Expected],
    setting: PrbSetting,
    seed: int,
    bias: float = 1.0,
    scenario: str = AS_FORECAST,
) -> list[Played]:
    """All strategies on one server."""
    by = {each.strategy: each.forecaster for each in everyone}
    return [
        _played(strategy, by.get(strategy, NOBODY), origin, seed, outcome, at, scenario)
        for strategy, outcome in outcomes(at, origin, everyone, setting, seed, bias).items()
    ]


def measured_at(joined: JoinedSites, origin: Origin, setting: PrbSetting) -> PrbServer:
    """All sites as one server, with the channel that was measured; what later slots carry is known in the mean only.

    Where a slot's channel was not recorded (nothing was sent), it is the site's mean.
    """
    places = np.argwhere(joined.city["covered"].values)
    truth = load_at(origin, origin.truth[None], places)
    asked = np.isin(joined.city["time"].values, truth.time)
    mean = np.nanmean(joined.bits_per_prb[~asked], axis=0)
    bits = joined.bits_per_prb[asked]
    history = recorded_together(without_asked(joined.city, origin), places)
    parameters = setting.parameters_of(history)
    channel = Channel(np.where(np.isfinite(bits), bits, mean), mean)
    prbs = dimension_prbs(history, mean, parameters, setting.busy_share)
    return PrbServer(Server(str(joined.city.attrs["name"]), places), truth, channel, prbs, parameters)


def run_at(at: PrbServer, origin: Origin, everyone: Sequence[Expected], setting: PrbSetting, seed: int) -> PrbRun:
    """One server with what every strategy's allocation comes to there."""
    return PrbRun(at, outcomes(at, origin, everyone, setting, seed))


def outcomes(
    at: PrbServer, origin: Origin, everyone: Sequence[Expected], setting: PrbSetting, seed: int, bias: float = 1.0
) -> dict[Strategy, PrbOutcome]:
    """What each strategy's allocation comes to on one server; with a bias, only those that it changes."""
    found: dict[Strategy, PrbOutcome] = {}
    if bias == 1.0:
        found["always_on"] = play_prb(None, at.truth, at.channel, at.prbs, at.parameters)
    for each in everyone:
        if each.strategy == "real" and bias != 1.0:
            continue
        load = load_at(origin, each.at(origin, seed), at.server.places).scaled(bias)
        load = at.truth if each.strategy == "real" else load
        found[each.strategy] = play_prb(load, at.truth, at.channel, at.prbs, at.parameters, setting.method)
    return found


def blocks_of(
    server: Server, outcome: PrbOutcome, prbs: int, backlog_unit_bits: float, dated: bool = True
) -> pl.DataFrame:
    """The allocation of a server that has `prbs` blocks: one row per cell and slot."""
    return pl.DataFrame(
        {
            "server": server.name,
            "server_prbs": prbs,
            **cell_periods(outcome.time, server.places, dated),
            "prbs": outcome.prbs.ravel(),
            "backlog_mean_slots": outcome.backlog_bits.ravel() / backlog_unit_bits,
            "delay_slots": outcome.delay_slots.ravel(),
        }
    )


def _played(
    strategy: Strategy, forecaster: str, origin: Origin, seed: int, outcome: PrbOutcome, at: PrbServer, scenario: str
) -> Played:
    size = outcome.prbs.size
    metrics = {
        "objective": outcome.objective / size,
        "delay": outcome.mean_delay_slots,
        "backlog": outcome.mean_backlog_bits / at.parameters.backlog_unit_bits,
        "carried": outcome.carried_share,
    }
    return Played(strategy, forecaster, f"{at.server.name} {origin.name}", seed, metrics, float(size), scenario)


__all__ = [
    "BLOCKS_A_CELL",
    "UNITS",
    "PrbRun",
    "PrbServer",
    "PrbSetting",
    "blocks_of",
    "measured_at",
    "one_scale",
    "outcomes",
    "play_allocating",
    "played_at",
    "prbs_of",
    "run_at",
    "servers_at",
]
