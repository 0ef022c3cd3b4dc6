from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fomo.model import checkpoint as room
from fomo.model.checkpoint import (
    DESCRIPTION,
    FORMAT_VERSION,
    WEIGHTS,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
    weights_hash,
)
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.windows.context import USERS_ROWS
from fomo.windows.rhythm import GENERAL
from fomo.windows.shapes import SHAPES


def describe(network: MaskedDiffusionTransformer, **changes: Any) -> Checkpoint:
    return Checkpoint(
        **{
            "format_version": FORMAT_VERSION,
            "name": "small",
            "model": network.config,
            "references": {"uomo_nanjing": 123.5},
            "temperature": 1.25,
            "trained_on": ("uomo_nanjing/01",),
            "provenance": {"recipe": "tiny", "steps": 3},
        }
        | changes
    )


@pytest.fixture
def network(small_network) -> MaskedDiffusionTransformer:
    return small_network(seed=1)


@pytest.fixture
def saved(tmp_path, network) -> Path:
    return save_checkpoint(tmp_path / "weights", network, describe(network))


def holds(folder: Path, network: MaskedDiffusionTransformer) -> bool:
    found, _ = load_checkpoint(folder)
    return all(torch.equal(value, network.state_dict()[key]) for key, value in found.state_dict().items())


def rewrite(folder: Path, **changes: Any) -> None:
    raw = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps({**raw, **changes}))


def test_weights_and_description_come_back_exactly(saved, network):
    found, description = load_checkpoint(saved)
    assert holds(saved, network)
    assert description == describe(network)
    assert not found.training
    assert sorted(path.name for path in saved.iterdir()) == [DESCRIPTION, WEIGHTS]
    assert [path.name for path in saved.parent.iterdir()] == ["weights"]  # nothing is left beside


def test_half_precision_is_half_as_large_and_nearly_the_same(tmp_path, saved, network):
    half = save_checkpoint(tmp_path / "half", network, describe(network), half=True)
    assert (half / WEIGHTS).stat().st_size < 0.55 * (saved / WEIGHTS).stat().st_size
    found, _ = load_checkpoint(half)
    for key, value in found.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, network.state_dict()[key], rtol=1e-3, atol=1e-6)


def test_the_hash_of_the_weights_changes_with_the_weights_only(tmp_path, saved, small_network, network):
    other = save_checkpoint(tmp_path / "other", small_network(seed=2), describe(network))
    renamed = save_checkpoint(tmp_path / "renamed", network, describe(network, name="renamed"))
    assert len(weights_hash(saved)) == 16
    assert weights_hash(saved) == weights_hash(renamed) != weights_hash(other)


def test_divided_weights_come_back_whole_and_none_of_their_files_may_be_missing(tmp_path, network):
    divided = save_checkpoint(tmp_path / "divided", network, describe(network), largest=40_000)
    names = sorted(path.name for path in divided.glob("model*"))
    assert len(names) > 2 and names[0] == f"model-1-of-{len(names)}.safetensors"
    assert holds(divided, network)
    before = weights_hash(divided)
    assert before != weights_hash(save_checkpoint(tmp_path / "whole", network, describe(network)))
    again = save_checkpoint(divided, network, describe(network), largest=40_000)
    assert weights_hash(again) == before
    (divided / names[-1]).unlink()
    with pytest.raises(CheckpointError, match=f"holds no weights that are whole: {names[-1]} is missing"):
        load_checkpoint(divided)


def test_saving_again_replaces_the_weights(saved, small_network):
    other = small_network(seed=2)
    save_checkpoint(saved, other, describe(other, name="second"))
    assert holds(saved, other)
    assert load_checkpoint(saved)[1].name == "second"
    assert [path.name for path in saved.parent.iterdir()] == ["weights"]


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.999])
def test_truncated_weights_are_refused(saved, kept):
    whole = (saved / WEIGHTS).read_bytes()
    (saved / WEIGHTS).write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is truncated.*fetch or train"):
        load_checkpoint(saved)


