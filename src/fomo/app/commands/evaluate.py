"""`fomo evaluate`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from fomo.app.commands.console import alive, plain_table, show, working, wrote
from fomo.app.commands.options import DataFolder, Device, Figure, Samples, Seed, Weights


@dataclass(frozen=True)
class Evaluate:
    """Score weights and simple rules on what was held back.

    The test part is one fold of regions where a file has folds, and the last fifth of the time elsewhere. Errors are
    scaled to [0, 1]; their 95 % intervals resample regions or days.
    """

    city: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="A family of the data folder, or one region: family/region.",
            help_behavior_hint="(required without --list)",
        ),
    ] = None
    list: bool = False
    """Print every forecaster of the scoreboard: its kind, tasks, context, and what it was trained on."""
    data: DataFolder = None
    weights: Weights = "fomo-tiny"
    task: Literal["short", "long", "generate"] = "short"
    """48 steps to 16, 16 steps to 48, or cells without history."""
    context: Literal["none", "past", "full"] = "none"
    """What of users, POI and residents is known: nothing, what is known before the asked steps, users of them too."""
    layers: tuple[Literal["users", "poi", "residents"], ...] = ("users", "poi", "residents")
    """Show only these layers of the context."""
    forecasters: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME", help="Names of --list to ask beside the weights.", help_behavior_hint="(default: the rules)"
        ),
    ] = ()
    fits: Annotated[Path, arg(metavar="DIR", help="Where 'fomo scoreboard' keeps trained rivals.")] = Path(
        "runs/scoreboard/fits/fold-0"
    )
    samples: Samples = 20
    seed: Seed = 0
    fold: Annotated[
        int | None,
        arg(
            metavar="N",
            help="The fold of regions to test, where the file has folds.",
            help_behavior_hint="(default: 0)",
        ),
    ] = None
    next_week: bool = False
    """Test the second week of the regions that have one, in place of a fold."""
    past_week: bool = False
    """Give the same hours one week before; this is so anyway where there are no folds."""
    no_past_week: bool = False
    """Do not give them."""
    no_hindcasts: bool = False
    """Let the network alone answer, not weighed against hindcasts of the city's own past."""
    device: Device = "auto"
    json: Annotated[
        Path | None,
        arg(
            metavar="FILE",
            help="Write one row per forecaster (.json, .csv, .parquet or .md).",
            help_behavior_hint="(default: none)",
        ),
    ] = None
    figure: Figure = None

    def run(self) -> int:
        """Evaluate, print the table, write the rows."""
        if self.list:
            return _list()
        with working("reading weights and libraries"):
            from fomo.app.errors import UsageError
            from fomo.app.service.evaluation import evaluate
            from fomo.app.service.outputs import check_file, check_rows
            from fomo.evaluation.figures import save_figure, table_figure
            from fomo.evaluation.tables import terminal_table, write_rows

        if self.city is None:
            raise UsageError("--city NAME: say what to evaluate on, or --list the forecasters")
        if self.past_week and self.no_past_week:
            raise UsageError("--past-week and --no-past-week contradict each other")
        if self.json is not None:
            check_rows(self.json)
        if self.figure is not None:
            check_file(self.figure, (".png",))
        with alive(f"evaluating on {self.city}"):
            found = evaluate(
                self.data,
                self.city,
                self.task,
                weights=self.weights,
                context=self.context,
                layers=self.layers,
                samples=self.samples,
                seed=self.seed,
                past_week=True if self.past_week else False if self.no_past_week else None,
                next_week=self.next_week,
                fold=self.fold,
                device=self.device,
                progress=sys.stderr.isatty(),
                others=self.forecasters,
                fits=self.fits,
                hindcasts=not self.no_hindcasts,
            )
        show(terminal_table(found.rows))
        for remark in found.remarks:
            print(remark)
        if self.json is not None:
            wrote([write_rows(found.rows, self.json)])
        if self.figure is not None:
            wrote([save_figure(table_figure(found.rows, highlight="FoMo"), self.figure)])
        return 0


def _list() -> int:
    """The forecasters as a table."""
    from fomo.forecasters.registry import ENTRIES

    headings = ("forecaster", "kind", "tasks", "reads", "trained on", "remark")
    rows = [
        (each.name, each.kind, " ".join(each.tasks), " ".join(each.reads) or "traffic", each.trained_on, each.remark)
        for each in ENTRIES
    ]
    show(plain_table(headings, rows))
    return 0
