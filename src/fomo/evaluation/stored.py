"""Scores on disk: the sums of every window, so that intervals and differences can be taken later."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from fomo.evaluation.metrics import ErrorSums
from fomo.evaluation.protocol import EvaluationError, Scores, WindowScore
from fomo.files import whole_file


def save_scores(scores: Scores, path: Path, about: dict[str, Any] | None = None) -> Path:
    """One `.npz`, written whole: a vector a window, and the rest as JSON with what else is to be known (`about`)."""
    rest = asdict(replace(scores, windows=()))
    windows = [(window.region, window.day, window.first_step) for window in scores.windows]
    vectors = [window.sums.vector() for window in scores.windows if window.sums is not None]
    text = json.dumps({"scores": rest, "windows": windows, "about": about or {}}, ensure_ascii=False)
    with whole_file(path) as fresh:
        np.savez_compressed(
            fresh,
            text=np.frombuffer(text.encode(), np.uint8),
            sums=np.stack(vectors) if vectors else np.zeros((0, 0)),
            defined=np.array([window.sums is not None for window in scores.windows], bool),
        )
    return path


def load_scores(path: Path) -> tuple[Scores, dict[str, Any]]:
    """The inverse of `save_scores`: the scores and what was written about them. Raises `EvaluationError`."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = json.loads(stored["text"].tobytes().decode())
            sums, defined = stored["sums"], stored["defined"]
        vectors = iter(sums)
        windows = tuple(
            WindowScore(region, day, first, ErrorSums.from_vector(next(vectors)) if there else None)
            for (region, day, first), there in zip(found["windows"], defined, strict=True)
        )
        return Scores(**{**found["scores"], "windows": windows}), found["about"]
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise EvaluationError(f"{path} holds no scores that can be read ({error}): remove it to score again") from error


def joined(parts: list[Scores]) -> Scores:
    """Scores of several folds as one. Raises `EvaluationError` where they are of other questions."""
    first = parts[0]
    for part in parts[1:]:
        if (part.city, part.task, part.context, part.split) != (first.city, first.task, first.context, first.split):
            raise EvaluationError(f"scores of {part.city} {part.task} do not belong to those of {first.city}")
    windows = tuple(window for part in parts for window in part.windows)
    return replace(
        first,
        windows=windows,
        seconds=sum(part.seconds for part in parts),
        leakage=any(part.leakage for part in parts),
        note="; ".join(dict.fromkeys(part.note for part in parts if part.note)),
    )


__all__ = ["joined", "load_scores", "save_scores"]
