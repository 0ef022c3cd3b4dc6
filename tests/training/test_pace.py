from __future__ import annotations

import json
import math

import pytest
import torch
import torch.utils.benchmark

from fomo.training.loop import run
from fomo.training.pace import Pace, matrix_rate


def test_the_pace_is_what_is_done_over_what_could_be():
    found = Pace(rate=1e9, operations=3 * 10**8, devices=2).numbers(tokens=64.0, steps_per_second=2.0)
    assert found == {"tokens_per_second": 128.0, "peak_share": pytest.approx(0.3)}
    assert set(Pace(1e9, None).numbers(64.0, 2.0)) == {"tokens_per_second"}


def test_operations_grow_with_the_batch_and_counting_changes_nothing(tiny_training):
    one, two = tiny_training(batch=2), tiny_training(batch=4)
    assert 1.6 < two.operations() / one.operations() < 2.4
    one.advance()
    one.operations()
    other = tiny_training(batch=2)
    other.advance()
    assert one.advance() == other.advance()


def test_the_rate_is_that_of_a_product_timed_by_hand():
    rate = matrix_rate("cpu")
    square = torch.ones(1024, 1024)
    times = torch.utils.benchmark.Timer("a @ a", globals={"a": square}).blocked_autorange(min_run_time=0.1).times
    assert 0.2 < rate / (2 * 1024**3 / min(times)) < 5  # other work runs beside the tests


def test_every_line_of_the_log_says_how_fast_it_went(tiny_training, tmp_path):
    training = tiny_training(steps=4, batch=2)
    run(training, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 4
    for line in lines:
        expected = line["cells"] / training.recipe.model.token_shape.cells * line["steps_per_second"]
        assert line["tokens_per_second"] == pytest.approx(expected, rel=1e-3)
        assert 0 <= line["peak_share"] < 1.5 and math.isfinite(line["peak_share"])
    assert max(line["peak_share"] for line in lines) > 0
