"""The urban knowledge graph: relations by hand, and messages that only travel along them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from einops import rearrange

from fomo.forecasters.rivals.inputs import STATIC, Inputs
from fomo.forecasters.rivals.knowledge_graph import (
    CATEGORY_COUNT,
    GraphEmbedding,
    knowledge_graph,
    related_traffic,
    touching,
)
from fomo.windows.records import each_tensor


@pytest.fixture
def small(windows: tuple[Inputs, torch.Tensor]) -> Inputs:
    """One window of 2 x 3 cells, all covered, no POI known."""
    window = windows[0].rows(slice(0, 1))
    return replace(
        each_tensor(window, lambda _, part: part if part.ndim == 1 else part[..., :2, :3]),
        covered=torch.ones(1, 2, 3, dtype=torch.bool),
        level=torch.full((1, 2, 3), 1.5),
        own_level=torch.ones(1, 2, 3, dtype=torch.bool),
        static=torch.zeros(1, STATIC, 2, 3),
        static_known=torch.zeros(1, STATIC, 2, 3, dtype=torch.bool),
    )


def with_poi(inputs: Inputs, profiles: dict[int, list[float]]) -> Inputs:
    """Known POI of some cells: the first categories as given, the others 0."""
    static, known = inputs.static.clone(), inputs.static_known.clone()
    for cell, profile in profiles.items():
        place = divmod(cell, static.shape[-1])
        static[0, : len(profile), *place] = torch.tensor(profile)
        known[0, :CATEGORY_COUNT, *place] = True
    return replace(inputs, static=static, static_known=known)


def test_neighbours_of_a_grid_of_two_rows_by_hand() -> None:
    # 0 1 2
    # 3 4 5
    around = {0: [1, 3, 4], 1: [0, 2, 3, 4, 5], 2: [1, 4, 5], 3: [0, 1, 4], 4: [0, 1, 2, 3, 5], 5: [1, 2, 4]}
    found = touching(2, 3)
    assert {cell: found[cell].nonzero()[:, 0].tolist() for cell in range(6)} == around


def test_an_uncovered_cell_takes_part_in_no_relation(small: Inputs) -> None:
    inputs = with_poi(small, {0: [1.0, 2.0], 4: [1.0, 2.0], 5: [1.0, 2.0]})
    covered = inputs.covered.clone()
    covered[0, 1, 1] = False
    graph = knowledge_graph(replace(inputs, covered=covered))
    for relation in (graph.near, graph.similar):
        assert relation[0, 4].any().item() is False and relation[0, :, 4].any().item() is False
    assert not graph.contains[0, 4].any()
    assert graph.near[0, 0].nonzero()[:, 0].tolist() == [1, 3]
    assert graph.similar[0, 0].nonzero()[:, 0].tolist() == [5]


def test_similar_is_the_cosine_of_known_profiles_and_unknown_cells_have_none(small: Inputs) -> None:
    inputs = with_poi(small, {0: [3.0, 4.0], 1: [4.0, 3.0], 2: [4.0, -3.0], 3: []})
    graph = knowledge_graph(inputs)
    expected = torch.zeros(6, 6)
    expected[0, 1] = expected[1, 0] = 24 / 25
    torch.testing.assert_close(graph.similar[0], expected)
    assert graph.contains[0].nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]]


def test_profiles_are_compared_where_both_are_known(small: Inputs) -> None:
    inputs = with_poi(small, {0: [1.0, 2.0, 7.0], 1: [1.0, 2.0, 0.0]})
    known = inputs.static_known.clone()
    known[0, 2, 0, 1] = False
    graph = knowledge_graph(replace(inputs, static_known=known))
    assert graph.similar[0, 0, 1] == pytest.approx(1.0)
    assert knowledge_graph(inputs).similar[0, 0, 1] == 0


def test_the_numbers_of_unknown_categories_are_not_read(small: Inputs) -> None:
    torch.manual_seed(0)
    network = GraphEmbedding(8).eval()
    told = with_poi(small, {0: [5.0] * CATEGORY_COUNT})
    hidden = replace(told, static_known=small.static_known)
    assert torch.equal(network(hidden), network(small))
    assert not torch.allclose(network(told), network(small))


def test_one_layer_hears_its_neighbours_and_two_layers_hear_theirs(small: Inputs) -> None:
    level = small.level.clone()
    level[0, 0, 0] += 2.0
    other = replace(small, level=level)
    for layers, deaf in ((1, [2, 5]), (2, [])):
        torch.manual_seed(0)
        network = GraphEmbedding(8, layers).eval()
        change = rearrange(network(other) - network(small), "1 width y x -> (y x) width").abs().amax(1)
        assert (change < 1e-7).nonzero()[:, 0].tolist() == deaf


def test_messages_of_an_uncovered_cell_do_not_arrive(small: Inputs) -> None:
    covered = small.covered.clone()
    covered[0, 0, 0] = False
    first = replace(small, covered=covered)
    level = small.level.clone()
    level[0, 0, 0] += 2.0
    torch.manual_seed(0)
    network = GraphEmbedding(8).eval()
    found = network(first)
    assert torch.equal(found, network(replace(first, level=level)))
    assert (found[0, :, 0, 0] == 0).all() and found[0, :, 0, 1].abs().max() > 0


def test_cells_of_one_category_hear_each_other_across_the_grid(small: Inputs) -> None:
    # 0 and 2 do not touch and are not similar, but both contain the first category.
    inputs = with_poi(small, {0: [1.0, 9.0], 2: [1.0, 0.0, 9.0]})
    level = inputs.level.clone()
    level[0, 0, 2] += 2.0
    torch.manual_seed(0)
    network = GraphEmbedding(8, 2).eval()
    for layer in network.layers:
        torch.nn.init.zeros_(layer.from_near.weight)
    change = (network(replace(inputs, level=level)) - network(inputs))[0].abs().amax(0)
    assert change[0, 0] > 1e-6
    assert change[1, 1] == 0


def test_embeddings_do_not_depend_on_the_batch(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    torch.manual_seed(0)
    network = GraphEmbedding(16).eval()
    torch.testing.assert_close(network(inputs)[:2], network(inputs.rows(slice(0, 2))))
    assert network(inputs).shape == (6, 16, 4, 4)


def test_related_traffic_is_the_mean_of_what_near_and_similar_cells_carry(small: Inputs) -> None:
    inputs = with_poi(small, {0: [1.0, 2.0], 2: [1.0, 2.0]})
    observed = torch.ones_like(inputs.observed)
    observed[0, 0, 0, 1] = observed[0, 0, 0, 0] = False
    value = torch.arange(6.0).reshape(2, 3).expand(1, 64, 2, 3) * observed
    inputs = replace(inputs, value=value, observed=observed)
    found = related_traffic(inputs, knowledge_graph(inputs))
    # Cell 0 touches 1, 3 and 4, of which 1 is hidden at the first step; 2 resembles it.
    assert found[0, :2, :2, 0, 0].tolist() == [[3.5, pytest.approx(8 / 3)], [1.0, 1.0]]
    assert found[0, 2:, 0, 0, 0].tolist() == [2.0, 1.0]
    # Cell 2 resembles 0, which is hidden at the first step; cell 1 resembles nobody.
    assert found[0, 3, :2, 0, 2].tolist() == [0.0, 1.0]
    assert found[0, 2:, :, 0, 1].abs().max() == 0
