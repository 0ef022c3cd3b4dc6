"""Few-shot for rivals on the terms of FoMo's: the same cells, steps and rate, never worse where they are checked."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from fomo.app.service.adaptation import LEAST_GAIN, MEMBERS, districts, held_back, only, some_cells
from fomo.app.service.validation import mean_error
from fomo.city import City, validate
from fomo.forecasters.rivals.forecaster import NeuralRival
from fomo.forecasters.rivals.training import FitConfig, fit
from fomo.windows.sample import AugmentConfig, TrainingSet, family_references
from fomo.windows.split import train_part, trained_name

#: As in FoMo's few-shot training.
AUGMENT = AugmentConfig(mix=0.0, forget_week=0.3, forget_rhythm=0.0)


@dataclass(frozen=True)
class RivalAdaptation:
    """A rival after some cells of a city, its errors on the held-back part, and how many cells it saw."""

    rival: NeuralRival
    before: float
    after: float
    kept: bool  # whether it was the better one after training
    cells: int


def adapt_rival(
    rival: NeuralRival, city: City, config: FitConfig, *, share: float = 0.05, seed: int = 0
) -> RivalAdaptation:
    """Train on `share` of a city's cells as `config` says; keep what is better on the last fifth of the time.

    Raises `CityError`, `TrainingFailed`.
    """
    validate(city)
    part = train_part(city, "last_fifth")
    cells = some_cells(part, share, seed)
    learned = only(part, cells)
    questions = held_back(city)
    # What counts as full traffic is that of the forecasts, not that of the few cells: another scale is another city.
    full = questions[0][0].task.reference
    references = {str(city.attrs["family"]): full} if full is not None else family_references([learned])
    data = TrainingSet(districts(learned), references, AUGMENT)
    before = mean_error(rival, questions, MEMBERS)
    trained = fit(copy.deepcopy(rival.network), data, config).network
    seen = tuple(sorted({*rival.trained_on, trained_name(city)}))
    found = NeuralRival(rival.name, trained, seen, rival.users_references, rival.rows, rival.week_with_users)
    after = mean_error(found, questions, MEMBERS)
    better = after < (1 - LEAST_GAIN) * before
    return RivalAdaptation(found if better else rival, before, after if better else before, better, int(cells.sum()))


__all__ = ["RivalAdaptation", "adapt_rival"]
