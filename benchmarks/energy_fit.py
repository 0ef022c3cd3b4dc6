"""What a radio unit consumes awake, loaded and asleep: the defaults of `EnergyModel`, fitted to measured 5G stations.

    python benchmarks/energy_fit.py --data DIR

The data are those of the ITU AI/ML in 5G Challenge 2023 (5G energy consumption modelling): energy of stations by the
hour, load and saving modes of their cells. Stations with one cell are taken, where the energy is known: there the
energy is that of one radio unit (and what stands beside it). The modes have no names in the release. Modes 1 and 2
last whole hours, together, at next to no load: they are the sleep here; hours with another mode are left out. The
release states no unit of energy; as its highest hour is exactly 100, it was scaled. Numbers to results/energy-fit.md
and .csv, the figure to docs/figures/energy-fit.png; the defaults are printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from fomo.evaluation.figure_style import BLUE, GREY, ORANGE, SMALL, TEXT, WIDE, new_figure, save_figure, tidy
from fomo.files import whole_file
from fomo.planning.energy import EnergyFit, EnergyModel, fit_energy
from fomo.sources import data_folder

ROOT = Path(__file__).resolve().parent.parent
FILE = "itu_5g_cell_load_energy.parquet"
UNIT = "% of the highest hour"
SLEEP = ("ESMode1", "ESMode2")
OTHER = ("ESMode3", "ESMode4", "ESMode5", "ESMode6")
#: The type behind the defaults: the one of most stations, and the only common one that often sleeps.
TYPE, FEWEST_HOURS = "Type4", 1000
DRAWN, DECIMALS = 3000, 3


def single_cells(path: Path) -> pl.DataFrame:
    """Hours of stations with one cell: BS, type, load, energy, asleep."""
    frame = pl.read_parquet(path).with_columns(pl.col("BS", "CellName", "RUType").cast(pl.String))
    single = frame.group_by("BS").agg(pl.col("CellName").n_unique().alias("cells")).filter(pl.col("cells") == 1)
    return (
        frame.join(single.select("BS"), on="BS")
        .filter(pl.col("Energy").is_not_null(), pl.max_horizontal(OTHER) == 0)
        .select(
            "BS",
            pl.col("RUType").alias("type"),
            pl.col("load", "Energy").cast(pl.Float64),
            pl.max_horizontal(SLEEP).cast(pl.Float64).alias("asleep"),
        )
        .rename({"Energy": "energy"})
        .sort("BS", "load", "energy")
    )


def fit(frame: pl.DataFrame) -> EnergyFit:
    """Of some hours."""
    return fit_energy(*(frame[name].to_numpy() for name in ("load", "energy", "asleep")), unit=UNIT)


def row(name: str, frame: pl.DataFrame) -> dict[str, object]:
    """One line of the table; the sleeper's energy is missing where no hour was slept."""
    found = fit(frame)
    model, relative = found.model, found.model.relative()
    slept = float((frame["asleep"] > 0).sum())
    return {
        "radio type": name,
        "stations": frame["BS"].n_unique(),
        "hours": found.hours,
        "hours with sleep": int(slept),
        "idle": model.idle,
        "load": model.load,
        "asleep": model.asleep if slept else None,
        "R2": found.r_squared,
        "RMSE": found.error,
        "idle / full": relative.idle,
        "load / full": relative.load,
        "asleep / full": relative.asleep if slept else None,
    }


