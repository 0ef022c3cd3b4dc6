"""Scores of a forecaster that nobody asked."""

from __future__ import annotations

import numpy as np

from fomo.evaluation.metrics import error_sums
from fomo.evaluation.protocol import Scores, WindowScore


def made(region="a", defined=True, note="", **changes):
    random = np.random.default_rng(len(region))
    windows = tuple(
        WindowScore(
            region, f"day {day}", day, error_sums(random.random((5, 9)), random.random(9), 1.0) if defined else None
        )
        for day in range(3)
    )
    about = {
        "forecaster": "x", "city": "here", "task": "short", "context": "none", "split": "fold", "past_week": False,
        "unit": "GB", "scale": "own", "samples": 5, "seconds": 2.0, "leakage": False,
    }  # fmt: skip
    return Scores(windows=windows, note=note, **{**about, **changes})
