"""The urban knowledge graph of a window, and what a graph network makes of it.

keGAN, ADAPTIVE and KG-Diff describe the surroundings of base stations by a knowledge graph. Its entities here are what
a city has: cells and POI categories. Cells touch cells, cells resemble cells by their POI, cells contain categories.
The papers learn the embedding of one city's graph beforehand; a new city has a new graph, so here a relational graph
network (Schlichtkrull et al., "Modeling relational data with graph convolutional networks", ESWC 2018) computes it
from what is known of the cells and learns together with the rival.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fomo.forecasters.rivals.inputs import STATIC, Inputs
from fomo.windows.context import ALL_POI

#: POI categories come first among the static layers.
CATEGORY_COUNT = ALL_POI
#: Cells whose POI profiles have a smaller cosine are not called similar.
ALIKE = 0.9
#: Features of a cell: static layers, which of them are known, covered, level, own level.
FEATURES = 2 * STATIC + 3


@dataclass(frozen=True)
class KnowledgeGraph:
    """The relations of a window. Cells are counted row by row; what is not covered takes part in none."""

    near: Bool[Tensor, "batch cell cell"]  # one of the 8 cells around
    similar: Float[Tensor, "batch cell cell"]  # cosine of the POI profiles, 0 below `ALIKE`
    contains: Bool[Tensor, "batch cell category"]


def knowledge_graph(inputs: Inputs) -> KnowledgeGraph:
    """The graph as far as the city is known: cells of unknown POI only touch their neighbours."""
    height, width = inputs.covered.shape[1:]
    covered = rearrange(inputs.covered, "b y x -> b (y x)")
    pair = covered[:, :, None] & covered[:, None, :]
    known = rearrange(inputs.static_known[:, :CATEGORY_COUNT], "b c y x -> b (y x) c") & covered[..., None]
    profile = rearrange(inputs.static[:, :CATEGORY_COUNT], "b c y x -> b (y x) c") * known
    return KnowledgeGraph(
        near=touching(height, width).to(covered.device) & pair,
        similar=similarity(profile, known),
        contains=(profile > 0) & known,
    )


def touching(height: int, width: int) -> Bool[Tensor, "cell cell"]:
    """Which cells of a grid share a side or a corner."""
    row = repeat(torch.arange(height), "y -> (y x)", x=width)
    column = repeat(torch.arange(width), "x -> (y x)", y=height)
    far = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())
    return far == 1


def similarity(
    profile: Float[Tensor, "batch cell category"], known: Bool[Tensor, "batch cell category"]
) -> Float[Tensor, "batch cell cell"]:
    """Cosine of the profiles over the categories that both cells know, where it reaches `ALIKE`; not with itself."""
    both = known.to(profile.dtype)
    product = profile @ profile.mT
    length = profile.square() @ both.mT  # of a cell's profile, over what the other one knows
    cosine = product / (length * length.mT).sqrt().clamp(min=1e-6)
    other = ~torch.eye(profile.shape[1], dtype=torch.bool, device=profile.device)
    return torch.where((cosine >= ALIKE) & other, cosine, 0.0)


class RelationalLayer(nn.Module):
    """One round of messages: every entity hears the mean of those it is related to, one weight per relation."""

    def __init__(self, width: int) -> None:
        """`width`: of cells and of categories."""
        super().__init__()
        self.cell_norm, self.category_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.cell_itself, self.category_itself = nn.Linear(width, width), nn.Linear(width, width)
        self.from_near, self.from_similar, self.from_category, self.from_cell = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )

    def forward(
        self,
        cells: Float[Tensor, "batch cell width"],
        categories: Float[Tensor, "batch category width"],
        graph: KnowledgeGraph,
    ) -> tuple[Float[Tensor, "batch cell width"], Float[Tensor, "batch category width"]]:
        """Cells and categories after the messages."""
        cell, category = self.cell_norm(cells), self.category_norm(categories)
        heard = (
            self.cell_itself(cell)
            + self.from_near(mean_of(cell, graph.near))
            + self.from_similar(mean_of(cell, graph.similar))
            + self.from_category(mean_of(category, graph.contains))
        )
        spread = self.category_itself(category) + self.from_cell(mean_of(cell, graph.contains.mT))
        return cells + nn.functional.gelu(heard), categories + nn.functional.gelu(spread)


def mean_of(
    sender: Float[Tensor, "batch sender width"],
    related: Bool[Tensor, "batch receiver sender"] | Float[Tensor, "batch receiver sender"],
) -> Float[Tensor, "batch receiver width"]:
    """Of each receiver's senders, weighted; 0 where it has none."""
    weight = related.to(sender.dtype)
    return weight @ sender / weight.sum(-1, keepdim=True).clamp(min=1e-6)


#: Channels of `related_traffic`.
RELATED = 4


def related_traffic(inputs: Inputs, graph: KnowledgeGraph) -> Float[Tensor, "batch channel time y x"]:
    """What the related cells carry: observed values and whether there are any, of near cells and of similar ones."""
    value = rearrange(inputs.value, "b t y x -> b (y x) t")
    observed = rearrange(inputs.observed, "b t y x -> b (y x) t").to(value.dtype)
    heard = []
    for related in (graph.near.to(value.dtype), graph.similar):
        weight = related @ observed
        heard += [related @ value / weight.clamp(min=1e-6), (weight > 0).to(value.dtype)]
    return rearrange(torch.stack(heard, 1), "b c (y x) t -> b c t y x", y=inputs.value.shape[2])


class GraphEmbedding(nn.Module):
    """What a cell is in its city: an embedding of everything static around it."""

    def __init__(self, width: int, layers: int = 2) -> None:
        """`layers`: rounds of messages, so how many relations away a cell is heard."""
        super().__init__()
        self.embed = nn.Linear(FEATURES, width)
        self.categories = nn.Parameter(0.1 * torch.randn(CATEGORY_COUNT, width))
        self.layers = nn.ModuleList(RelationalLayer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, inputs: Inputs) -> Float[Tensor, "batch width y x"]:
        """Embeddings of the cells, 0 where not covered."""
        graph = knowledge_graph(inputs)
        cells = self.embed(cell_features(inputs))
        categories = repeat(self.categories, "category width -> b category width", b=len(cells))
        for layer in self.layers:
            cells, categories = layer(cells, categories, graph)
        found = rearrange(self.norm(cells), "b (y x) width -> b width y x", y=inputs.covered.shape[1])
        return found * inputs.covered[:, None]


def cell_features(inputs: Inputs) -> Float[Tensor, "batch cell feature"]:
    """All that is known of the cells and does not change with time. `FEATURES` of them."""
    known = inputs.static_known.to(inputs.static.dtype)
    fixed = torch.stack([inputs.covered.to(known), inputs.level, inputs.own_level.to(known)], 1)
    return rearrange(torch.cat([inputs.static * known, known, fixed], 1), "b c y x -> b (y x) c")


__all__ = [
    "FEATURES",
    "RELATED",
    "GraphEmbedding",
    "KnowledgeGraph",
    "cell_features",
    "knowledge_graph",
    "related_traffic",
]
