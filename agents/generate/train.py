"""One run of a generative model: begins, or goes on from its last checkpoint, and ends with `result.json`."""

import csv
import io
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from agents.folder import RunFolder, write_atomically, write_json
from agents.generate.assess import figures, glance, prepare
from agents.generate.config import ModelRun
from agents.generate.page import show
from agents.versions import changed, machine
from generative import Dataset, FitSettings, Model, fit
from generative.checkpoint import MODEL_FILE, TRAINING_FILE, load_weights
from generative.parallel import Group, join
from vime.errors import RunConflict

REPORTS, SAVES = 200, 20
"""How often a run reports and is saved."""

Progress = Callable[[dict[str, Any]], None]


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a training as Ctrl-C does: after a checkpoint."""


class _Folder(RunFolder):
    """The folder of a run of a model; where it belongs to another one, it says how to take over the weights."""

    def _claim(self) -> None:
        try:
            super()._claim()
        except RunConflict as error:
            if not (self.out / MODEL_FILE).is_file():
                raise
            way = f"With `--begin {self.out}` a run in another folder begins with its weights."
            raise RunConflict(f"{error} {way}") from None


def train_model(run: ModelRun, out: Path | str, *, progress: Progress | None = None) -> dict[str, Any]:
    """Returns the result of the run, which is also in `out/result.json`; a finished run is not run again.

    Under `torchrun` several processes train the one model: the first holds the folder, writes and returns; the others
    end when it is trained.

    Args:
        run: what to run.
        out: the run folder; new, empty, or that of the same run, which then goes on.
        progress: is told `step`, `steps` and the terms of the moment, `REPORTS` times.

    Raises:
        UnknownName, InvalidSettings, GenerativeError: the run cannot be.
        RunConflict: the folder belongs to another run, or another process is at work there.
        Diverged: a loss or a weight is no longer finite; the folder holds the last good weights.
        KeyboardInterrupt: Ctrl-C; the folder can be continued.
        SystemExit: SIGTERM, or this is not the first of several processes and the model is trained.
    """
    run.check()
    group, own = join(run.device)
    if not group.first:
        _help(run, Path(out), group, own)
        raise SystemExit(0)
    threads = torch.get_num_threads()
    with _Folder(Path(out), run) as folder:
        result = folder.result()
        group.spread([torch.tensor(result is None, device=own)])
        if result is not None:
            return result
        try:
            torch.set_num_threads(run.threads)
            folder.path("error.txt").unlink(missing_ok=True)
            with _termination():
                return _Run(folder, run, progress or (lambda _: None)).go()
        except _Terminated:
            raise SystemExit(128 + signal.SIGTERM) from None
        except RunConflict:
            raise
        except Exception:
            with suppress(OSError):
                write_atomically(folder.path("error.txt"), lambda file: file.write(traceback.format_exc().encode()))
            raise
        finally:
            torch.set_num_threads(threads)


def _help(run: ModelRun, out: Path, group: Group, device: str) -> None:
    """Trains together with the first process, if that finds that there is something to train."""
    wanted = torch.tensor(False, device=device)
    group.spread([wanted])  # when the folder is claimed
    if wanted:
        torch.set_num_threads(run.threads)
        model, data = _prepared(run, out)
        fit(model, data, _fitting(run), folder=out)


def _prepared(run: ModelRun, out: Path) -> tuple[Model, Dataset]:
    model, data = prepare(run)
    if run.begin and not (out / TRAINING_FILE).exists():
        load_weights(model, run.begin)
    return model, data


def _fitting(run: ModelRun) -> FitSettings:
    plan = run.plan
    report = every(plan.steps, REPORTS)
    return FitSettings(
        steps=plan.steps, batch_size=plan.batch_size, seed=run.seed, device=run.device, precision=run.precision,
        compile=run.compile, report_every=report, save_every=report * every(REPORTS, SAVES),
    )  # fmt: skip


def every(steps: int, times: int) -> int:
    """Returns how many steps lie between `times` moments of a run."""
    return max(1, steps // times)


class _Run:
    """What `train_model` holds together while it trains."""

    def __init__(self, folder: RunFolder, run: ModelRun, progress: Progress) -> None:
        self.folder, self.run, self.plan, self.progress = folder, run, run.plan, progress
        self.started = {"wall": time.monotonic(), "cpu": time.process_time()}
        before = folder.record("progress.json") or {}
        self.before = {clock: float(before.get(f"{clock}_seconds", 0.0)) for clock in self.started}
        self.rows = Rows(folder.path("metrics.csv"))
        self.resumed = int(before.get("resumed", -1)) + 1
        self.writer: Any = None

    def go(self) -> dict[str, Any]:
        """Returns the result."""
        run, plan = self.run, self.plan
        model, data = _prepared(run, self.folder.out)
        now, before = machine(run.threads, run.device), self.folder.record("versions.json")
        exact = before is None or not changed(before, now)
        write_json(self.folder.path("versions.json"), now)
        look = partial(glance, data=data)
        try:
            terms = fit(model, data, _fitting(run), log=self._log, evaluate=look, folder=self.folder.out)
        finally:
            if self.writer is not None:
                self.writer.close()
        spent = {f"{clock}_seconds": round(self._spent(clock), 2) for clock in self.started}
        told = {
            "model": run.model,
            "data": run.data,
            **figures(model, data, samples=plan.samples, examples=plan.examples, seed=run.seed, folder=self.folder.out),
            "steps": plan.steps,
            "seed": run.seed,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "seconds": spent["wall_seconds"],
            "cpu_seconds": spent["cpu_seconds"],
            "training": terms,
            "resumed": self.resumed,
            "exact_resume": exact,
            "out": str(self.folder.out),
        }
        show(self.folder.out, run, model, data, told)
        write_json(self.folder.path("result.json"), told)
        return told

    def _spent(self, clock: str) -> float:
        now = time.monotonic() if clock == "wall" else time.process_time()
        return self.before[clock] + now - self.started[clock]

    def _log(self, step: int, terms: Mapping[str, float]) -> None:
        self.rows.add({"step": step, **terms})
        if self.writer is None:
            from torch.utils.tensorboard.writer import SummaryWriter

            self.writer = SummaryWriter(str(self.folder.path("tensorboard")), purge_step=step)
        for name, value in terms.items():
            self.writer.add_scalar(name, value, step)
        clocks = {f"{clock}_seconds": round(self._spent(clock), 2) for clock in self.started}
        shown = {"step": step, "steps": self.plan.steps, **clocks, "resumed": self.resumed}
        write_json(self.folder.path("progress.json"), shown, durable=False)
        self.progress({**shown, "terms": dict(terms)})


class Rows:
    """`metrics.csv`: the terms of every report; a run that goes on rewrites the rows that it comes to again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        self.begun = False
        if path.is_file():
            with suppress(OSError, ValueError, csv.Error):
                self.rows = [row for row in csv.DictReader(io.StringIO(path.read_text())) if row["step"].isdigit()]

    def add(self, row: Mapping[str, float]) -> None:
        """Appends one row, and writes the file anew: there is never half a row."""
        if not self.begun:
            self.rows = [old for old in self.rows if int(old["step"]) < int(row["step"])]
            self.begun = True
        self.rows.append({name: str(value) if name == "step" else repr(float(value)) for name, value in row.items()})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.path, lambda file: file.write(buffer.getvalue().encode()), durable=False)


@contextmanager
def _termination() -> Iterator[None]:
    """Lets SIGTERM stop the run as Ctrl-C does, where this thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
