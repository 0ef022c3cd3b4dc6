"""`fomo export-onnx`: the graphs say what PyTorch says, and their description is all that a driver needs.

The export runs in a process of its own: tracing does not go through the run-time checker of shapes.
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fomo
from fomo.app.service import onnx_export
from fomo.app.service.onnx_graphs import ENCODED, MEANINGS, NOISED, tensors_of
from fomo.diffusion.members import members_of
from fomo.forecasters.fomo import FoMo
from fomo.forecasters.noise import member_noise
from fomo.model.checkpoint import FORMAT_VERSION, Checkpoint, save_checkpoint
from fomo.model.transformer import Condition
from fomo.seeds import seed_of
from fomo.windows.batch import Batch, collate
from fomo.windows.observation import observe
from fomo.windows.regression import SMALLEST_UNIT
from fomo.windows.task import Task, forecast_task
from small import Run, usual_users

TIME, Y, X = 24, 5, 4  # rows are no whole tokens
MISSING = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed: pip install 'fomo[onnx]'")

Arrays = dict[str, np.ndarray]


class Graphs:
    """The exported files, run by onnxruntime on one core."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.folder = folder
        self.description = json.loads((folder / "network.json").read_text(encoding="utf-8"))
        self.sessions = {
            name: onnxruntime.InferenceSession(folder / f"{name}.onnx", options) for name in ("encoder", "denoiser")
        }

    def run(self, name: str, given: Arrays) -> Arrays:
        """A graph on what it takes of `given`; a context that is not there is 0."""
        session, rows = self.sessions[name], len(given["batch_state"]) if name == "encoder" else 0
        kinds = {"tensor(float)": np.float32, "tensor(bool)": np.bool_}
        blank = {
            port.name: np.zeros([rows, *port.shape[1:]], kinds[port.type])
            for port in session.get_inputs()
            if "context" in port.name
        }
        known = blank | given
        outputs = [port.name for port in session.get_outputs()]
        found = session.run(outputs, {port.name: known[port.name] for port in session.get_inputs()})
        return dict(zip(outputs, found, strict=True))

    def encode(self, batch: Batch) -> Arrays:
        """What the encoder says, and the kept tokens of what the denoiser takes of it."""
        given = {name: tensor.numpy() for name, tensor in tensors_of(batch, observe(batch)).items()}
        found = self.run("encoder", given)
        kept = np.flatnonzero(found["attend"].any(0))
        some = {name: found[name][..., kept, :] for name in ("projected", "adapt", "turn")}
        return found | some | {"attend": found["attend"][:, kept], "kept": kept, "hidden": batch.hidden.numpy()}

    def denoise(self, noised: np.ndarray, label: float, encoded: Arrays) -> np.ndarray:
        """F of noised values."""
        given = {"noised": noised.astype(np.float32), "noise_label": np.float32([label]), **encoded}
        return self.run("denoiser", given)["network_output"]