def figure(frame: pl.DataFrame, found: EnergyFit) -> Figure:
    """Left: a sample of hours with the fitted lines. Right: residuals by load, mean and the middle 80 %."""
    sheet = new_figure(WIDE, 3.9)
    left, right = sheet.subplots(1, 2)
    some = frame.sample(min(DRAWN, frame.height), seed=0)
    model, share = found.model, np.linspace(0, 1, 2)
    for asleep, colour, label in ((False, BLUE, "awake the whole hour"), (True, ORANGE, "asleep the whole hour")):
        part = some.filter(pl.col("asleep") > 0.99 if asleep else pl.col("asleep") == 0)
        left.scatter(part["load"], part["energy"], s=4, alpha=0.25, color=colour, linewidths=0, label=label)
    left.plot(share, model.idle + model.load * share, color="black", linewidth=1.4, label="fit, awake")
    left.plot([0, 0.2], [model.asleep] * 2, color="black", linewidth=1.4, linestyle="--", label="fit, asleep")
    left.set_ylabel("energy of the hour, % of the highest of all", fontsize=SMALL)
    left.set_title(f"{TYPE}: {frame['BS'].n_unique()} stations, R² = {found.r_squared:.2f}", fontsize=TEXT, loc="left")
    left.set_ylim(bottom=0)
    legend = left.legend(fontsize=SMALL, frameon=False, loc="upper left")
    for handle in legend.legend_handles[:2]:
        handle.set_alpha(1)
    awake = frame.filter(pl.col("asleep") == 0)
    load = awake["load"].to_numpy()
    residual = awake["energy"].to_numpy() - model.idle - model.load * load
    edges = np.linspace(0, 1, 21)
    group = np.minimum((load * 20).astype(int), 19)
    kept = [index for index in range(20) if (group == index).sum() >= 20]
    middle = [(edges[index] + edges[index + 1]) / 2 for index in kept]
    low, high = (np.array([np.quantile(residual[group == index], q) for index in kept]) for q in (0.1, 0.9))
    right.fill_between(middle, low, high, color=BLUE, alpha=0.2, linewidth=0, label="middle 80 % of hours")
    right.plot(middle, [residual[group == index].mean() for index in kept], color=BLUE, label="mean")
    right.axhline(0, color=GREY, linewidth=0.8)
    right.set_ylabel("measured less fitted energy, same unit", fontsize=SMALL)
    right.set_title("What the line leaves, awake hours", fontsize=TEXT, loc="left")
    right.legend(fontsize=SMALL, frameon=False)
    for axes in (left, right):
        axes.set_xlabel("load, share of the radio unit's capacity", fontsize=SMALL)
        axes.set_xlim(0, 1)
        tidy(axes, grid="both")
    return sheet


def shown(value: object) -> str:
    """A number of the table, a dash where there is none."""
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else f"{value}"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    options = parser.parse_args()
    frame = single_cells(data_folder(options.data) / FILE)
    types = {name: part for (name,), part in frame.group_by("type") if part.height >= FEWEST_HOURS}
    order = sorted(types, key=lambda name: -types[name]["BS"].n_unique())
    rows = [row(name, types[name]) for name in order] + [row("all", frame)]
    table = pl.DataFrame(rows, infer_schema_length=None)
    names = list(table.columns)
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    lines += ["| " + " | ".join(shown(line[name]) for name in names) + " |" for line in rows]
    found = fit(types[TYPE])
    kept = found.model.relative()
    defaults = ", ".join(f"{name}={getattr(kept, name):.{DECIMALS}f}" for name in ("idle", "load", "asleep"))
    lines += [
        "",
        "energy of an hour = idle x share awake + load x load + asleep x share asleep, least squares over the hours of "
        "stations with one cell and known energy, without hours in saving modes 3 to 6. idle, load, asleep and RMSE in "
        "% of the highest hour of the release, which has no physical unit; 'full' is idle + load. Types with "
        f"{FEWEST_HOURS:,} hours or more.",
        "",
        f"Defaults of `EnergyModel`, those of {TYPE} in full RRU-hours: {defaults}.",
    ]
    with whole_file(ROOT / "results/energy-fit.md") as fresh:
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with whole_file(ROOT / "results/energy-fit.csv") as fresh:
        table.write_csv(fresh)
    save_figure(figure(types[TYPE], found), ROOT / "docs/figures/energy-fit.png")
    print("\n".join(lines))
    if any(round(getattr(kept, name), DECIMALS) != getattr(EnergyModel(), name) for name in ("idle", "load", "asleep")):
        print("EnergyModel carries other defaults: write these there")


if __name__ == "__main__":
    main()
