"""README.md and docs/ say nothing that does not run: their examples are executed, their links followed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import polars as pl
import pytest

import fomo
from fomo.app.cli import VERBS, main, verb_name
from fomo.app.service.outputs import forecast_frame
from fomo.app.service.scoreboard.plan import load_scoreboard
from fomo.app.service.scoreboard.search import TABLES
from fomo.city import SCHEMA_ATTRIBUTES
from fomo.forecast import make_forecast
from fomo.forecasters.registry import find_entries
from fomo.sources import SOURCES
from fomo.training.recipe import load_recipe
from small import save_random_weights, write_regions

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(ROOT.glob("docs/*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LOOP = re.compile(r"^for (\w+) in (.*); do\n(.*?)^done\n", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def names(documents: list[Path]) -> list[str]:
    return [str(document.relative_to(ROOT)) for document in documents]


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples speak of: made data, and small random weights in place of the shipped ones."""
    save_random_weights(tmp_path / "fomo-tiny", context=True)
    (tmp_path / "data").mkdir()
    write_regions(tmp_path / "data" / "uomo_shandong.npz", folds=[0, 1, 2])
    city = fomo.synthetic_city(height=3, width=4, days=9)
    traffic = city["traffic"].values
    rows = forecast_frame(make_forecast(traffic[None], traffic > -1, city, forecaster="itself"))
    cell = (4 * rows["row"] + rows["col"]).alias("cell")
    users = pl.Series(city["users"].values.ravel())
    counters = rows.select(cell, "time", traffic="mean", subscribers=users)
    last = pl.col("time") >= city["time"].values[-24].astype("datetime64[us]")
    for file, part in (("counters.csv", counters.filter(~last)), ("tomorrow.csv", counters.filter(last))):
        part.write_csv(tmp_path / file, datetime_format="%Y-%m-%dT%H:%M")
    sites = rows.select(cell, lon=9 + 0.0145 * rows["col"], lat=45 + 0.0095 * rows["row"]).unique()
    sites.write_csv(tmp_path / "sites.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_every_example_runs(document: Path, workshop: Path) -> None:
    namespace: dict[str, object] = {}
    for kind, text in BLOCK.findall(document.read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(text, str(document), "exec"), namespace)
        elif kind == "toml":
            (workshop / text.splitlines()[0].removeprefix("# ")).write_text(text, encoding="utf-8")
        elif kind == "sh":
            for line in unrolled(text):
                run_command(line.split("  #")[0])
        else:
            assert kind == "text", f"{document.name}: a block of {kind!r} is not checked by anything"


def unrolled(text: str) -> list[str]:
    """The lines of a block, those of a loop once for each of its words."""

    def repeated(loop: re.Match[str]) -> str:
        name, words, body = loop.groups()
        return "".join(body.replace(f"${name}", word) for word in words.split())

    return LOOP.sub(repeated, text).splitlines()


def run_command(line: str) -> None:
    """`fomo` runs, fine-tuning only two steps; of `make` the target, of `python` the script, of a long training and of
    the scoreboard the recipe must be there."""
    words = shlex.split(line)
    if words[:1] == ["fomo"] and words[1] in ("train", "finetune") and words[2].startswith("recipes/"):
        recipe = load_recipe(ROOT / words[2])
        assert recipe.name == Path(words[2]).stem and (recipe.finetune is not None) == (words[1] == "finetune"), line
    elif words[:2] == ["fomo", "scoreboard"] and words[2].startswith("recipes/"):
        asked = [word for word in words[3:] if not word.startswith("--")]
        if "--search" in words:
            varied = words[words.index("--search") + 1]
            assert varied in TABLES, line
            asked.remove(varied)
        find_entries(asked)
        load_scoreboard(ROOT / words[2])
    elif words[0] == "fomo":
        fewer = ["--steps", "2"] if words[1] == "finetune" else []
        assert main([*words[1:], *fewer]) == 0, line
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), line
    else:
        assert words[0] == "python" and (ROOT / words[1]).exists(), line


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_every_link_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}  # as GitHub's
    for target in LINK.findall(text):
        if target.startswith("#"):
            assert target[1:] in anchors, f"{document.name} leads to {target}, which is no heading of it"
        elif not target.startswith("https://"):
            assert (document.parent / target).exists(), f"{document.name} leads to {target}, which is not there"


def test_the_readme_lists_every_verb() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for verb in VERBS:
        assert f"`fomo {verb_name(verb)}" in readme


def test_the_data_page_names_every_attribute_and_every_form() -> None:
    page = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    for attribute in SCHEMA_ATTRIBUTES:
        assert f"`{attribute}`" in page
    for source in SOURCES:
        assert source.name in page, source.name


def test_the_readme_names_every_room() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for room in (ROOT / "src/fomo").iterdir():
        if room.is_dir() and (room / "__init__.py").exists():
            assert f"\n  {room.name}/" in readme, room.name


def test_every_table_of_the_readme_is_the_one_that_was_measured() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tables = re.findall(r"<!-- results: (\S+) -->\n(.*?)<!-- /results -->", readme, re.DOTALL)
    assert len(tables) == readme.count("<!-- results: ")
    for name, body in tables:
        measured = (ROOT / f"results/{name}.md").read_text(encoding="utf-8")
        assert body == measured, f"{name}: python benchmarks/accuracy.py readme"


def test_the_demo_figure_is_small() -> None:
    assert (ROOT / "docs/figures/demo.png").stat().st_size < 200_000, "make figures"
