"""Cities abroad from context alone: a week of Aachen and a day of Munich, from population and POI; not measured.

    python benchmarks/abroad.py --data DIR

The context is that of SpectraGAN's release. Nothing of these cities is trained on, and no traffic of theirs was ever
measured here: Aachen is held against the release's synthetic series, as the paper does with its generated Munich data;
what is shown otherwise is plausibility. Numbers to results/abroad.md, the figure to docs/figures/abroad.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from fomo.city import City
from fomo.evaluation.context_figures import abroad_figure
from fomo.evaluation.figure_style import save_figure
from fomo.evaluation.metrics import histogram, jensen_shannon
from fomo.files import whole_file
from fomo.forecasters.fomo import FoMo, load
from fomo.sources import data_folder, read_family

ROOT = Path(__file__).resolve().parent.parent
FAMILY = "german_cities_context"
SAMPLES = 128  # the mean over fewer is not that of a cell whose level nobody knows
ONE_BY_ONE = 8  # members whose values are compared with other values


def made(model: FoMo, city: City, hours: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the members, (time, y, x), and the first members, shares of full traffic."""
    part = city.isel(time=slice(0, hours))
    area = np.ones((city.sizes["y"], city.sizes["x"]), bool)
    forecast = model.generate(part, area & city["covered"].values, samples=SAMPLES, seed=0)
    return forecast.mean.values, forecast.samples.values[:ONE_BY_ONE]


def daily(traffic: np.ndarray) -> np.ndarray:
    """Mean by hour of the day over cells and days, as multiples of its own mean, (24,)."""
    days = np.nanmean(traffic.reshape(len(traffic), -1), 1)[: len(traffic) // 24 * 24].reshape(-1, 24).mean(0)
    return np.asarray(days / days.mean())


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's over the cells where both are known."""
    both = np.isfinite(first) & np.isfinite(second)
    ranks = [np.argsort(np.argsort(layer[both])) for layer in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def land_shares(traffic: np.ndarray, landuse: np.ndarray) -> np.ndarray:
    """Share of the traffic by class of land use, (class,); a cell's traffic is split as its land is."""
    known = np.isfinite(traffic) & np.isfinite(landuse).all(0)
    shares = (landuse[:, known] * traffic[known]).sum(1)
    return np.asarray(shares / shares.sum())


def coarse(layer: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A fine grid at the cell centres of a coarse one of the same extent: the grids of the release do not say more."""
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) / n * m).astype(int), m - 1) for n, m in zip(size, layer.shape, strict=True)
    )
    return layer[np.ix_(rows, columns)]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--weights", default="fomo-tiny")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data, model = data_folder(options.data), load(options.weights)
    lines = ["| | Aachen, a week | Munich, a day |", "|---|---|---|"]
    cities = {name: read_family(data, f"{FAMILY}_{name}_context")[0] for name in ("aachen", "munich")}
    both = {"aachen": made(model, cities["aachen"], 168), "munich": made(model, cities["munich"], 24)}
    traffic, members = {name: mean for name, (mean, _) in both.items()}, both["aachen"][1]
    means = {name: np.nanmean(values, 0) for name, values in traffic.items()}
    layers = {name: (city["residents"].values, np.nansum(city["poi"].values, 0)) for name, city in cities.items()}
    for i, label in enumerate(("residents", "POI")):
        found = [f"{correlation(means[name], layers[name][i]):.2f}" for name in traffic]
        lines.append(f"| rank correlation of mean traffic with {label}, over cells | {' | '.join(found)} |")
    found = [f"{np.nanmean(values):.3f}" for values in traffic.values()]
    lines.append(f"| mean, share of full traffic | {' | '.join(found)} |")
    found = [f"{int(np.argmax(daily(values)))}:00, {int(np.argmin(daily(values)))}:00" for values in traffic.values()]
    lines.append(f"| busiest and quietest hour | {' | '.join(found)} |")
    land = {name: land_shares(means[name], cities[name]["landuse"].values) for name in traffic}
    area = {name: land_shares(np.ones_like(means[name]), cities[name]["landuse"].values) for name in traffic}
    for kind in range(len(land["aachen"])):
        found = [f"{land[name][kind]:.0%} of traffic, {area[name][kind]:.0%} of land" for name in traffic]
        lines.append(f"| land-use class {kind} (unnamed) | {' | '.join(found)} |")
    synthetic = read_family(data, f"{FAMILY}_aachen")[0]["traffic"].values
    theirs = np.nanmean(synthetic, 0)
    divergence = jensen_shannon(
        histogram(members[np.isfinite(members)] / np.nanpercentile(members, 99.99)),
        histogram(synthetic[np.isfinite(synthetic)].ravel() / np.nanpercentile(synthetic, 99.99)),
    )
    curve = np.corrcoef(daily(traffic["aachen"]), daily(synthetic))[0, 1]
    space = correlation(coarse(means["aachen"], theirs.shape), theirs)
    lines.append(f"| against the release's synthetic series: correlation of the daily curves | {curve:.2f} | – |")
    lines.append(f"| the same: JSD of all values (100 bins on [0, 1], base 2) | {divergence:.3f} | – |")
    lines.append(f"| the same: rank correlation over cells, grids laid over each other | {space:.2f} | – |")
    with whole_file(ROOT / "results/abroad.md") as fresh:
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    curves = {"Aachen, FoMo": daily(traffic["aachen"]), "Munich, FoMo": daily(traffic["munich"])}
    curves["Aachen, synthetic series of the release"] = daily(synthetic)
    maps = {
        "Munich: residents": layers["munich"][0],
        "Munich: made traffic": means["munich"],
    }
    save_figure(abroad_figure(maps, curves), ROOT / "docs/figures/abroad.png")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
