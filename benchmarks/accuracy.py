"""Every accuracy table of the README, from weights and data: one table a call, rows and figure written with it.

    python benchmarks/accuracy.py unseen-regions --data DIR
    python benchmarks/accuracy.py next-week --data DIR          # needs runs/next-week, see TABLES
    python benchmarks/accuracy.py readme                        # puts results/*.md between the README's markers

Rows go to results/NAME.csv, the README's part to results/NAME.md, the figure to docs/figures/NAME.png.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl
import torch

from fomo.app.service.evaluation import evaluate
from fomo.evaluation.charts import table_figure
from fomo.evaluation.figure_style import save_figure
from fomo.evaluation.questions import TaskName
from fomo.evaluation.rows import Row
from fomo.evaluation.tables import data_frame, markdown_columns, write_rows
from fomo.files import whole_file
from fomo.forecast import CONTEXT_MODES
from fomo.windows.split import Area
from fomo.windows.task import CONTEXT_LAYERS, ContextMode

#: Which rules stand beside FoMo: all, those that use users, none.
Rules = Literal["all", "users", "none"]
ROOT = Path(__file__).resolve().parent.parent
UOMO = ("uomo_shandong", "uomo_nanchang", "uomo_nanjing")
FORECASTS: tuple[TaskName, ...] = ("short", "long")
GENERATED: TaskName = "generate"


@dataclass(frozen=True)
class Part:
    """Some cells of a table: one family and task with one set of weights. `name` is FoMo's name in the table."""

    family: str
    task: TaskName
    weights: str = "fomo-tiny"
    next_week: bool = False
    past_week: bool | None = None
    name: str = "FoMo"
    rules: Rules = "all"
    context: ContextMode = "none"
    layers: tuple[str, ...] = CONTEXT_LAYERS
    area: Area | None = None
    hindcasts: bool = True


#: With hindcasts of the city's past and without: what is added to FoMo's name, and which rules stand beside it.
ALONE = ", network alone"
BOTH: tuple[tuple[str, Rules], ...] = (("", "all"), (ALONE, "none"))


def unseen_regions() -> list[Part]:
    """Fold 0: regions that training never saw, by what is known of their surroundings."""
    modes: dict[ContextMode, Rules] = {"none": "all", "past": "none", "full": "users"}
    return [
        Part(family, task, name=f"FoMo, context {context}", context=context, rules=rules)
        for task in FORECASTS
        for family in UOMO
        for context, rules in modes.items()
    ]


#: What is known of cells that are generated: heading, mode and layers.
KNOWN: dict[str, tuple[ContextMode, tuple[str, ...]]] = {
    "nothing": ("none", ()),
    "POI, residents": ("past", ("poi", "residents")),
    "users": ("full", ("users",)),
    "all": ("full", CONTEXT_LAYERS),
}
#: A district of nanchang_grid that training never saw: [data.held_back_areas] of the recipes.
DISTRICT: Area = (4, 9, 14, 20)


def generation() -> list[Part]:
    """Cells without history: the middle of unseen regions, and a district of Nanchang, by what is known of them."""
    places = [(family, None) for family in UOMO] + [("nanchang_grid", DISTRICT)]
    return [
        Part(
            family, "generate", name=f"FoMo, {known} known", context=context, layers=layers, area=area,
            rules="all" if known == "all" else "none",
        )
        for family, area in places
        for known, (context, layers) in KNOWN.items()
    ]  # fmt: skip


#: Weights of recipes/NAME.toml, as many steps each, and how the table calls them.
ABLATIONS = {
    "ablation-partial": "frozen as in the paper, no alignment",
    "ablation-contrast": "with the contrastive term (16), lambda 0.1",
    "ablation-contrast-1": "with the contrastive term (16), lambda 1",
    "ablation-contrast-10": "with the contrastive term (16), lambda 10",
    "ablation-alignment": "with InfoNCE (14), weight 0.1",
    "ablation-adapters": "adapters beside",
    "ablation-full": "everything trained",
}


