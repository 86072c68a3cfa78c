import csv
import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import fake_runs
import numpy as np
import pytest

from agents.__main__ import main
from agents.compare import plots, report, statistics
from agents.compare.records import read_runs
from agents.compare.scores import BOOTSTRAP_SEED, summarise
from agents.compare.store import read_study
from agents.compare.study import Study, run_folder
from agents.config import RunConfig
from vime import InvalidData, RunConflict

Make = Callable[..., Path]
TASK = "vime/SparseMountainCar-v0"


class Page(HTMLParser):
    """All tags of a page with their attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def summary(out: Path) -> dict[str, dict]:
    return {row["bonus"]: row for row in json.loads((out / "summary.json").read_text())}


def content(page: Path) -> dict:
    """What the scripts of a page show."""
    parts = Page(page)
    assert [attributes.get("id") for tag, attributes in parts.tags if tag == "script"] == ["data", None]
    return json.loads(page.read_text().split('<script type="application/json" id="data">')[1].split("</script>")[0])


def test_report_leaves_every_file(study: Study, make_finished: Make) -> None:
    out = make_finished(study)
    assert report(out) == out / "report.html"
    names = {path.name for path in out.iterdir()}
    assert names >= {"summary.json", "ranking.json", "table.md", "scores.csv", "report.html"}
    assert names >= {"curves.png", "coverage.png", "first_reward.gif"}
    assert not [name for name in names if name.startswith(".")]


@pytest.mark.usefixtures("no_pictures")
def test_summary_equals_what_the_scores_give_by_hand(study: Study, make_finished: Make) -> None:
    out = make_finished(replace(study, seeds=(0, 1, 2, 3, 4)))
    report(out)
    lines = list(csv.DictReader((out / "scores.csv").open()))
    for bonus, row in summary(out).items():
        mine = [line for line in lines if line["bonus"] == bonus]
        scores = np.array([float(line["final_return"]) for line in mine])
        rng = np.random.default_rng(BOOTSTRAP_SEED)
        low, high = statistics.iqm_interval([scores], rng=rng)
        assert (row["iqm"], row["low"], row["high"]) == (statistics.iqm(scores), low, high)
        assert row["seeds"] == len(mine) == 5
        assert row["auc"] == pytest.approx(statistics.iqm(np.array([float(line["area"]) for line in mine])))
    vime = summary(out)["vime"]
    assert vime["iqm"] == 12.0  # 10 to 14, the outer two left out
    assert vime["first_reward_median"] == 5000
    assert vime["found"] == 5
    assert vime["probability_of_improvement"] == 1.0
    none = summary(out)["none"]
    assert (none["iqm"], none["found"], none["first_reward_median"]) == (0.0, 0, None)
    assert none["probability_of_improvement"] is None


def test_a_row_does_not_depend_on_which_others_there_are(study: Study, make_finished: Make) -> None:
    records = read_runs(make_finished(study))
    alone = summarise([record for record in records if record.config.bonus == "none"])
    assert alone == summarise(records)[:1]


def test_page_refers_to_nothing_outside(study: Study, make_finished: Make) -> None:
    path = report(make_finished(study))
    page = Page(path)
    assert not {tag for tag, _ in page.tags} & {"iframe", "object", "embed", "video", "audio", "source", "img"}
    for _, attributes in page.tags:
        assert not {"src", "srcset", "background", "action"} & set(attributes)
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    for outside in ("url(", "@import", "https:"):
        assert outside not in page.text.replace("url(#", "")
    (policy,) = [a["content"] or "" for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "http" not in policy


def test_page_holds_curves_maps_runs_and_how_to_make_them_again(study: Study, make_finished: Make) -> None:
    out = make_finished(study)
    shown = content(report(out))
    assert [contender["label"] for contender in shown["contenders"]] == ["vime", "none"]
    (task,) = shown["tasks"]
    assert task["episode"]["src"].startswith("data:image/gif;base64,")
    assert set(task["maps"]) == {"none", "vime"}
    none, vime = shown["groups"]
    again = "--steps 20000 --out runs/again/vime-SparseMountainCar-v0"
    assert vime["command"] == f"vime compare --tasks {TASK} --bonuses vime --seeds 3 {again}/vime-ppo"
    assert none["runs"][1]["command"] == f"vime train --task {TASK} --bonus none --seed 1 {again}/none-ppo-seed-1"
    curve = vime["curves"]["episode_return"]
    assert (curve["from"], curve["to"]) == (1000, 19_000)
    assert curve["middle"][-1] == 11
    assert "bonus_mean" not in none["curves"]
    assert [run["final_return"] for run in vime["runs"]] == [10, 11, 12]
    assert shown["versions"][0]["runs"] == 6
    assert str(out) not in json.dumps({name: part for name, part in shown.items() if name != "command"})


def test_same_study_gives_the_same_page(study: Study, make_finished: Make) -> None:
    out = make_finished(study)
    first = report(out).read_bytes()
    assert report(out).read_bytes() == first


@pytest.mark.usefixtures("no_pictures")
def test_page_says_what_was_found_and_how_surely(study: Study, make_finished: Make) -> None:
    text = Page(report(make_finished(study))).text
    assert "vime found a reward on 3 of 3 seeds (median step 4,000) and ended at 11.0 per episode" in text
    assert "the control (none) found a reward on 0 of 3 seeds and ended at 0.00 per episode" in text
    assert "The whole interval of vime lies above that of the control" in text
    assert "With 3 seeds this is a hint, not evidence" in text
    assert "vime compare --tasks vime/SparseMountainCar-v0 --bonuses none vime --seeds 3 --steps 20000" in text


@pytest.mark.usefixtures("no_pictures")
def test_enough_seeds_are_not_called_a_hint(study: Study, make_finished: Make) -> None:
    assert "hint" not in Page(report(make_finished(replace(study, seeds=(0, 1, 2, 3, 4))))).text


@pytest.mark.usefixtures("no_pictures")
def test_overlapping_intervals_are_said_to_overlap(study: Study, make_finished: Make) -> None:
    out = make_finished(study)
    for config in study.runs():
        fake_runs.leave_run(config, run_folder(out, config), first=5000)
    assert "overlap, so this study does not tell them apart" in Page(report(out)).text


@pytest.mark.usefixtures("no_pictures")
def test_study_without_any_reward_says_so(study: Study, make_finished: Make) -> None:
    out = make_finished(study)
    for config in study.runs():
        fake_runs.leave_run(config, run_folder(out, config), first=None)
    assert "No run saw a reward" in Page(report(out)).text
    for config in study.runs():
        folder = run_folder(out, config)
        result = json.loads((folder / "result.json").read_text())
        score = (-200.0 if config.bonus == "none" else -110.0) + config.seed
        (folder / "result.json").write_text(json.dumps(result | {"final_return": score}))
    text = Page(report(out)).text
    assert "No run saw a reward above zero." in text
    assert "cannot be told apart" not in text, "rewards are costs here, and differ"
    assert "found a reward on" not in text
    assert "The whole interval of vime lies above that of the control" in text


@pytest.mark.usefixtures("no_pictures")
def test_half_a_study_is_reported_with_its_gaps(study: Study, make_finished: Make) -> None:
    out = make_finished(study, without=3)
    under_way, failed, missing = study.runs()[3:]
    fake_runs.leave_run(under_way, run_folder(out, under_way), finished=False)
    fake_runs.leave_run(failed, run_folder(out, failed), finished=False)
    (run_folder(out, failed) / "error.txt").write_text("Traceback\nValueError: <script>alert(1)</script>\n")
    assert not run_folder(out, missing).exists()
    page = Page(report(out))
    for text in ("Failed: 1 of 6 runs", "Not finished: 1 of 6 runs", "Not begun: 1 of 6 runs"):
        assert text in page.text
        assert text in (out / "table.md").read_text()
    (failure,) = content(out / "report.html")["failures"]
    assert failure["reason"] == "ValueError: <script>alert(1)</script>"  # as text, not as a script
    assert failure["error"].startswith("Traceback")
    rows = summary(out)
    assert [rows["none"][name] for name in ("seeds", "failed", "unfinished")] == [2, 1, 0]
    assert [rows["vime"][name] for name in ("seeds", "failed", "unfinished")] == [1, 0, 2]
    statuses = [line["status"] for line in csv.DictReader((out / "scores.csv").open())]
    assert statuses == ["finished"] * 3 + ["unfinished", "failed", "missing"]


@pytest.mark.usefixtures("no_pictures")
def test_a_study_not_begun_is_reported(study: Study, make_finished: Make) -> None:
    out = make_finished(study, without=6)
    assert "no run has finished" in Page(report(out)).text
    assert summary(out)["vime"]["iqm"] is None


@pytest.mark.usefixtures("no_pictures")
def test_a_run_without_an_episode_at_its_end_has_no_score(study: Study, make_finished: Make) -> None:
    out = make_finished(study)
    path = run_folder(out, study.runs()[1]) / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"final_return": None}))
    assert "have no score" in Page(report(out)).text
    assert (summary(out)["vime"]["seeds"], summary(out)["vime"]["unscored"]) == (2, 1)


@pytest.mark.usefixtures("no_pictures")
def test_a_study_all_of_whose_runs_failed_says_so_and_why(
    study: Study, make_finished: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make_finished(study, without=6)
    for config in study.runs():
        reason = "OSError: no room." if config.seed == 2 else "ValueError: the pole fell off"
        fake_runs.leave_run(config, run_folder(out, config), finished=False)
        (run_folder(out, config) / "error.txt").write_text(f"Traceback\n{reason}\n")
    assert main(["report", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"{TASK}: all 6 runs failed." in told
    assert "Failed: all 6 runs: ValueError: the pole fell off (4); OSError: no room. (2). Their tracebacks" in told


@pytest.mark.usefixtures("no_pictures")
def test_no_score_is_told_apart_from_failed(study: Study, make_finished: Make) -> None:
    out = make_finished(study)
    for config in study.runs()[:-2]:
        path = run_folder(out, config) / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"final_return": None}))
    text = Page(report(out)).text
    assert "Runs that ended no episode are not counted: 2 of 3 of none, 2 of 3 of vime." in text
    for config in study.runs()[-2:]:
        path = run_folder(out, config) / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"final_return": None}))
    assert "no run that finished ended an episode, so there is no score." in Page(report(out)).text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["result.json", "metrics.csv", "coverage.npz", "first_reward.npz", "config.json"])
@pytest.mark.parametrize("keep", [0.0, 0.6])
def test_files_cut_short_do_not_stop_the_report(study: Study, make_finished: Make, name: str, keep: float) -> None:
    out = make_finished(study)
    path = run_folder(out, study.runs()[1]) / name
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    page = Page(report(out))
    if name == "result.json":
        assert "Failed: 1 of 6 runs" in page.text


@pytest.mark.usefixtures("no_pictures")
def test_a_folder_of_loose_runs_is_reported(tmp_path: Path) -> None:
    for seed in (0, 4):
        config = RunConfig(task="vime/SparseMountainCar-v0", seed=seed, steps=20_000, scale=0.5 + seed)
        fake_runs.leave_run(config, tmp_path / f"try {seed}", first=100)
    path = report(tmp_path)
    page = Page(path)
    assert content(path)["command"] is None, "a study would begin them anew"
    assert summary(tmp_path)["vime"]["seeds"] == 2
    assert "There is no control" in page.text
    assert "The runs differ in `scale` (0.5, 4.5)" in page.text


@pytest.mark.usefixtures("no_pictures")
def test_copies_of_a_loose_run_count_once(tmp_path: Path) -> None:
    config = RunConfig(task="vime/SparseMountainCar-v0", steps=20_000)
    fake_runs.leave_run(config, tmp_path / "a", first=100, finished=False)
    for name in ("b", "c"):
        fake_runs.leave_run(config, tmp_path / "deep" / name, first=100)
    fake_runs.leave_run(replace(config, seed=1), tmp_path / "d", first=100)
    page = Page(report(tmp_path))
    assert (summary(tmp_path)["vime"]["seeds"], summary(tmp_path)["vime"]["unfinished"]) == (2, 0)
    assert "Copies of runs that count once, equal in all settings and the seed: a, deep/c." in page.text


@pytest.mark.usefixtures("no_pictures")
def test_settings_of_a_bonus_are_compared_among_its_own_runs(study: Study, make_finished: Make, tmp_path: Path) -> None:
    own = {"vime": {"hidden": [8]}, "rnd": {"hidden": [4]}}
    base = replace(study.base, bonus_settings=own)
    assert (
        "The runs differ"
        not in Page(report(make_finished(replace(study, bonuses=("none", "vime", "rnd"), base=base)))).text
    )
    for seed, hidden in enumerate(([8], [4])):
        config = RunConfig(task=study.tasks[0], seed=seed, steps=20_000, bonus_settings={"hidden": hidden})
        fake_runs.leave_run(config, tmp_path / "loose" / str(seed), first=100)
    assert "The runs differ in `bonus_settings`" in Page(report(tmp_path / "loose")).text


@pytest.mark.usefixtures("no_pictures")
def test_a_single_run_is_reported_without_an_interval(tmp_path: Path) -> None:
    fake_runs.leave_run(RunConfig(task="vime/SparseMountainCar-v0", steps=20_000), tmp_path, first=100)
    report(tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert "| vime | 10.0 | - | 1 of 1 |" in text
    assert "With 1 seed this is a hint" in text


@pytest.mark.usefixtures("no_pictures")
def test_algorithms_side_by_side_have_rows_and_labels_of_their_own(tmp_path: Path) -> None:
    for algorithm in ("ppo", "a2c"):
        config = RunConfig(task="vime/SparseMountainCar-v0", algorithm=algorithm, steps=20_000)
        fake_runs.leave_run(config, tmp_path / algorithm, first=100)
    report(tmp_path)
    rows = json.loads((tmp_path / "summary.json").read_text())
    assert [row["label"] for row in rows] == ["vime (a2c)", "vime (ppo)"]


def test_task_of_others_is_reported_without_a_map(tmp_path: Path) -> None:
    fake_runs.leave_run(RunConfig(task="CartPole-v1", steps=20_000), tmp_path, first=100)
    report(tmp_path)
    assert not (tmp_path / "coverage.png").exists()
    assert (tmp_path / "curves.png").exists()


def test_several_tasks_have_pictures_of_their_own(study: Study, make_finished: Make) -> None:
    out = make_finished(replace(study, tasks=(*study.tasks, "CartPole-v1")))
    report(out)
    assert (out / "curves-vime-SparseMountainCar-v0.png").exists()
    assert (out / "curves-CartPole-v1.png").exists()


def test_equal_bonuses_stand_in_one_order_and_look_alike_everywhere(
    study: Study, make_finished: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ended alike on the first task, and on the second `icm` is the best: that order settles the ties."""
    drawn: list[tuple[list[str], dict[str, plots.Look]]] = []

    def note(task: str, runs: plots.Runs, looks: dict[str, plots.Look]) -> None:
        drawn.append((list(runs), looks))

    monkeypatch.setattr(plots, "learning_curves", note)
    out = make_finished(replace(study, tasks=(TASK, "CartPole-v1"), bonuses=("none", "rnd", "icm")))
    for config in read_study(out).runs():
        path = run_folder(out, config) / "result.json"
        best = config.bonus == "icm" and config.task == "CartPole-v1"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"final_return": 1.0 + best}))
    page = content(report(out))
    order = [contender["label"] for contender in page["contenders"]]
    assert order[0] == "icm"
    first, second = drawn
    assert first[0] == order
    assert [line.split(" | ")[2] for line in (out / "table.md").read_text().splitlines()[2:5]] == order
    assert first[1]["icm"] == second[1]["icm"] == (plots.COLOURS[0], "-")
    assert first[1]["none"][0] == plots.GREY


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="no study and no run"):
        report(tmp_path)


def test_damaged_description_is_refused(study: Study, make_finished: Make) -> None:
    out = make_finished(study)
    (out / "study.json").write_text("{")
    with pytest.raises(RunConflict, match=r"study\.json cannot be read"):
        report(out)
