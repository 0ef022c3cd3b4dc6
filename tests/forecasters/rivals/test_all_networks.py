"""What holds for the network of every trained rival: it learns, and reads what it may. Shown on small networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from made_networks import SMALL, answers, grown, losses, newborn

from fomo.forecasters.registry import ENTRIES
from fomo.forecasters.rivals.inputs import COVARIATES, Inputs, make_inputs
from fomo.windows.batch import Batch

Windows = tuple[Inputs, torch.Tensor]
every_rival = pytest.mark.parametrize("name", SMALL)

#: Two players, the judges first.
ADVERSARIAL = ("SpectraGAN", "keGAN", "ADAPTIVE")
#: Every cell is a series of its own.
ALONE = ("Time-LLM", "TEMPO", "PatchTST", "TimeGPT", "Lag-Llama")
LAST_WEEK, LAST_WEEK_KNOWN, USERS, USERS_KNOWN = (
    COVARIATES.index(name) for name in ("last week", "last week known", "users", "users known")
)


def test_there_is_a_small_network_of_every_trained_rival() -> None:
    classes = {entry.name: entry.where.split(":")[1] for entry in ENTRIES if entry.kind == "deep"}
    assert {name: type(newborn(name)).__name__ for name in SMALL} == classes


# How they learn.


@every_rival
def test_players_share_no_weight_and_miss_none(name: str) -> None:
    network = newborn(name)
    players = [[id(weight) for weight in player.parameters] for player in network.players()]
    assert len(players) == (2 if name in ADVERSARIAL else 1)
    of_all = [weight for weights in players for weight in weights]
    assert len(of_all) == len(set(of_all))
    assert set(of_all) == {id(weight) for weight in network.parameters() if weight.requires_grad}


@dataclass(frozen=True)
class Lesson:
    """Some steps on one batch, and the share of a player's loss that is left after them, at most."""

    name: str
    steps: int
    rate: float
    left: float
    descent: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW
    player: int = 0
    windows: int = 6


#: Lessons of the others, keGAN's critics and both of ADAPTIVE's players, are in their own files: what they learn, too.
LESSONS = [
    Lesson("SpectraGAN", 8, 5e-3, 0.95),
    Lesson("SpectraGAN", 8, 5e-3, 0.95, player=1),
    Lesson("keGAN", 12, 3e-3, 0.9, player=1),
    Lesson("CSDI", 20, 5e-3, 0.8, windows=3),
    Lesson("KG-Diff", 15, 5e-3, 0.8, windows=3),
    Lesson("Time-LLM", 25, 3e-3, 0.7, torch.optim.Adam),
    Lesson("TEMPO", 25, 3e-3, 0.7, torch.optim.Adam),
    Lesson("PatchTST", 15, 1.0, 0.9, torch.optim.SGD),
    Lesson("TimeGPT", 15, 1.0, 0.9, torch.optim.SGD),
    Lesson("Lag-Llama", 15, 0.02, 0.9, torch.optim.SGD),
    Lesson("UniST", 15, 1.0, 0.9, torch.optim.SGD),
]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: f"{lesson.name}-{lesson.player}")
def test_some_steps_on_one_batch_lower_the_loss_and_change_no_weight_of_others(
    lesson: Lesson, windows: Windows
) -> None:
    network = newborn(lesson.name)
    player = network.players()[lesson.player]
    own = {id(weight) for weight in player.parameters}
    others = [(weight, weight.detach().clone()) for weight in network.parameters() if id(weight) not in own]
    few = windows[0].rows(slice(0, lesson.windows)), windows[1][: lesson.windows]
    found = losses(player, few, lesson.steps, lesson.rate, lesson.descent)
    assert found[-1] < lesson.left * found[0]
    assert all(torch.equal(weight, before) for weight, before in others)


#: Nobody asks the categories of the graph for what its last round tells them.
UNASKED = {f"graph.layers.1.{part}" for part in ("category_itself.weight", "category_itself.bias", "from_cell.weight")}
#: Weights that do not learn, but for what is said here: a number added to all opinions, of real and of made windows,
#: leaves their difference as it is, and one added to all scores of an attention its weights.
IDLE = {
    "SpectraGAN": {"of_spectra.layers.2.bias", "of_series.layers.4.bias"},
    "keGAN": {"critics.0.layers.3.bias", "critics.1.layers.3.bias", "critics.2.layers.4.bias"} | UNASKED,
    "ADAPTIVE": {"discriminators.0.layers.4.bias", "discriminators.1.layers.4.bias"} | UNASKED,
    "KG-Diff": UNASKED,
    "Time-LLM": {"reprogram.key.bias"},
}


@every_rival
def test_every_weight_learns(name: str, windows: Windows) -> None:
    network = grown(name)
    learns = {}
    for player in network.players():
        network.zero_grad()
        player.loss(*windows, torch.Generator().manual_seed(0)).backward()
        learns.update({id(w): w.grad is not None and float(w.grad.abs().max()) > 1e-6 for w in player.parameters})
    idle = {part for part, weight in network.named_parameters() if weight.requires_grad and not learns[id(weight)]}
    assert idle == IDLE.get(name, set())


# What they read.

Usual = Callable[[str], torch.Tensor]


@pytest.fixture(scope="module")
def usual(windows: Windows) -> Usual:
    """What the network of a name answers to the windows as they are."""
    return cache(lambda name: answers(grown(name), windows[0]))


