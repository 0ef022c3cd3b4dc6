"""The figure of a verification: what came, in all and cell by cell, how far ahead forecasts hold, how sure they are."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fomo.city import City
from fomo.evaluation.figure_style import (
    BLACK,
    BLUE,
    GREY,
    PALE,
    PALETTE,
    SMALL,
    TEXT,
    WIDE,
    amount_axis,
    new_figure,
    share_axes,
    short_number,
    tidy,
    time_axis,
)
from fomo.evaluation.metrics import enough_members
from fomo.evaluation.verification import LEVELS, Compared, Verification, cell_totals
from fomo.forecast import quantiles_of

#: Observed steps before the forecast that are drawn.
SHOWN_HISTORY = 48
#: Rules that are drawn, the best ones: others are so far off that nothing else is seen.
SHOWN_RULES = 2
#: Deviations beyond this many standard deviations have the darkest colours.
STRANGE = 3.0


def verification_figure(found: Verification) -> Figure:
    """Above: the latest forecast beside what came, all cells over time and each on the map. Below: of all forecasts.

    Where there are several, titles above name the latest by its first step. Those below are CRPS by lead time, beside
    that of the rules, and how often the truth lies within central intervals.
    """
    latest = found.compared[-1]
    figure = new_figure(WIDE, 7.2)
    (over_time, where), (sure, ahead) = figure.subplots(2, 2, width_ratios=(1.6, 1))
    whose = f", forecast from {_begins(latest)}" if len(found.compared) > 1 else ""
    _together(over_time, latest, found.unit, whose)
    _cells(where, latest, "\nforecast from " + _begins(latest) if whose else "")
    _leads(sure, found)
    _calibration(ahead, found)
    first = _begins(found.compared[0])
    many = f"{len(found.compared)} forecasts from" if len(found.compared) > 1 else "forecast from"
    figure.suptitle(
        f"{latest.forecast.attrs['city']}: {many} {first}, and what came",
        x=0.012, ha="left", fontsize=TEXT + 2, fontweight="bold",
    )  # fmt: skip
    return figure


def _begins(compared: Compared) -> str:
    """The first step of a forecast, local wall-clock."""
    return str(np.datetime_as_string(compared.time[0], unit="m")).replace("T", " ")


def _sums(city: City, cells: Bool[np.ndarray, "step y x"]) -> Float[np.ndarray, " time"]:
    """Over cells that are known at some time, of what is recorded; NaN where nothing is."""
    values = city["traffic"].values[:, cells.any(0)].astype(np.float64)
    known = np.isfinite(values)
    return np.where(known.any(1), np.where(known, values, 0).sum(1), np.nan)


def _together(axes: Axes, latest: Compared, unit: str, whose: str) -> None:
    """The sum over the recorded cells: before, the fan, what came."""
    members, truth = latest.together
    cells = latest.known.any(0)
    before = latest.before.isel(time=slice(-SHOWN_HISTORY, None))
    if before.sizes["time"]:
        axes.plot(before["time"].values, _sums(before, latest.known), color=GREY, label="before")
    for level, opacity in ((0.9, 0.18), (0.5, 0.38)):
        if enough_members(level, len(members)):
            ends = quantiles_of(members, [(1 - level) / 2, (1 + level) / 2])
            label = f"{100 * level:.0f} % interval"
            axes.fill_between(latest.time, *ends, color=BLUE, alpha=opacity, linewidth=0, label=label)
    marker = "o" if len(truth) < 3 else ""
    axes.plot(latest.time, members.mean(0), color=BLUE, linewidth=1.8, marker=marker, label="forecast, mean")
    came = truth
    shown = np.concatenate([before["time"].values[-1:], latest.time])
    if before.sizes["time"]:  # from the last value before, so that the line has no hole
        came = np.concatenate([_sums(before, latest.known)[-1:], truth])
    axes.plot(shown, came, color=BLACK, linewidth=1.2, marker=marker, label="came")
    axes.set_title(f"Sum of {int(cells.sum())} cells{whose}", loc="left", fontsize=TEXT)
    axes.set_ylabel(f"traffic [{unit or 'unit not stated'}]", fontsize=TEXT)
    tidy(axes)
    amount_axis(axes)
    shown = np.concatenate([before["time"].values, latest.time])
    if len(shown) > 1:
        time_axis(axes, shown, latest.before.attrs["calendar"] == "date")
    axes.legend(fontsize=SMALL, frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.06))


def _cells(axes: Axes, latest: Compared, whose: str) -> None:
    """What came less what was expected of each cell, in standard deviations of its members' totals."""
    totals, city = cell_totals(latest), latest.before
    if city.attrs["layout"] == "list":
        order = np.argsort(totals.deviation)
        axes.plot(np.arange(1, len(order) + 1), totals.deviation[order], "o", color=BLUE, markersize=3)
        axes.axhspan(-2, 2, color=PALE, linewidth=0, zorder=0)
        axes.set_xlabel("cells, by deviation", fontsize=TEXT)
        axes.set_ylabel("standard deviations", fontsize=TEXT)
        tidy(axes)
    else:
        field = np.full(latest.truth.shape[1:], np.nan)
        field[totals.places[:, 0], totals.places[:, 1]] = totals.deviation
        y, x, edge = city["y"].values, city["x"].values, float(city.attrs["cell_km"]) or 1.0
        axes.set_facecolor("#D9D9D9")
        extent = (x[0] - edge / 2, x[-1] + edge / 2, y[0] - edge / 2, y[-1] + edge / 2)
        image = axes.imshow(field, origin="lower", extent=extent, cmap="PuOr_r", vmin=-STRANGE, vmax=STRANGE)
        bar = axes.figure.colorbar(image, ax=axes, extend="both", shrink=0.85)
        bar.set_label("standard deviations", fontsize=SMALL)
        bar.ax.tick_params(labelsize=SMALL)
        bar.outline.set_visible(False)
        axes.set_xlabel("km" if city.attrs["cell_km"] else "cells", fontsize=TEXT)
        axes.tick_params(labelsize=SMALL, color="#BBBBBB", labelcolor="#333333")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_title(f"Cells' totals: came less expected{whose}", loc="left", fontsize=TEXT)


