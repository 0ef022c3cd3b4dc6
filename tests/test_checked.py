"""The checks of shapes and types are on while the tests run: what breaks a signature is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError

from fomo.forecasters.tiles import Tiling
from fomo.units import total_unit
from fomo.windows.batch import Batch
from fomo.windows.scale import compress


def test_a_function_refuses_an_array_of_another_kind() -> None:
    assert compress(torch.zeros(2)).shape == (2,)
    with pytest.raises(TypeCheckError, match="compress"):
        compress(torch.zeros(2, dtype=torch.int64))


def test_a_method_refuses_an_array_of_fewer_axes() -> None:
    tiling = Tiling((4, 4), (4, 4), ((0, 0),), torch.ones(1, 4, 4))
    with pytest.raises(TypeCheckError, match="cut"):
        tiling.cut(torch.zeros(4))


def test_a_dataclass_refuses_arrays_of_two_sizes(random_batch: Callable[..., Batch]) -> None:
    batch = random_batch()
    with pytest.raises(TypeCheckError):
        replace(batch, week=batch.week[:, 1:])


def test_a_function_without_arrays_refuses_another_type() -> None:
    assert total_unit("GB per hour", 60) == "GB"
    with pytest.raises(BeartypeCallHintViolation, match="total_unit"):
        total_unit(5, 60)  # type: ignore[arg-type]
