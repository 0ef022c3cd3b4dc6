"""Do traffic and context of one block lie closer after alignment than before? On regions that training never saw.

    python benchmarks/alignment.py --data DIR      # weights of fomo finetune recipes/ablation-*.toml

Tokens of observed blocks of fold 0 with all context known. Numbers to results/alignment.md, the picture of the tokens
to docs/figures/alignment.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from fomo.diffusion.contrast import alignment_loss, directions, similarity
from fomo.evaluation.context_figures import embedding_figure
from fomo.evaluation.figure_style import save_figure
from fomo.evaluation.questions import family_questions
from fomo.files import whole_file
from fomo.forecasters.fomo import load
from fomo.sources import data_folder, read_family
from fomo.windows.batch import collate
from fomo.windows.observation import observe

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = ("uomo_shandong", "uomo_nanchang", "uomo_nanjing")
RUNS = {
    "no alignment": "ablation-partial",
    "contrastive term (16), lambda 0.1": "ablation-contrast",
    "contrastive term (16), lambda 1": "ablation-contrast-1",
    "contrastive term (16), lambda 10": "ablation-contrast-10",
    "InfoNCE (14), weight 0.1": "ablation-alignment",
}
WINDOWS, DRAWN = 24, 80


@torch.inference_mode()
def tokens(weights: Path, data: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of traffic and context, (block, width)."""
    model = load(weights)
    parts = []
    for family in FAMILIES:
        questions = family_questions(read_family(data, family), "short", context="full")
        some = questions[:: -(-len(questions) // WINDOWS)]
        batch = collate([model.window(question.task, question.reference) for question in some])
        parts.append(model.network.aligned_tokens(batch, observe(batch)))
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    options = parser.parse_args()
    lines = ["| training | InfoNCE (14) | cosine of one block | minus that of two blocks |", "|---" * 4 + "|"]
    panels: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, run in RUNS.items():
        traffic, context = tokens(ROOT / f"runs/{run}/weights", data_folder(options.data))
        found = alignment_loss(traffic, context)
        own = float(similarity(traffic, context).diagonal().mean())
        lines.append(f"| {name} | {found.loss:.3f} | {own:.3f} | {found.score:.3f} |")
        some = slice(None, None, max(1, len(traffic) // DRAWN))
        if run not in ("ablation-contrast", "ablation-contrast-10"):
            panels[name] = directions(traffic[some]).numpy(), directions(context[some]).numpy()
    lines.append(f"\n{len(traffic)} blocks; a context that says nothing has InfoNCE {np.log(len(traffic)):.3f}.")
    with whole_file(ROOT / "results/alignment.md") as fresh:
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    save_figure(embedding_figure(panels), ROOT / "docs/figures/alignment.png")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
