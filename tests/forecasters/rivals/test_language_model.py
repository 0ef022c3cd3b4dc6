"""The frozen layers that Time-LLM and TEMPO stand on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import rearrange

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.language_model import (
    VARIABLE,
    Backbone,
    LanguageModelError,
    LowRank,
    default_folder,
    load_backbone,
    random_backbone,
    some_cells,
)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A LLaMA of three layers in a folder, and the model itself."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2
    )
    return _saved(transformers.LlamaForCausalLM, config, tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A GPT-2 of three layers, with dropout in training."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=3, n_head=2, n_positions=32)
    return _saved(transformers.GPT2LMHeadModel, config, tmp_path_factory.mktemp("models") / "tiny-gpt2")


def _saved(kind: Any, config: Any, folder: Path) -> tuple[Path, Any]:
    torch.manual_seed(0)
    model = kind(config).eval()
    model.save_pretrained(folder)
    return folder, model


@pytest.fixture(params=["random", "tiny_llama", "tiny_gpt2"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """Two layers of each kind."""
    torch.manual_seed(0)
    if request.param == "random":
        return random_backbone(layers=2, width=16, heads=2, words=30)
    folder, _ = request.getfixturevalue(request.param)
    return load_backbone(folder, 2)


def test_without_a_folder_the_layers_are_random_and_it_says_so() -> None:
    backbone = load_backbone(None, 2)
    assert backbone.described == "no language weights: random frozen layers"
    assert backbone.words.shape == (1000, 128) and backbone.width == 128


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_gpt2"])
def test_the_layers_of_a_folder_are_the_first_of_its_model(model: str, request: pytest.FixtureRequest) -> None:
    folder, whole = request.getfixturevalue(model)
    backbone = load_backbone(folder, 2)
    assert backbone.described == f"first 2 layers of {folder.name}"
    assert torch.equal(backbone.words, whole.get_input_embeddings().weight)
    words = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    after_two = whole(words, output_hidden_states=True).hidden_states[2]
    norm = whole.model.norm if model == "tiny_llama" else whole.transformer.ln_f
    assert torch.allclose(backbone(backbone.words[words]), norm(after_two), atol=1e-6)


#: Names of a LLaMA's weights in a .gguf file, and in the transformers library.
GGUF_NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


def test_a_gguf_file_gives_the_same_layers(tiny_llama: tuple[Path, Any], tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    gguf: Any = pytest.importorskip("gguf")
    folder, model = tiny_llama
    weights = {name.removeprefix("model."): weight.numpy() for name, weight in model.state_dict().items()}
    file = gguf.GGUFWriter(tmp_path / "small.gguf", "llama")
    file.add_block_count(3)
    file.add_context_length(2048)
    file.add_embedding_length(16)
    file.add_feed_forward_length(32)
    file.add_head_count(2)
    file.add_head_count_kv(2)
    file.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    file.add_rope_freq_base(10_000.0)
    file.add_vocab_size(50)
    file.add_tensor("token_embd.weight", weights["embed_tokens.weight"])
    file.add_tensor("output_norm.weight", weights["norm.weight"])
    for layer in range(3):
        for there, here in GGUF_NAMES.items():
            weight = weights[f"layers.{layer}.{here}.weight"]
            if there in ("attn_q", "attn_k"):  # the format has the halves of the rotated pairs side by side
                weight = rearrange(weight, "(h two d) i -> (h d two) i", h=2, two=2)
            file.add_tensor(f"blk.{layer}.{there}.weight", weight)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    backbone = load_backbone(tmp_path, 2)
    assert backbone.described == "first 2 layers of small"
    tokens = torch.randn(2, 6, 16)
    assert torch.allclose(backbone(tokens), load_backbone(folder, 2)(tokens), atol=1e-6)


def test_a_token_reads_only_those_before_it(backbone: Backbone) -> None:
    tokens = torch.randn(2, 6, 16)
    changed = tokens.clone()
    changed[:, 3] += torch.randn(2, 16)
    before, after = backbone(tokens), backbone(changed)
    assert torch.allclose(before[:, :3], after[:, :3], atol=1e-6)
    assert not torch.isclose(before[:, 3:], after[:, 3:], atol=1e-6).all(-1).any()


def test_nothing_is_learned_but_the_way_to_it(backbone: Backbone) -> None:
    tokens = torch.randn(2, 6, 16, requires_grad=True)
    backbone.train()
    backbone(tokens).square().mean().backward()
    assert tokens.grad is not None and tokens.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert not any(part.training for part in backbone.decoder.modules())


def test_adapting_frees_the_norms_and_adds_changes_that_are_none_at_birth(backbone: Backbone) -> None:
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    tokens = torch.randn(2, 6, 16)
    before, frozen = backbone(tokens), dict(backbone.named_parameters())
    backbone.adapt(rank=3)
    assert torch.equal(backbone(tokens), before)
    free = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    norms = [parameter for name, parameter in frozen.items() if parameter.requires_grad]
    assert norms and all(parameter.shape == (16,) for parameter in norms)
    weights = [p for name, p in frozen.items() if p.ndim == 2 and "wpe" not in name]
    changes = [parameter for parameter in free if parameter.ndim == 2]
    assert len(free) == len(norms) + len(changes) and len(changes) == 2 * len(weights)
    assert sum(change.numel() for change in changes) == sum(3 * sum(weight.shape) for weight in weights)


def test_a_low_rank_change_is_the_product_of_its_two_parts() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 4)
    changed = LowRank(layer, rank=2)
    torch.nn.init.normal_(changed.up.weight)
    x = torch.randn(3, 5)
    weight = layer.weight + changed.up.weight @ changed.down.weight
    assert torch.allclose(changed(x), x @ weight.T + layer.bias, atol=1e-6)


def test_a_folder_that_holds_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LanguageModelError, match="no language model to read"):
        load_backbone(tmp_path, 2)


def test_more_layers_than_the_model_has_are_refused(tiny_llama: tuple[Path, Any]) -> None:
    with pytest.raises(LanguageModelError, match=r"the model in .* has 3"):
        load_backbone(tiny_llama[0], 4)


def test_without_the_library_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'fomo\[rivals\]'"):
        load_backbone(tmp_path, 2)


def test_the_environment_names_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/models/llama")
    assert default_folder() == Path("/models/llama")
    monkeypatch.delenv(VARIABLE)
    assert default_folder() is None


def test_the_cells_of_a_step_are_cells_of_the_batch_with_something_asked(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    few, truth = some_cells(inputs, target, 10_000, torch.Generator().manual_seed(0))
    asked = inputs.asked.any(1)
    assert few.value.shape == (int(asked.sum()), 64, 1, 1)
    assert few.asked.flatten(1).any(1).all()
    hidden = torch.where(inputs.asked, target, 0.0)
    assert torch.isclose(torch.where(few.asked, truth, 0.0).sum(), hidden.sum(), rtol=1e-4)
    # The first of them is, in every tensor, one cell of one window.
    found = [
        (b, y, x)
        for b, y, x in asked.nonzero().tolist()
        if torch.equal(target[b, :, y, x], truth[0, :, 0, 0])
        and torch.equal(inputs.channels[b, :, :, y, x], few.channels[0, :, :, 0, 0])
        and torch.equal(inputs.static[b, :, y, x], few.static[0, :, 0, 0])
        and inputs.step_hours[b] == few.step_hours[0]
    ]
    assert len(found) == 1


def test_a_step_takes_no_more_cells_than_it_may(windows: tuple[Inputs, torch.Tensor]) -> None:
    few, truth = some_cells(*windows, 5, torch.Generator().manual_seed(0))
    assert few.value.shape == truth.shape == (5, 64, 1, 1)
    other, _ = some_cells(*windows, 5, torch.Generator().manual_seed(1))
    assert not torch.equal(few.level, other.level)
