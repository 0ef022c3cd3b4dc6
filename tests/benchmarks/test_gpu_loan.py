"""A loan of a device, without one: jobs side by side, one of them alone for a while, and time that is up."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

JOB = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, {benchmarks!r})
from gpu_place import Place
name, out = sys.argv[2], Path(sys.argv[sys.argv.index("--out") + 1])
place = Place(out, out, "cpu", name)
if name == "measures":
    while not (out / "counted").exists():
        time.sleep(0.01)
    with place.alone():
        time.sleep(0.1)
        before = (out / "counted").read_text()
        time.sleep(0.3)
        after = (out / "counted").read_text()
    (out / "measures.json").write_text(json.dumps([before, after]))
elif name == "counts":
    until = time.monotonic() + 60
    count = 0
    while time.monotonic() < until and not (count > 20 and (out / "measures.json").exists()):
        count += 1
        part = out / "part"
        part.write_text(str(count))
        part.replace(out / "counted")
        time.sleep(0.01)
    (out / "counts.json").write_text(str(count))
elif name == "fails":
    sys.exit(3)
else:
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def gpu_loan(benchmark_module) -> ModuleType:
    return benchmark_module("gpu_loan")


def loan_of(gpu_loan: ModuleType, folder: Path, names: list[str], minutes: float):
    script = folder / "job.py"
    script.write_text(JOB.format(benchmarks=str(Path(gpu_loan.__file__).parent)))
    place = gpu_loan.Place(folder, folder, "cpu", "")
    return gpu_loan.Loan(names, place, minutes, 2, 1, script=str(script), all_cores=("measures",))


def test_a_job_that_measures_has_the_machine_for_itself_and_the_others_go_on(gpu_loan, tmp_path, capsys):
    loan_of(gpu_loan, tmp_path, ["counts", "measures", "fails"], 1.0).run()
    before, after = json.loads((tmp_path / "measures.json").read_text())
    assert before == after  # stopped meanwhile
    assert int((tmp_path / "counts.json").read_text()) > int(after)  # and went on
    said = capsys.readouterr().out
    assert "counts: done" in said and "measures: done" in said and "fails: failed (3)" in said


def test_when_time_is_up_jobs_are_ended_and_those_left_are_named(gpu_loan, tmp_path, capsys):
    loan = loan_of(gpu_loan, tmp_path, ["sleeps", "sleeps on", "too late"], 0.02)
    loan.run()
    assert all(one.process.wait(10) != 0 for one in loan.running) and len(loan.running) == 2
    said = capsys.readouterr().out
    assert "sleeps: ended, time is up" in said and "too late: not begun" in said


def test_the_report_says_what_larger_presets_gain_over_the_shipped_one(
    gpu_loan, benchmark_module, tmp_path, monkeypatch, capsys
):
    report = benchmark_module("gpu_report")
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/unseen-regions.csv").write_text(
        "forecaster,city,task,context,rmse,crps\n"
        + "".join(f"FoMo,a,short,{mode},0.02,0.01\n" for mode in ("none", "past", "full"))
    )
    (tmp_path / "results/scaling.csv").write_text(
        "size,share,parameters,values,tokens,task,family,metric,value,low,high,device,seconds\n"
        "0.1M,1,104112,10,10,short,all,rmse,0.02,0.01,0.03,cpu,7\n"
        "5m,1,5000000,10,10,short,all,rmse,9,9,9,GPU,7\n"
    )
    loan = tmp_path / "first"
    loan.mkdir()
    rows = [
        {"family": "a", "task": "short", "context": mode, "rmse": 0.03, "crps": 0.01, "mae": 0.01, "within_90": 0.9}
        for mode in ("none", "past", "full")
    ]
    (loan / "preset-5m.json").write_text(json.dumps({"preset": "5m", "rows": rows}))
    one = {"batch": 8, "compiled": True, "attention": report.CHOSEN, "step_seconds": 0.5, "tokens_per_second": 1e4}
    pace = {"preset": "5m", "training": [one | {"matrix_rate": 100.0, "operations": 10.0, "kernels_seconds": 0.25}]}
    (loan / "pace-5m.json").write_text(json.dumps(pace | {"forecasting": []}))
    scores = [
        {"task": task, "family": "a", "metric": metric, "value": 0.5, "low": 0.4, "high": 0.6}
        for task in ("short", "long", "generate")
        for metric in ("rmse", "crps", "jsd")
    ]
    law = {"size": "5m", "share": 1, "parameters": 5, "values": 10, "tokens": 10, "device": "GPU", "seconds": 1}
    (loan / "law-5m-1.json").write_text(json.dumps(law | {"scores": scores}))
    report.report([loan])
    text = (tmp_path / "results/gpu.md").read_text()
    assert "| first | 5m | 8 | yes | 500 | 10 | 20 | 40 |" in text
    assert "| FoMo 5m, context full | 0.0300 (1.50) | 1.500 | 1.000 |" in text
    lines = (tmp_path / "results/scaling.csv").read_text().splitlines()
    assert sum(",cpu," in line for line in lines) == 1
    assert sum(",GPU," in line for line in lines) == 18  # over all families, too
    assert not any(",9,9,9," in line for line in lines)
    assert "no law is fitted" in capsys.readouterr().out  # of one run
    for parameters in (5, 10, 20, 40):
        for share, values in ((1, 10), (0.5, 5)):
            more = {"parameters": parameters, "share": share, "values": values, "scores": scores}
            (loan / f"law-{parameters}-{share}.json").write_text(json.dumps(law | more))
    report.report([loan])
    assert "| short | RMSE |" in (tmp_path / "results/scaling-gpu.md").read_text()
    assert (tmp_path / "docs/figures/scaling-gpu.png").stat().st_size > 10_000
    with pytest.raises(SystemExit, match="has no record of a job"):
        report.report([tmp_path / "results"])
