"""A recipe says everything about a training run; it is a strict TOML file under `recipes/`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, model_validator

from fomo.config import Config, ConfigError, load_toml
from fomo.model.transformer import ModelConfig
from fomo.tokens.masks import MaskConfig
from fomo.windows.context import ContextDraw
from fomo.windows.sample import AugmentConfig

#: What fine-tuning trains, see `training.finetune`.
Scheme = Literal["partial", "output", "adapters", "full"]

Factor = Annotated[int, Field(ge=2)]


class DataConfig(Config):
    """Which cities are trained on, and which parts of them never are."""

    families: dict[str, PositiveFloat] = Field(min_length=1)  # family -> how often it is drawn, relative
    coarser: dict[str, tuple[Factor, ...]] = Field(
        default_factory=dict
    )  # family -> also at these multiples of its step
    held_back_folds: tuple[int, ...] = (0,)  # families with folds: regions that are never seen
    validation_fold: int | None = None  # families with folds: held back too, and scored while training
    first_week_only: bool = False  # families with folds: week one of all regions instead of all weeks of some
    #: family -> rows y0, y1 and columns x0, x1 of a district that is never seen
    held_back_areas: dict[str, tuple[int, int, int, int]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _coarser_families_are_drawn(self) -> DataConfig:
        unknown = sorted(set(self.coarser) - set(self.families))
        if unknown:
            raise ValueError(f"coarser names {unknown}, which are not in families: add them there or remove them")
        return self

    @model_validator(mode="after")
    def _areas_are_of_families(self) -> DataConfig:
        for family, (y0, y1, x0, x1) in self.held_back_areas.items():
            if family not in self.families:
                raise ValueError(f"held_back_areas names {family!r}, which is not in families")
            if "@" in family:
                raise ValueError(
                    f"held_back_areas names {family!r}: name {family.split('@')[0]!r}, which holds it, too"
                )
            if not (0 <= y0 < y1 and 0 <= x0 < x1):
                raise ValueError(f"the held-back area of {family!r} is [y0, y1, x0, x1] with y0 < y1 and x0 < x1")
        return self

    @model_validator(mode="after")
    def _validation_is_held_back(self) -> DataConfig:
        if self.validation_fold in self.held_back_folds:
            raise ValueError(f"validation_fold {self.validation_fold} is held back for the test: choose another")
        if self.validation_fold is not None and self.first_week_only:
            raise ValueError("validation_fold needs regions that are not trained on: first_week_only has none")
        return self


class OptimiserConfig(Config):
    """Length and pace of the run."""

    steps: int = Field(ge=1)
    batch: int = Field(64, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    warm_up: int = Field(200, ge=0)  # steps; half of all at most
    final_rate: float = Field(0.02, ge=0, le=1)  # share of the learning rate at the end of the cosine
    weight_decay: float = Field(0.05, ge=0)
    clip: float = Field(1.0, gt=0)  # norm of the gradient
    average: float = Field(0.999, ge=0, lt=1)  # EMA of the weights, warmed up
    checkpoint_every: int = Field(250, ge=1)
    log_every: int = Field(25, ge=1)
    validate_every: int = Field(500, ge=1)


class LossConfig(Config):
    """Relative weights of the losses, all on hidden cells only."""

    denoising: float = Field(1.0, ge=0)
    denoised_share: float = Field(0.5, gt=0, le=1)  # share of a batch that the denoiser sees; the encoder sees all
    mean: float = Field(4.0, ge=0)  # squared error of the encoder's mean; 0 with the `paper` process
    scale: float = Field(0.2, ge=0)  # likelihood of the encoder's scale; 0 with the `paper` process
    balance: float = Field(1.0, ge=0, le=1)  # 1: easy and hard windows count alike in the mean's loss; 0: as they are
    contrast: float = Field(0.0, ge=0)  # lambda of (16)
    margin: float = Field(2.0, gt=1)  # errors under another context count up to so many times the right one's
    alignment: float = Field(0.0, ge=0)  # weight of (14) between traffic and context tokens
    level_power: float = Field(
        0.5, ge=0, le=1
    )  # weight of a cell ~ unit^(2 power): 0 relative errors alike, 1 squared error of traffic

    @model_validator(mode="after")
    def _something_is_learned(self) -> LossConfig:
        if not any((self.denoising, self.mean, self.scale, self.contrast, self.alignment)):
            raise ValueError("all weights are 0: nothing would be learned")
        return self


class FinetuneConfig(Config):
    """Where a run begins and what of it stays as it is (§3.4.2)."""

    start: str = Field(min_length=1)  # name of shipped weights, or a folder with weights
    scheme: Scheme = "partial"
    rank: int = Field(4, ge=1)  # of the adapters


class Recipe(Config):
    """A training run."""

    name: str
    seed: int = Field(0, ge=0)
    data: DataConfig
    model: ModelConfig
    process: Literal["residual", "paper"] = "residual"
    optimiser: OptimiserConfig
    temperature: float = Field(1.0, gt=0)  # widens the members' residuals: found with benchmarks/calibration.py
    loss: LossConfig = LossConfig()
    masks: MaskConfig = MaskConfig()
    context: ContextDraw | None = None  # None: users, POI and residents are not read
    finetune: FinetuneConfig | None = None  # None: random weights
    augment: AugmentConfig = AugmentConfig()
    windows: dict[str, PositiveFloat] = Field(
        default_factory=lambda: {"64x4x4": 1.0}, min_length=1
    )  # time x y x x -> how often, relative

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, raw: Any) -> Any:
        """`model = "tiny"` or `model = {preset = "tiny", dropout = 0.2}`."""
        if isinstance(raw, dict) and "model" in raw:
            model = raw["model"]
            if isinstance(model, str):
                model = {"preset": model}
            if isinstance(model, dict) and "preset" in model:
                if not isinstance(model["preset"], str):
                    raise ValueError(f"model.preset is a name, not {model['preset']!r}")
                rest = {key: value for key, value in model.items() if key != "preset"}
                raw = {**raw, "model": {**ModelConfig.preset(model["preset"]).model_dump(), **rest}}
        return raw

    @model_validator(mode="after")
    def _context_is_read(self) -> Recipe:
        if (self.context is not None) != self.model.context:
            raise ValueError("context says what is known in training, model.context that it is read: both or neither")
        if self.context is None and (self.loss.contrast or self.loss.alignment):
            raise ValueError("loss.contrast and loss.alignment align traffic with its context: add [context]")
        return self

    @model_validator(mode="after")
    def _windows_are_shapes(self) -> Recipe:
        for text in self.windows:
            window_shape(text)
        return self


def window_shape(text: str) -> tuple[int, int, int]:
    """'64x4x4' as (time, y, x). Raises `ValueError`."""
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r} is not a window: write time x y x x, for example '64x4x4'")
    return int(parts[0]), int(parts[1]), int(parts[2])


def load_recipe(path: str | Path) -> Recipe:
    """A recipe from its file. Raises `ConfigError`."""
    return load_toml(path, Recipe)


__all__ = ["ConfigError", "DataConfig", "LossConfig", "OptimiserConfig", "Recipe", "load_recipe", "window_shape"]
