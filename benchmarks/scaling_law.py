"""The law: the logarithm of an error as a quadratic in the logarithm of the size, moved and lowered by the data.

    log L = a + b n + c n^2 + d m + e n m      n = log10(parameters / 1e6), m = log10(recorded values / 1e6)

Its lowest point in n moves with m, so it says what size is best for how much data. The usual sum of powers
(L = E + A N^-alpha + B D^-beta; Hoffmann et al., 2022, arXiv 2203.15556) cannot: there the largest is always best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Terms of the law, and how often the residuals are drawn again for an interval.
TERMS, RESAMPLES = 5, 2000


@dataclass(frozen=True)
class Points:
    """Runs: parameters, recorded values trained on, and the error reached, all (run,)."""

    parameters: np.ndarray
    values: np.ndarray
    errors: np.ndarray

    def without(self, parameters: float) -> Points:
        """The runs of other sizes."""
        keep = self.parameters != parameters
        return Points(self.parameters[keep], self.values[keep], self.errors[keep])


@dataclass(frozen=True)
class Law:
    """a, b, c, d, e of the law."""

    terms: np.ndarray

    def error(self, parameters: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What the law says of runs."""
        return np.asarray(np.exp(_design(parameters, values) @ self.terms))

    def of_size(self, at: Points) -> float:
        """d log L / d log N in the middle of the runs."""
        n, m = (np.log10(part / 1e6).mean() for part in (at.parameters, at.values))
        return float(self.terms[1] + 2 * self.terms[2] * n + self.terms[4] * m) / np.log(10)

    def of_data(self, at: Points) -> float:
        """d log L / d log D in the middle of the runs."""
        return float(self.terms[3] + self.terms[4] * np.log10(at.parameters / 1e6).mean()) / np.log(10)

    def best_size(self, values: float, sizes: tuple[float, float]) -> float:
        """Parameters of the smallest error within `sizes`, from so many recorded values: no law is trusted beyond."""
        tried = np.geomspace(*sizes, 400)
        return float(tried[self.error(tried, np.full(tried.shape, values)).argmin()])


def fit_law(points: Points) -> Law:
    """Least squares. Raises `ValueError` where there are fewer runs, sizes or amounts of data than the law needs."""
    if len(points.errors) < TERMS or len(set(points.parameters)) < 3 or len(set(points.values)) < 2:
        raise ValueError(
            f"the law has {TERMS} terms and is quadratic in the size: it needs {TERMS} runs, of 3 sizes and 2 shares "
            f"at least, and there are {len(points.errors)}, {len(set(points.parameters))} and {len(set(points.values))}"
        )
    return Law(np.linalg.lstsq(_design(points.parameters, points.values), np.log(points.errors), rcond=None)[0])


def bootstrap(points: Points, seed: int = 0) -> tuple[tuple[float, float], tuple[float, float]]:
    """95 % intervals of `of_size` and `of_data`: residuals drawn again, larger by what the fit took of them."""
    law, random = fit_law(points), np.random.default_rng(seed)
    said = law.error(points.parameters, points.values)
    left = np.log(points.errors / said) * np.sqrt(len(said) / max(1, len(said) - TERMS))
    found = []
    for _ in range(RESAMPLES):
        errors = said * np.exp(random.choice(left, len(left)))
        again = fit_law(Points(points.parameters, points.values, errors))
        found.append((again.of_size(points), again.of_data(points)))
    low, high = np.quantile(found, (0.025, 0.975), axis=0)
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


def left_out_error(points: Points) -> tuple[float, float]:
    """Root mean square of the relative error at sizes left out of the fit: of the law, and of a constant.

    Each size between the smallest and the largest is left out once: nothing is trusted beyond the sizes measured.
    """
    sizes = sorted(set(points.parameters))[1:-1]
    law, flat = [], []
    for size in sizes:
        rest, out = points.without(size), points.parameters == size
        truth = np.log(points.errors[out])
        law.append(np.log(fit_law(rest).error(points.parameters[out], points.values[out])) - truth)
        flat.append(np.log(rest.errors).mean() - truth)
    return tuple(float(np.sqrt(np.mean(np.concatenate(part) ** 2))) for part in (law, flat))  # type: ignore[return-value]


def recommended_without(points: Points, parameters: float) -> list[tuple[float, float, float]]:
    """For each amount of data: it, the error of the size that a law without one size recommends, the smallest error.

    Recommended are sizes that were measured; nothing is lost where both errors are the same.
    """
    law, found = fit_law(points.without(parameters)), []
    for values in sorted(set(points.values)):
        here = points.values == values
        sizes, errors = points.parameters[here], points.errors[here]
        chosen = law.error(sizes, points.values[here]).argmin()
        found.append((float(values), float(errors[chosen]), float(errors.min())))
    return found


def _design(parameters: np.ndarray, values: np.ndarray) -> np.ndarray:
    n, m = np.log10(np.asarray(parameters) / 1e6), np.log10(np.asarray(values) / 1e6)
    return np.stack([np.ones_like(n), n, n**2, m, n * m], -1)