@every_rival
def test_what_is_asked_is_not_read(name: str, batch: Batch, windows: Windows, usual: Usual) -> None:
    inputs, _ = windows
    assert not inputs.value[~inputs.observed].any()
    other = replace(batch, share=torch.where(batch.hidden, batch.share + 1.0, batch.share))
    assert torch.equal(answers(grown(name), make_inputs(other)), usual(name))


#: Largest difference between answers of a batch and of another; of paths and of many steps rounding grows.
TOLERANCE = {"KG-Diff": 1e-4, "Lag-Llama": 1e-3}


@every_rival
def test_answers_do_not_depend_on_the_batch_and_members_differ(name: str, windows: Windows, usual: Usual) -> None:
    inputs, _ = windows
    network, drawn = grown(name), usual(name)
    assert drawn.shape == (6, 20 if network.gives_quantiles else 3, 64, 4, 4)
    some = answers(network, inputs.rows(slice(2, 4)), first=2)
    torch.testing.assert_close(some, drawn[2:4], atol=TOLERANCE.get(name, 1e-5), rtol=1e-5)
    if network.gives_quantiles:
        assert (drawn.diff(dim=1) >= 0).all()
        return
    asked = inputs.asked[:, None].expand_as(drawn)
    assert drawn[asked].std() > 0.1
    assert (drawn[:, 0] - drawn[:, 1]).abs()[inputs.asked].mean() > 0.05
    if name != "Lag-Llama":  # it draws what is asked and nothing else, and keeps it above zero, where members meet
        assert drawn.std(1).min() > 1e-4


@every_rival
def test_known_users_change_the_answers(name: str, windows: Windows) -> None:
    """Equal terms: what FoMo is told of the asked hours, a rival is told, too."""
    inputs, _ = windows
    network = grown(name)
    known = inputs.covariates.clone()
    known[:, USERS_KNOWN] = 1.0
    more = known.clone()
    more[:, USERS] += torch.linspace(-1, 1, 64)[:, None, None]
    before, after = (answers(network, replace(inputs, covariates=told)) for told in (known, more))
    change = ((after - before).abs().amax(1) * inputs.asked).flatten(1).amax(1)
    assert (change > 1e-4).all(), "of every window"


@every_rival
def test_windows_without_history_are_answered_from_context(name: str, windows: Windows) -> None:
    inputs, _ = windows
    network = grown(name)
    nothing = torch.zeros_like(inputs.observed)
    empty = replace(inputs, value=torch.zeros_like(inputs.value), observed=nothing, asked=~nothing)
    told = empty.covariates.clone()
    told[:, USERS, :, 0, 0] += 1.0
    before, after = (answers(network, each) for each in (empty, replace(empty, covariates=told)))
    assert before.isfinite().all()
    assert not torch.allclose(after[..., 0, 0], before[..., 0, 0], atol=1e-4)


@every_rival
def test_a_cell_knows_of_the_others_unless_every_cell_is_alone(name: str, windows: Windows, usual: Usual) -> None:
    inputs, _ = windows
    value = inputs.value.clone()
    value[:, :, 0, 0] += inputs.observed[:, :, 0, 0].to(value.dtype)
    change = (answers(grown(name), replace(inputs, value=value)) - usual(name)).abs()
    own = change[..., 0, 0].max()
    change[..., 0, 0] = 0
    assert own > 1e-3
    assert change.max() == 0 if name in ALONE else change.max() > 1e-4


def without_row(inputs: Inputs, row: int) -> Inputs:
    """The windows with a row of cells outside the grid."""
    covered, covariates = inputs.covered.clone(), inputs.covariates.clone()
    covered[:, row] = False
    covariates[:, [LAST_WEEK, LAST_WEEK_KNOWN], :, row] = 0
    observed = inputs.observed & covered[:, None]
    return replace(
        inputs,
        covered=covered,
        observed=observed,
        asked=inputs.asked & covered[:, None],
        value=inputs.value * observed,
        covariates=covariates,
    )


#: They read the map as it is: where there are no cells, as cells of which nothing is known.
READ_OUTSIDE = ("SpectraGAN", "UniST")


@pytest.mark.parametrize("name", [name for name in SMALL if name not in (*ALONE, *READ_OUTSIDE)])
def test_cells_outside_the_grid_are_not_looked_at(name: str, windows: Windows) -> None:
    inside = without_row(windows[0], 3)
    told = inside.covariates.clone()
    told[..., 3, :] += 1.0
    if name == "KG-Diff":  # its season counts values of last week: outside there are none
        told[:, [LAST_WEEK, LAST_WEEK_KNOWN]] = inside.covariates[:, [LAST_WEEK, LAST_WEEK_KNOWN]]
    level, static = inside.level.clone(), inside.static.clone()
    level[:, 3], static[:, :, 3] = level[:, 3] + 1.0, static[:, :, 3] + 1.0
    network = grown(name)
    before, after = (
        answers(network, each) for each in (inside, replace(inside, covariates=told, level=level, static=static))
    )
    torch.testing.assert_close(after[..., :3, :], before[..., :3, :], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in SMALL if name not in ALONE])
def test_windows_wholly_outside_the_grid_have_finite_answers(name: str, windows: Windows) -> None:
    inputs, _ = windows
    outside = replace(without_row(inputs, 3), covered=torch.zeros_like(inputs.covered))
    assert answers(grown(name), outside).isfinite().all()