def ablation() -> list[Part]:
    """Table 5: layers withheld from the same weights, alignment and frozen parts of other trainings."""
    weights = str(ROOT / "runs/ablation-partial/weights")
    withheld: dict[str, tuple[ContextMode, tuple[str, ...]]] = {
        "without users": ("past", ("poi", "residents")),
        "without POI": ("full", ("users", "residents")),
        "without both": ("none", ()),
    }
    parts = []
    for task in (*FORECASTS, GENERATED):
        for family in UOMO:
            for run, name in ABLATIONS.items():
                folder = str(ROOT / f"runs/{run}/weights")
                parts.append(Part(family, task, folder, name=f"FoMo, {name}", context="full", rules="none"))
            for name, (context, layers) in withheld.items():
                parts.append(
                    Part(family, task, weights, name=f"FoMo, {name}", context=context, layers=layers, rules="none")
                )
    return parts


def next_week() -> list[Part]:
    """Week two of the regions whose week one is known; weights of `fomo train recipes/next-week.toml`."""
    weights = str(ROOT / "runs/next-week/weights")
    parts = []
    for task in FORECASTS:
        for family in UOMO[1:]:
            parts.append(Part(family, task, weights, True, True, "FoMo, past week known"))
            parts.append(
                Part(family, task, weights, True, True, "FoMo, past week known" + ALONE, rules="none", hindcasts=False)
            )
            parts.append(Part(family, task, weights, True, False, "FoMo, past week not known", rules="none"))
    return parts


def cities_in_time() -> list[Part]:
    """The last fifth of the time of whole cities."""
    cities = ("mobile_nanjing", "jinan", "milan_20x20", "mobile_shanghai")
    return [
        Part(city, task, name="FoMo" + name, rules=rules, hindcasts=not name)
        for task in FORECASTS
        for city in cities
        for name, rules in BOTH
    ]


def never_seen_cities() -> list[Part]:
    """The same for cities left out of training: weights of `fomo train recipes/without-NAME.toml`."""
    without = {"mobile_nanjing": "mobile-nanjing", "jinan": "jinan", "milan_20x20": "milan"}
    parts = []
    for task in FORECASTS:
        for city, name in without.items():
            unseen = str(ROOT / f"runs/without-{name}/weights")
            seen = str(ROOT / "runs/compare-default/weights")  # as many steps, on all cities
            for how, rules in BOTH:
                told: dict[str, Any] = {"rules": rules, "hindcasts": not how}
                parts.append(Part(city, task, unseen, name="FoMo, city never seen" + how, **told))
            for how, _ in BOTH:
                parts.append(Part(city, task, seen, name="FoMo, city seen" + how, rules="none", hindcasts=not how))
    return parts


def parametrisations() -> list[Part]:
    """The paper's parametrisation and the default: the same network, data, seed and steps."""
    runs = {"FoMo, default": "compare-default", "FoMo, paper": "compare-paper"}
    return [
        Part(
            family,
            task,
            str(ROOT / f"runs/{run}/weights"),
            name=name,
            rules="all" if name == "FoMo, default" else "none",
        )
        for task in FORECASTS
        for family in UOMO
        for name, run in runs.items()
    ]


TABLES: dict[str, Callable[[], list[Part]]] = {
    "unseen-regions": unseen_regions,
    "generation": generation,
    "ablation": ablation,
    "next-week": next_week,
    "cities-in-time": cities_in_time,
    "never-seen-cities": never_seen_cities,
    "parametrisations": parametrisations,
}

#: Scores of a table's cells: of forecasts, of generated cells.
ERRORS = (("rmse", "mae"), ("rmse", "mae", "jsd"))
#: Tables whose members' CRPS and coverage stay in results/NAME.csv: too many rows to read.
WITHOUT_MEMBERS = ("ablation",)


def make_table(name: str, data: Path | None, samples: int, chosen: Callable[[Part], bool]) -> list[Row]:
    """Score parts of a table and write rows, Markdown and figure; those that are not chosen keep their rows."""
    rows: list[Row] = []
    parts = [part for part in TABLES[name]() if chosen(part)]
    for part in parts:
        found = evaluate(
            data, part.family, part.task, weights=part.weights, samples=samples,
            past_week=part.past_week, next_week=part.next_week, device="cpu",
            context=part.context, layers=part.layers, area=part.area, hindcasts=part.hindcasts,
        )  # fmt: skip
        first, *rules = found.rows
        kept = {"all": rules, "users": [rule for rule in rules if "per user" in rule.forecaster], "none": []}
        rows += [replace(first, forecaster=part.name), *kept[part.rules]]
        print(f"{part.family} {part.task}: {part.name} rmse {first.rmse} crps {first.crps}", flush=True)
    if len(parts) < len(TABLES[name]()):
        rows = in_order(name, [*rows, *kept_rows(ROOT / f"results/{name}.csv", rows)])
    write_rows(rows, ROOT / f"results/{name}.csv")
    with whole_file(ROOT / f"results/{name}.md") as fresh:
        ahead, made = ([row for row in rows if (row.task == GENERATED) == which] for which in (False, True))
        tables = [markdown_columns(some, ERRORS[some[0].task == GENERATED]) for some in (ahead, made) if some]
        tables += [] if name in WITHOUT_MEMBERS else [members_markdown(rows)]
        fresh.write_text("\n".join(tables), encoding="utf-8")
    save_figure(table_figure(rows, highlight="FoMo"), ROOT / f"docs/figures/{name}.png")
    return rows