@pytest.fixture(scope="session")
def telling_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small network, all moved away from the zeros and ones that they begin with."""
    from fomo.model.transformer import MaskedDiffusionTransformer, ModelConfig

    torch.manual_seed(0)
    config = ModelConfig(width=32, encoder_layers=1, denoiser_layers=2, heads=2, context=True)
    network = MaskedDiffusionTransformer(config)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn_like(weight)
    checkpoint = Checkpoint(
        format_version=FORMAT_VERSION, name="telling", model=config, temperature=0.9, **usual_users()
    )
    return save_checkpoint(tmp_path_factory.mktemp("onnx") / "telling", network, checkpoint)


@pytest.fixture(scope="session")
def graphs(telling_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    out = tmp_path_factory.mktemp("onnx") / "graphs"
    command = [sys.executable, "-m", "fomo.app.cli", "export-onnx", str(telling_weights), "--out", str(out)]
    command += ["--window", str(TIME), str(Y), str(X)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.splitlines()[-1] == f"wrote {out / 'network.json'}"
    return Graphs(out)


@pytest.fixture(scope="session")
def model(telling_weights: Path) -> FoMo:
    return fomo.load(telling_weights)


def close(found: np.ndarray, right: np.ndarray) -> None:
    """Equal to 1e-4, and where values are small to a hundredth of that of the largest."""
    assert found.shape == right.shape
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-6 * float(np.abs(right).max()))


@torch.inference_mode()
def encoded_by_torch(model: FoMo, batch: Batch) -> Condition:
    return model.network.encode(batch, observe(batch))


@needs_onnx
def test_the_description_names_what_the_graphs_take_and_give(graphs: Graphs) -> None:
    about = graphs.description
    assert about["format_version"] == onnx_export.FORMAT_VERSION
    assert about["window"] == {"time": TIME, "y": Y, "x": X}
    assert (about["token"], about["temperature"]) == ({"time": 4, "y": 2, "x": 2}, 0.9)
    for name, session in graphs.sessions.items():
        part = about[name]
        content = (graphs.folder / part["file"]).read_bytes()
        assert part["sha256"] == hashlib.sha256(content).hexdigest()
        for said, ports in ((part["inputs"], session.get_inputs()), (part["outputs"], session.get_outputs())):
            assert [(port["name"], port["shape"]) for port in said] == [(port.name, port.shape) for port in ports]
            assert all(f"tensor({port['type']})" == real.type for port, real in zip(said, ports, strict=True))
            free = {size for port in said for size in port["shape"] if isinstance(size, str)}
            assert free <= {"batch", "member", "kept"} and "batch" in free
    assert [port["name"] for port in about["encoder"]["outputs"]] == [port.name for port in ENCODED]
    assert [port["name"] for port in about["denoiser"]["inputs"]] == [port.name for port in NOISED]


@needs_onnx
def test_every_input_of_the_encoder_is_explained_and_none_holds_what_is_hidden(graphs: Graphs) -> None:
    names = {port["name"] for port in graphs.description["encoder"]["inputs"]}
    assert names == set(MEANINGS)
    assert "batch_share" not in names


@needs_onnx
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_the_encoder_says_what_pytorch_says(
    rows: int, graphs: Graphs, model: FoMo, random_batch: Callable[..., Batch], with_context: Callable[..., Batch]
) -> None:
    batch = with_context(random_batch(rows, rows, TIME, Y, X, missing=0.2, padding=rows % 2), rows)
    right, found = encoded_by_torch(model, batch), graphs.encode(batch)
    assert np.array_equal(found["kept"], right.kept)
    close(found["relative_mean"], right.mean.numpy())
    close(found["log_scale"], right.log_scale.numpy())
    close(found["projected"], right.projected[:, 0].numpy())
    close(found["adapt"], torch.cat(right.adapt, -1)[:, 0].numpy())
    close(found["turn"], right.turn.numpy())


@needs_onnx
def test_without_context_its_inputs_are_zero(graphs: Graphs, model: FoMo, random_batch: Callable[..., Batch]) -> None:
    batch = random_batch(5, 2, TIME, Y, X)
    assert batch.context is None
    close(graphs.encode(batch)["relative_mean"], encoded_by_torch(model, batch).mean.numpy())


@needs_onnx
@pytest.mark.parametrize(("rows", "members"), [(1, 1), (2, 3), (4, 2)])
def test_the_denoiser_says_what_pytorch_says(
    rows: int,
    members: int,
    graphs: Graphs,
    model: FoMo,
    random_batch: Callable[..., Batch],
    with_context: Callable[..., Batch],
) -> None:
    batch = with_context(random_batch(rows + 10, rows, TIME, Y, X, missing=0.2), rows)
    noised = torch.randn(rows, members, TIME, Y, X, generator=torch.Generator().manual_seed(rows))
    encoded, condition = graphs.encode(batch), encoded_by_torch(model, batch)
    for label in (0.6, -0.1):
        with torch.inference_mode():
            right = model.network.denoise(noised, torch.tensor([label]), condition).numpy()
        assert right.std() > 0.01
        close(graphs.denoise(noised.numpy(), label, encoded), right)


@needs_onnx
def test_a_window_of_which_nothing_is_asked_does_not_disturb_the_others(
    graphs: Graphs, model: FoMo, random_batch: Callable[..., Batch]
) -> None:
    batch = random_batch(6, 2, TIME, Y, X)
    batch.state[1][batch.state[1] == 2] = 1
    noised = torch.randn(2, 2, TIME, Y, X, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        right = model.network.denoise(noised, torch.zeros(1), encoded_by_torch(model, batch))[0].numpy()
    close(graphs.denoise(noised.numpy(), 0.0, graphs.encode(batch))[0], right)


@needs_onnx
def test_a_whole_forecast_through_the_graphs(graphs: Graphs, model: FoMo) -> None:
    """Three steps of `angle` in numpy, from the same noise."""
    city = fomo.synthetic_city("one", Y, X, days=10, seed=4)
    city["traffic"][-20:-14, 1:3, 2] = np.nan
    city["covered"][4, 3] = False
    city["traffic"][:, 4, 3] = np.nan
    tasks = [forecast_task(city.isel(time=slice(0, end)), 8, TIME - 8) for end in (9 * 24, 9 * 24 + 5)]
    right = model.forecast_tasks(tasks, 6, seed=3)
    found = drive(graphs, model, tasks, 6, seed=3)
    for mine, theirs in zip(found, right, strict=True):
        values = theirs.samples.values
        assert np.isfinite(values).any() and np.nanmax(values.std(0)) > 0
        np.testing.assert_allclose(mine, values, rtol=1e-4, atol=1e-5 * float(np.nanmax(values)))


def drive(graphs: Graphs, model: FoMo, tasks: list[Task], samples: int, seed: int) -> list[np.ndarray]:
    """Traffic of the members (sample, time, y, x) of each task."""
    references = [model.reference(task.window) if task.reference is None else task.reference for task in tasks]
    batch = collate([model.window(task, scale) for task, scale in zip(tasks, references, strict=True)])
    observation, encoded, about = observe(batch), graphs.encode(batch), graphs.description
    noise = [member_noise((TIME, Y, X), samples, seed_of(seed, task.place), True).numpy() for task in tasks]
    levels: list[dict[str, Any]] = about["sampling"]["levels"]
    angles = [math.atan(sigma) for sigma in (*(level["sigma"] for level in levels), about["sampling"]["last_sigma"])]
    y = np.stack(noise).astype(np.float64)
    for level, (here, there) in zip(levels, pairwise(angles), strict=True):
        x = y / math.cos(here)
        clean = level["c_skip"] * x + level["c_out"] * graphs.denoise(level["c_in"] * x, level["c_noise"], encoded)
        y = y + (here - there) * (clean - y * math.cos(here)) / math.sin(here)
    half = (y[:, 0::2] - y[:, 1::2]) / 2
    y[:, 0::2], y[:, 1::2] = half, -half
    unit = observation.unit[:, None]
    mean = ((torch.from_numpy(encoded["relative_mean"]) + 1) * unit).clamp(min=0)
    scale = about["temperature"] * torch.from_numpy(encoded["log_scale"]).exp() * unit
    share = members_of(torch.from_numpy(y).float(), mean, scale).numpy()
    share[(share < SMALLEST_UNIT / 2) & observation.silent[:, None, None].numpy()] = 0.0
    return [
        np.where(task.asked, members * scale, task.window["traffic"].values)
        for task, members, scale in zip(tasks, share, references, strict=True)
    ]


class Test_what_cannot_be_exported_is_said_in_one_line:
    def check(self, run: Run, *arguments: object, says: str) -> None:
        said = run("export-onnx", *arguments)
        assert said.code == 2
        assert said.err.startswith("fomo: ") and said.err.count("\n") == 1, said.err
        assert says in said.err

    def test_packages_that_are_not_there(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(onnx_export, "NEEDED", ("onnx", "onnx_of_another_world"))
        self.check(run, "--out", tmp_path / "o", says="onnx_of_another_world not installed")
        self.check(run, "--out", tmp_path / "o", says="pip install 'fomo[onnx]'")
        assert not (tmp_path / "o").exists()

    def test_a_window_without_a_past(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(onnx_export, "NEEDED", ())
        self.check(run, "--window", 1, 8, 8, "--out", tmp_path / "o", says="from 2 1 1 to 256 64 64")

    def test_a_window_of_one_token(
        self, run: Run, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(onnx_export, "NEEDED", ())
        self.check(run, weights, "--window", 4, 2, 2, "--out", tmp_path / "o", says="is a single token")

    def test_a_file_in_place_of_the_folder(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(onnx_export, "NEEDED", ())
        (tmp_path / "o").write_text("a thesis", encoding="utf-8")
        self.check(run, "--out", tmp_path / "o", says="is a file: name a folder")
        assert (tmp_path / "o").read_text(encoding="utf-8") == "a thesis"

    def test_weights_that_are_not_there(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(onnx_export, "NEEDED", ())
        self.check(run, "fomo-huge", "--out", tmp_path / "o", says="neither a folder nor shipped weights")
