"""Everything that a short loan of a GPU should give, side by side: paces, presets trained and scored, the scaling law.

    python benchmarks/gpu_loan.py run --minutes 8 --data DIR --out loan
    python benchmarks/gpu_loan.py run preset-5m --data DIR --out loan    # only this one
    python benchmarks/gpu_loan.py report loan                            # keeps its records, makes the tables

Small networks leave a GPU idle while Python prepares the next operation, so several jobs run at once, each on cores of
its own; a job that measures time says so, and the others are stopped until it is done. Jobs are begun in the order of
`gpu_jobs.JOBS`; when time is up, those under way are ended, and what they had written stays. Each job writes
`NAME.json` when it is done, trained ones `NAME/metrics.jsonl` as they go and `NAME/weights` in the end.

`report` puts the records into results/gpu/, the README's part into results/gpu.md, the law's runs into
results/scaling.csv, their law into results/scaling-gpu.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gpu_jobs import JOBS, one_job
from gpu_place import BESIDE, Place
from gpu_report import report

from fomo.app.service.forecasting import choose_device
from fomo.sources import data_folder


@dataclass
class Running:
    """A job under way, in a process group of its own."""

    name: str
    process: subprocess.Popen[bytes]
    cores: tuple[int, ...]  # empty: all of them
    began: float

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to all its processes."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)


class Loan:
    """Runs jobs side by side until the time is up."""

    def __init__(
        self,
        names: Sequence[str],
        place: Place,
        minutes: float,
        at_once: int,
        cores_each: int,
        script: str = __file__,
        all_cores: Collection[str] = frozenset(name for name, (_, all_cores) in JOBS.items() if all_cores),
    ) -> None:
        """`at_once` jobs, `cores_each` of the machine's cores for each; `script job NAME` does one."""
        self.waiting, self.place, self.at_once = list(names), place, at_once
        self.script, self.all_cores = script, all_cores
        self.began, self.until = time.monotonic(), time.monotonic() + 60 * minutes
        cores = sorted(os.sched_getaffinity(0))
        parts = [tuple(cores[i * cores_each : (i + 1) * cores_each]) for i in range(at_once)]
        self.slots = [part or (cores[i % len(cores)],) for i, part in enumerate(parts)]
        self.running: list[Running] = []
        self.alone: Running | None = None

    def run(self) -> None:
        """All of them, in their order."""
        while (self.waiting or self.running) and time.monotonic() < self.until:
            self.running = [one for one in self.running if not self._ended(one)]
            while self.waiting and len(self.running) < self.at_once and self.alone is None:
                self._begin(self.waiting.pop(0))
            self._turns()
            time.sleep(0.05)
        for one in self.running:
            one.tell(signal.SIGKILL)
            self._say(f"{one.name}: ended, time is up")
        for name in self.waiting:
            self._say(f"{name}: not begun")

    def _begin(self, name: str) -> None:
        used = {one.cores for one in self.running}
        cores = () if name in self.all_cores else next(slot for slot in self.slots if slot not in used)
        command = [sys.executable, self.script, "job", name, "--device", self.place.device]
        command += ["--data", str(self.place.data), "--out", str(self.place.out)]
        environment = {**os.environ, BESIDE: "1", "PYTHONUNBUFFERED": "1"}
        with (self.place.out / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True,
                preexec_fn=partial(os.sched_setaffinity, 0, cores) if cores else None,
            )  # fmt: skip
        self.running.append(Running(name, process, cores, time.monotonic()))

    def _ended(self, one: Running) -> bool:
        if one.process.poll() is None:
            return False
        good = "done" if one.process.returncode == 0 else f"failed ({one.process.returncode})"
        self._say(f"{one.name}: {good} after {time.monotonic() - one.began:.0f} s")
        return True

    def _turns(self) -> None:
        """Let one job be alone at a time."""
        if self.alone is not None:
            if (self.place.out / f"{self.alone.name}.alone").exists() and self.alone.process.poll() is None:
                return
            (self.place.out / f"{self.alone.name}.granted").unlink(missing_ok=True)
            for one in self.running:
                one.tell(signal.SIGCONT)
            self.alone = None
        for one in self.running:
            if (self.place.out / f"{one.name}.alone").exists():
                self.alone = one
                for other in self.running:
                    if other is not one:
                        other.tell(signal.SIGSTOP)
                time.sleep(0.3)  # what they had given the device ends
                (self.place.out / f"{one.name}.granted").touch()
                return

    def _say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:4.0f} s] {text}", flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("run", "job", "report"))
    parser.add_argument("names", nargs="*", help="jobs, in this order, by default all; with `report`: folders of loans")
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--out", type=Path, help="where the loan's records go")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--cores-each", type=int, default=4)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.verb == "report":
        report([Path(name) for name in options.names])
        return
    unknown = sorted(set(options.names) - set(JOBS))
    if unknown:
        raise SystemExit(f"no job {', '.join(unknown)}; there are: {', '.join(JOBS)}")
    if options.out is None:
        raise SystemExit("--out: name a folder for the records")
    if not (options.minutes > 0 and options.at_once > 0 and options.cores_each > 0):
        raise SystemExit("--minutes, --at-once and --cores-each: more than none")
    options.out.mkdir(parents=True, exist_ok=True)
    place = Place(data_folder(options.data), options.out.resolve(), choose_device(options.device), "")
    if options.verb == "job":
        for name in options.names:
            one_job(replace(place, name=name))
    else:
        Loan(options.names or list(JOBS), place, options.minutes, options.at_once, options.cores_each).run()


if __name__ == "__main__":
    main()