def kept_rows(path: Path, scored: list[Row]) -> list[Row]:
    """What a table has beside the rows that were scored now."""
    if not path.exists():
        return []
    now = {(row.city, row.task, row.forecaster) for row in scored}
    text = {field.name for field in fields(Row) if field.type == "str"}
    rows = pl.read_csv(path, schema_overrides=data_frame([]).schema).iter_rows(named=True)
    found = [Row(**{key: value or "" if key in text else value for key, value in row.items()}) for row in rows]
    return [row for row in found if (row.city, row.task, row.forecaster) not in now]


def in_order(name: str, rows: list[Row]) -> list[Row]:
    """The rows by task, family and forecaster as the table has them; rules behind."""
    parts = TABLES[name]()
    places = list(dict.fromkeys((part.task, part.family) for part in parts))
    names = list(dict.fromkeys(part.name for part in parts))

    def place(row: Row) -> tuple[int, int]:
        known = row.forecaster in names
        task = cast(TaskName, row.task)
        return places.index((task, row.city)), names.index(row.forecaster) if known else len(names)

    return sorted(rows, key=place)


def members_markdown(rows: list[Row]) -> str:
    """What FoMo's members are worth: CRPS and coverage, beside the best CRPS of rules that need no more to be known."""
    fomo = [row for row in rows if row.forecaster.startswith("FoMo")]
    heading = ("forecaster", "column", "CRPS", "95 % of CRPS", "best rule's CRPS", "within 50 %", "within 90 %")
    lines = ["| " + " | ".join(heading) + " |", "|---" * len(heading) + "|"]
    for row in fomo:
        rivals = [
            other.crps
            for other in rows
            if (other.city, other.task) == (row.city, row.task)
            and other.past_week == row.past_week
            and CONTEXT_MODES.index(other.context) <= CONTEXT_MODES.index(row.context)
            and not other.forecaster.startswith("FoMo")
        ]
        best = min((crps for crps in rivals if crps is not None), default=None)
        interval = f"{score(row.crps_low)} to {score(row.crps_high)}"
        cells = [row.forecaster, f"{row.city} {row.task}", score(row.crps), interval, score(best)]
        cells += [share(row.coverage50), share(row.coverage90)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def score(value: float | None) -> str:
    """A scaled error."""
    return "–" if value is None else f"{value:.4f}"


def share(value: float | None) -> str:
    """A coverage."""
    return "–" if value is None else f"{100 * value:.0f} %"


def fill_readme() -> None:
    """Put results/NAME.md between `<!-- results: NAME -->` and `<!-- /results -->`."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"<!-- results: (\S+) -->", text):
        body = (ROOT / f"results/{name}.md").read_text(encoding="utf-8")
        pattern = rf"(<!-- results: {name} -->\n).*?(<!-- /results -->)"
        text = re.sub(pattern, lambda m, body=body: m[1] + body + m[2], text, flags=re.DOTALL)
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=[*TABLES, "readme"])
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--tasks", nargs="+", default=["short", "long", "generate"], help="the others keep their rows")
    parser.add_argument("--families", nargs="+", default=[], help="only these; the others keep their rows")
    parser.add_argument("--only", nargs="+", default=[], help="only those with one of these in their names, likewise")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.table == "readme":
        fill_readme()
    else:

        def chosen(part: Part) -> bool:
            return (
                part.task in options.tasks
                and (not options.families or part.family in options.families)
                and (not options.only or any(word in part.name for word in options.only))
            )

        make_table(options.table, options.data, options.samples, chosen)


if __name__ == "__main__":
    main()