def _leads(axes: Axes, found: Verification) -> None:
    """CRPS by lead time, beside the best of the rules."""
    hours = int(found.compared[0].forecast.attrs["step_minutes"]) / 60
    rules = sorted(found.values[1:], key=lambda values: float(values.crps.mean()))
    for index, values in enumerate([found.values[0], *rules[:SHOWN_RULES]]):
        leads, score = values.by_lead()
        (line,) = axes.plot(leads * hours, score, color=PALETTE[index % len(PALETTE)], label=values.forecaster)
        line.set(linewidth=1.2 if index else 1.8, linestyle="--" if index else "-")
        if len(leads) < 12:
            line.set(marker="o", markersize=4)
    axes.set_xlabel("hours ahead", fontsize=TEXT)
    axes.set_ylabel(f"CRPS [{found.unit or 'unit not stated'}]", fontsize=TEXT)
    many = f" of {len(found.compared)} forecasts" if len(found.compared) > 1 else ""
    axes.set_title(f"Error by lead time{many}, lower is better", loc="left", fontsize=TEXT)
    tidy(axes, grid="both")
    amount_axis(axes)
    axes.yaxis.set_major_formatter(FuncFormatter(short_number))
    axes.legend(fontsize=SMALL, frameon=False)


def _calibration(axes: Axes, found: Verification) -> None:
    """How often the truth lies within central intervals."""
    wanted = np.array([0.0, 1.0])
    axes.fill_between(wanted, wanted - 0.05, wanted + 0.05, color=PALE, linewidth=0)
    axes.plot(wanted, wanted, color=GREY, linewidth=1)
    for name, share, colour, marker in (
        ("single values", found.values[0].within, BLUE, "o"),
        ("sums of all cells", found.sums_within, PALETTE[1], "s"),
    ):
        observed = [(float(level), one) for level in LEVELS if (one := share(float(level))) is not None]
        if observed:
            axes.plot(*zip(*observed, strict=True), color=colour, marker=marker, markersize=4, label=name)
            axes.legend(loc="upper left", fontsize=SMALL, frameon=False)
    share_axes(axes)
    axes.set_xlabel("level of the interval", fontsize=TEXT)
    axes.set_ylabel("came within it", fontsize=TEXT)
    axes.set_title("How sure it was, and could be", loc="left", fontsize=TEXT)
    tidy(axes, grid="both")


__all__ = ["verification_figure"]
