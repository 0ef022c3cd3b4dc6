"""Figures about context: a city made from context alone, and how near tokens of one block lie."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from fomo.evaluation.figure_style import BLUE, PALETTE, SMALL, TEXT, WIDE, new_figure, tidy


def abroad_figure(maps: Mapping[str, np.ndarray], curves: Mapping[str, np.ndarray]) -> Figure:
    """Maps (y, x) side by side, each over its own 99th percentile, and daily curves (24,) over their mean."""
    figure = new_figure(WIDE, 3.4)
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, len(maps) + 1, width_ratios=[1.0] * len(maps) + [1.2])
    for axes, (title, layer) in zip(panels, maps.items(), strict=False):
        image = axes.imshow(layer / np.nanpercentile(layer, 99), origin="lower", vmin=0, vmax=1, cmap="viridis")
        axes.set_xlabel(title, fontsize=TEXT)
        axes.set(xticks=[], yticks=[])
    bar = figure.colorbar(image, ax=list(panels[: len(maps)]), shrink=0.7, location="left")
    bar.set_label("over its 99th percentile", fontsize=SMALL)
    axes = panels[-1]
    for i, (name, curve) in enumerate(curves.items()):
        axes.plot(np.arange(24), curve, color=PALETTE[i], marker="os^"[i % 3], markersize=3, label=name)
    axes.set(xlim=(0, 23), ylim=(0, 2.2), xticks=range(0, 24, 6))
    axes.set_xlabel("hour of the day", fontsize=TEXT)
    axes.set_ylabel("traffic over its daily mean", fontsize=TEXT)
    tidy(axes, grid="both")
    axes.legend(loc="upper left", fontsize=SMALL, frameon=False)
    return figure


def embedding_figure(panels: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Directions of traffic and of context, each (block, width): a panel per training, title -> both.

    Each panel shows the two first principal axes of all its directions; grey lines join the tokens of one block.
    """
    figure = new_figure(WIDE, 4.0)
    figure.set_layout_engine("constrained")
    every = figure.subplots(1, len(panels))
    for axes, (title, (traffic, context)) in zip(every, panels.items(), strict=True):
        both = np.concatenate([traffic, context])
        _, _, axis = np.linalg.svd(both - both.mean(0), full_matrices=False)
        flat = (both - both.mean(0)) @ axis[:2].T
        first, second = np.split(flat, 2)
        for one, other in zip(first, second, strict=True):
            axes.plot(*np.stack([one, other]).T, color="#cccccc", linewidth=0.5, zorder=1)
        axes.scatter(*first.T, s=12, color=BLUE, label="traffic", zorder=2)
        axes.scatter(*second.T, s=12, color=PALETTE[1], marker="^", label="context", zorder=2)
        axes.set_title(title, loc="left", fontsize=TEXT)
        axes.set_xlabel("first principal axis", fontsize=TEXT)
        axes.set_ylabel("second principal axis", fontsize=TEXT)
        tidy(axes, grid="both")
    # Tokens lie anywhere: within the axes a legend hides some.
    figure.legend(
        *every[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=SMALL, frameon=False
    )
    return figure


__all__ = ["abroad_figure", "embedding_figure"]