def test_a_truncated_description_is_refused(saved):
    text = (saved / DESCRIPTION).read_text()
    (saved / DESCRIPTION).write_text(text[: len(text) // 2])
    with pytest.raises(CheckpointError, match=r"checkpoint\.json is not readable.*fetch or train"):
        load_checkpoint(saved)


def test_weights_of_the_version_before_context_are_read(saved, network):
    rewrite(saved, format_version=4)
    assert holds(saved, network)
    assert load_checkpoint(saved)[1].users_pattern("uomo_nanjing") is None


def test_weights_of_version_5_are_read_where_they_read_no_users(saved, network):
    rewrite(saved, format_version=5, users_spreads={})
    assert holds(saved, network)
    rewrite(saved, format_version=5, users_spreads={"a": 0.5})
    with pytest.raises(CheckpointError, match=r"format version 5 and reads users.*train again"):
        load_checkpoint(saved)


@pytest.mark.parametrize("version", [0, 3, FORMAT_VERSION + 1, None, "1"])
def test_another_version_is_refused_with_a_remedy(saved, version):
    rewrite(saved, format_version=version)
    with pytest.raises(CheckpointError, match=rf"version {version};.*reads version {FORMAT_VERSION}.*train again"):
        load_checkpoint(saved)


@pytest.mark.parametrize("raw", ["[]", "3", '"text"', "null"])
def test_a_description_that_is_no_table_is_refused(saved, raw):
    (saved / DESCRIPTION).write_text(raw)
    with pytest.raises(CheckpointError, match="version None"):
        load_checkpoint(saved)


def test_a_misspelt_key_is_refused_by_name(saved):
    rewrite(saved, temperatur=1.0)
    with pytest.raises(CheckpointError, match=r"checkpoint\.json.*temperatur: no such key \(misspelt\?\)"):
        load_checkpoint(saved)


def test_a_misspelt_key_of_the_network_is_refused_by_name(saved, network):
    rewrite(saved, model={**network.config.model_dump(), "widht": 32})
    with pytest.raises(CheckpointError, match=r"model\.widht: no such key"):
        load_checkpoint(saved)


def test_weights_of_another_size_are_refused(saved, network):
    rewrite(saved, model={**network.config.model_dump(), "width": 64})
    with pytest.raises(CheckpointError, match="does not fit its description"):
        load_checkpoint(saved)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused_by_name(saved, network, number):
    """A forecast from them was NaN, all of it, and nothing was said."""
    tensors = dict(network.state_dict())
    tensors["decoder.bias"][1] = number
    save_file(tensors, saved / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"weights 'decoder\.bias' hold NaN or infinite.*fetch or train"):
        load_checkpoint(saved)


def test_everyone_who_may_read_the_description_may_read_the_weights(tmp_path, network, saved):
    divided = save_checkpoint(tmp_path / "divided", network, describe(network), largest=40_000)
    for folder in (saved, divided):
        assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


def test_a_file_beside_the_weights_that_is_named_like_a_part_of_them_is_passed_over(saved, network):
    for name in ("model-1-of-2x.safetensors", "model-a-of-2.safetensors", "model-1-of-.safetensors"):
        (saved / name).touch()
    assert holds(saved, network)


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_a_folder_in_the_place_of_a_file_is_no_weights(saved, name):
    (saved / name).unlink()
    (saved / name).mkdir()
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_checkpoint(saved)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"format_version": ' + "9" * 5000 + "}"])
def test_a_description_that_json_itself_stumbles_over_is_refused(saved, text):
    (saved / DESCRIPTION).write_text(text)
    with pytest.raises(CheckpointError, match=r"checkpoint\.json is not readable.*fetch or train"):
        load_checkpoint(saved)


def test_weights_with_a_tensor_missing_or_too_many_are_refused(saved, network):
    tensors = dict(network.state_dict())
    removed = tensors.pop("decoder.bias")
    save_file(tensors, saved / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"decoder\.bias"):
        load_checkpoint(saved)
    save_file({**tensors, "decoder.bias": removed, "stowaway": torch.zeros(1)}, saved / WEIGHTS)
    with pytest.raises(CheckpointError, match="stowaway"):
        load_checkpoint(saved)


class Bomb:
    """An object whose pickle runs code when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_pickle_under_the_name_of_weights_is_refused_and_not_executed(saved, tmp_path, how):
    trace = tmp_path / "executed"
    if how == "pickle":
        (saved / WEIGHTS).write_bytes(pickle.dumps(Bomb(trace)))
    else:
        torch.save({"network": Bomb(trace)}, saved / WEIGHTS)
    with pytest.raises(CheckpointError, match="not safetensors"):
        load_checkpoint(saved)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace)))  # it would have gone off
    assert trace.exists()


@pytest.mark.parametrize("missing", [WEIGHTS, DESCRIPTION, "both"])
def test_a_folder_without_both_files_holds_no_weights(saved, missing):
    for name in (WEIGHTS, DESCRIPTION):
        if missing in (name, "both"):
            (saved / name).unlink()
    with pytest.raises(CheckpointError, match=r"holds no weights.*fomo train"):
        load_checkpoint(saved)


def test_a_folder_that_is_not_there_holds_no_weights(tmp_path):
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_checkpoint(tmp_path / "nowhere")


def test_a_full_disk_keeps_the_previous_weights_and_says_so(saved, network, small_network, monkeypatch):
    def full(tensors: Any, path: Path) -> None:
        Path(path).write_bytes(b"the first part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, "save_file", full)
    with pytest.raises(CheckpointError, match=r"No space left on device; what was there is kept"):
        save_checkpoint(saved, small_network(seed=2), describe(network))
    assert holds(saved, network)
    assert [path.name for path in saved.parent.iterdir()] == ["weights"]  # no half-written folder remains


def test_a_full_disk_before_the_first_weights_leaves_nothing(tmp_path, network, monkeypatch):
    monkeypatch.setattr(room, "save_file", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(CheckpointError, match="could not be written"):
        save_checkpoint(tmp_path / "weights", network, describe(network))
    assert list(tmp_path.iterdir()) == []


class Killed(BaseException):
    """Stands for the end of the process: nothing in the library may catch it."""


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_death_at_any_rename_leaves_the_old_weights_or_the_new(saved, network, small_network, monkeypatch, renames):
    rename, done = Path.rename, []

    def deadly(self: Path, target: Path) -> Path:
        if len(done) == renames:
            raise Killed
        done.append(target)
        return rename(self, target)

    other = small_network(seed=2)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", deadly)
        patch.setattr(room.shutil, "rmtree", lambda *_args, **_kwargs: None)  # a dead process tidies nothing
        if renames < 2:
            with pytest.raises(Killed):
                save_checkpoint(saved, other, describe(other))
        else:
            save_checkpoint(saved, other, describe(other))
    assert holds(saved, network if renames < 2 else other)
    save_checkpoint(saved, other, describe(other))  # and the next write works
    assert holds(saved, other)


# ---------------------------------------------------------------- what is usual in a week


def shapes_of(slots: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1 + SHAPES, slots)).astype(np.float32)


def usual(network: MaskedDiffusionTransformer, **changes: Any) -> Checkpoint:
    day = tuple(np.linspace(0.5, 1.5, 24).tolist())
    about = {
        "rhythms": {"a": day * 7, GENERAL: day[::-1] * 7},
        "shapes": {"a": shapes_of(168), GENERAL: shapes_of(168, 1)},
    }
    return describe(network, **(about | changes))


def test_the_pattern_of_a_family_comes_back_and_others_have_that_of_all(tmp_path, network):
    checkpoint = usual(network)
    _, found = load_checkpoint(save_checkpoint(tmp_path / "w", network, checkpoint))
    for family, name in (("a", "a"), ("elsewhere", GENERAL)):
        pattern = found.pattern(family)
        np.testing.assert_array_equal(pattern.curve, checkpoint.rhythms[name])
        np.testing.assert_array_equal(pattern.noise, checkpoint.shapes[name][0])
        np.testing.assert_array_equal(pattern.shapes, checkpoint.shapes[name][1:])
    assert "shapes" not in json.loads((tmp_path / "w" / DESCRIPTION).read_text())


def test_weights_that_know_no_week_take_all_cells_to_be_alike(network):
    pattern = describe(network).pattern("a")
    assert pattern.curve.tolist() == [1.0]
    assert not pattern.shapes.any()


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"a": shapes_of(168)},
        {"a": shapes_of(24), GENERAL: shapes_of(168)},
        {"a": -shapes_of(168), GENERAL: shapes_of(168)},
    ],
    ids=["none", "one missing", "other slots", "negative noise"],
)
def test_shapes_that_do_not_fit_their_rhythm_are_refused(tmp_path, network, shapes):
    folder = save_checkpoint(tmp_path / "w", network, usual(network, shapes=shapes))
    with pytest.raises(CheckpointError, match="do not fit its rhythm of 168 steps; fetch or train"):
        load_checkpoint(folder)


# ---------------------------------------------------------------- what is usual of users


def users_of(seed: int, slots: int = 168) -> np.ndarray:
    return np.random.default_rng(seed).random((USERS_ROWS, slots)).astype(np.float32)


def answer_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 1.0, (1 + SHAPES, SHAPES + 1)).astype(np.float32)


def with_users(network: MaskedDiffusionTransformer, **changes: Any) -> Checkpoint:
    about = {
        "users": {"a": users_of(0), GENERAL: users_of(1)},
        "users_rates": {"a": 2.5, GENERAL: 0.5},
        "users_variances": {"a": (0.4, 0.1), GENERAL: (0.9, 0.2)},
        "answers": {"a": answer_of(2), GENERAL: answer_of(3)},
        "users_references": {"a": 70.0},
    }
    return usual(network, **(about | changes))


def test_the_users_of_a_family_come_back_and_others_have_those_of_all(tmp_path, network):
    checkpoint = with_users(network)
    _, found = load_checkpoint(save_checkpoint(tmp_path / "w", network, checkpoint))
    for family, name, told in (("a", "a", (2.5, 0.4, 0.1)), ("elsewhere", GENERAL, (0.5, 0.9, 0.2))):
        pattern, rows = found.users_pattern(family), checkpoint.users[name]
        assert pattern is not None
        assert (pattern.rate, pattern.within, pattern.between) == told
        np.testing.assert_array_equal(pattern.answer.stored, checkpoint.answers[name])
        for half, part in ((rows[: USERS_ROWS // 2], pattern.users), (rows[USERS_ROWS // 2 :], pattern.per_user)):
            np.testing.assert_array_equal(part.curve, half[0])
            np.testing.assert_array_equal(part.noise, half[1])
            np.testing.assert_array_equal(part.shapes, half[2:])
        np.testing.assert_array_equal(pattern.stored, rows)
    assert found.users_references == {"a": 70.0}
    assert "users" not in json.loads((tmp_path / "w" / DESCRIPTION).read_text())


def test_a_network_that_reads_context_comes_back_with_its_modules(tmp_path, small_network):
    network = small_network(seed=1, context=True)
    saved = save_checkpoint(tmp_path / "w", network, with_users(network))
    assert holds(saved, network)
    assert load_checkpoint(saved)[0].context is not None


def test_weights_trained_without_users_have_no_pattern_of_them(network):
    assert usual(network).users_pattern("a") is None


def not_finite() -> np.ndarray:
    rows = users_of(0)
    rows[5, 3] = np.nan
    return rows


def negative(row: int) -> np.ndarray:
    rows = users_of(0)
    rows[row, 3] = -0.1
    return rows


@pytest.mark.parametrize(
    "changes",
    [
        {"users": {GENERAL: users_of(1)}},
        {"users_rates": {GENERAL: 0.5}},
        {"users_variances": {GENERAL: (0.5, 0.1)}},
        {"answers": {GENERAL: answer_of(1)}},
        {"answers": {"a": answer_of(0)[1:], GENERAL: answer_of(1)}},
        {"answers": {"a": -answer_of(0), GENERAL: answer_of(1)}},
        {"users": {"a": users_of(0)[:-1], GENERAL: users_of(1)}},
        {"users": {"a": users_of(0)[0], GENERAL: users_of(1)}},
        {"users": {"a": users_of(0)[:, :0], GENERAL: users_of(1)}},
        {"users": {"a": not_finite(), GENERAL: users_of(1)}},
        {"users": {"a": negative(0), GENERAL: users_of(1)}},
        {"users": {"a": negative(1), GENERAL: users_of(1)}},
        {"users": {"a": negative(USERS_ROWS // 2), GENERAL: users_of(1)}},
        {"users": {"a": negative(USERS_ROWS // 2 + 1), GENERAL: users_of(1)}},
    ],
    ids=[
        "no week", "no rate", "no variances", "no answer", "half an answer", "a negative share",
        "a row missing", "one row", "no hours", "not finite",
        "negative users", "negative noise", "negative rate", "negative noise of the rate",
    ],
)  # fmt: skip
def test_users_that_cannot_be_read_are_refused(tmp_path, network, changes):
    folder = save_checkpoint(tmp_path / "w", network, with_users(network, **changes))
    with pytest.raises(CheckpointError, match="what is stored of the users of 'a' cannot be read; fetch or train"):
        load_checkpoint(folder)
