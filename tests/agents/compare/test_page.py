"""The page as a reader has it: opened from disk in headless Chromium, which must not ask the network for anything."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

import fake_runs
import numpy as np
import pytest

from agents.compare import report
from agents.compare.page import embedded
from agents.compare.store import open_study
from agents.compare.study import Study
from agents.config import RunConfig

TASKS = ("vime/SparseMountainCar-v0", "CartPole-v1")
BONUSES = ("none", "vime", "rnd", "icm", "counts", "ngu", "re3", "ride", "e3b", "noveld")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two tasks and ten contenders in its last hour: one run failed, one is under way, one not begun."""
    out = tmp_path_factory.mktemp("page") / "study"
    base = RunConfig(task=TASKS[0], steps=20_000)
    study = Study(question="Who <finds> it?", tasks=TASKS, bonuses=BONUSES, seeds=(0, 1), base=base)
    open_study(study, out)
    for config in study.runs():
        first = None if config.bonus == "none" else 500 * (1 + BONUSES.index(config.bonus)) + 100 * config.seed
        fake_runs.leave_run(config, study.folder(out, config), first=first)
    failed, under_way, missing = (study.folder(out, config) for config in study.runs()[-3:])
    for folder in (failed, under_way, missing):
        (folder / "result.json").unlink()
    (failed / "error.txt").write_text("Traceback (most recent call last):\nValueError: <b>the pole</b> fell off\n")
    (under_way / "progress.json").write_text(json.dumps({"step": 9000, "steps": 20_000}))
    for file in missing.iterdir():
        file.unlink()
    missing.rmdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["agents.compare.report"], "draw", lambda found: iter(()))  # the page draws itself
        return report(out)


class Reader:
    """One open page, and all that went wrong on it."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def lines(self) -> dict[str, int]:
        """How many curves of every contender can be seen in the panels of the curves."""
        found = self.page.eval_on_selector_all(
            "#curves .series .line",
            "lines => lines.map(l => l.closest('.series')).filter(s => getComputedStyle(s).display !== 'none')"
            ".map(s => s.dataset.label)",
        )
        return {label: found.count(label) for label in found}

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.text_content() or ""

    def overflow(self) -> int:
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.fixture
def reader(browser: Any, path: Path) -> Iterator[Reader]:
    reader = Reader(browser, path, viewport={"width": 1200, "height": 900})
    yield reader
    assert reader.complaints == []
    assert {url for url in reader.asked if not url.startswith(("file:", "data:"))} == set()
    reader.context.close()


def test_page_shows_every_part_and_the_best_are_drawn(reader: Reader) -> None:
    titles = reader.page.locator("main h2").all_inner_texts()
    expected = ["What it says", "Ranking", "Performance profile", "Curves", "First reward", "Table"]
    assert titles == [*expected, "Where the agents went", "Cost", "Runs", "Settings and versions"]
    assert reader.text("h1") == "Who <finds> it?"
    lines = reader.lines()
    assert len(lines) == 7  # the best six and the control
    assert set(lines.values()) == {2}
    assert reader.page.locator("#ranking tbody tr").count() == len(BONUSES)
    assert reader.page.locator("#maps .maps img").count() == 7
    images = reader.page.eval_on_selector_all("img", "all => all.map(i => i.complete && i.naturalWidth > 0)")
    assert all(images)


def test_toggles_hide_and_show_curves_of_a_bonus_and_of_a_task(reader: Reader) -> None:
    page, lines = reader.page, reader.lines()
    first = next(label for label in lines if label != "none")
    chip = page.locator(f'.chip[data-key="chip {first}"]')
    chip.click()
    assert set(reader.lines()) == set(lines) - {first}
    assert chip.get_attribute("aria-pressed") == "false"
    chip.focus()
    page.keyboard.press("Space")
    assert reader.lines() == lines
    assert page.evaluate("document.activeElement.dataset.key") == f"chip {first}"  # the keyboard stays where it was
    page.get_by_role("button", name="all", exact=True).click()
    assert set(reader.lines()) == set(BONUSES)
    page.locator(f'.chip[data-key="task {TASKS[1]}"]').click()
    assert set(reader.lines().values()) == {1}
    page.get_by_role("button", name="none", exact=True).last.click()
    assert reader.lines() == {}


def test_axes_switch_to_processor_time_and_to_logarithms(reader: Reader) -> None:
    page = reader.page

    def axis() -> list[str]:
        return page.locator("#curves .panel").first.locator("svg text.axis, svg text.tick").all_text_contents()

    steps = axis()
    assert "environment steps" in steps
    page.get_by_label("CPU seconds", exact=True).check(force=True)
    assert "CPU seconds of a run" in axis()
    assert axis()[-2] == "15"  # a run takes 16.5 s, and its curve ends at 19 of 20 rows
    page.get_by_label("steps", exact=True).check(force=True)
    page.locator("#xscale-log").check(force=True)
    assert axis() != steps
    page.locator("#yscale-log").check(force=True)
    page.locator("#what-bonus_mean").check(force=True)
    assert "none" not in reader.lines()
    page.get_by_label("single seeds").check()
    page.locator("#what-episode_return").check(force=True)
    assert page.locator("#curves .series:not(.off) .seed:not(.quiet)").count() > 0
    page.get_by_label("bands").uncheck()
    assert not page.locator("#curves .series:not(.off) .band").first.is_visible()


def test_pointer_and_keys_read_the_values(reader: Reader) -> None:
    page, chart = reader.page, reader.page.locator("#curves svg.chart").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator("#curves .tip").first
    assert "steps" in tip.inner_text()
    assert "null" not in tip.inner_text()
    assert page.locator("#curves .lit").count() > 0
    page.mouse.move(2, 2)
    assert not tip.is_visible()
    chart.focus()
    page.keyboard.press("ArrowLeft")
    said = reader.text("#curves .said")
    found = re.fullmatch(r"(\S+): (\S+) \((\S+) to (\S+)\) at ([\d,]+) steps", said)
    assert found, said
    assert found[1] in BONUSES
    assert (float(found[3]), float(found[2]), float(found[4])) == (10, 10.5, 11)
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_failed_unfinished_and_missing_runs_are_said_plainly(reader: Reader) -> None:
    text = reader.text("#findings")
    for part in ("Failed: 1 of 40 runs", "Not finished: 1 of 40 runs", "Not begun: 1 of 40 runs"):
        assert part in text
    assert "1 failed" in reader.text(".pills")
    fold = reader.page.locator("#findings details.failure")
    assert "ValueError: <b>the pole</b> fell off" in fold.locator("summary").inner_text()
    fold.locator("summary").click()
    fold.locator("pre").wait_for()
    assert "Traceback (most recent call last)" in fold.locator("pre").inner_text()
    reader.page.locator("#runs summary").click()
    reader.page.locator("#runs tbody").first.wait_for()
    runs = reader.text("#runs")
    assert "unfinished at step 9,000" in runs
    assert "not begun" in runs


def test_every_row_gives_the_command_that_makes_it_again(reader: Reader) -> None:
    buttons = reader.page.locator("#table .copy")
    assert buttons.count() == len(TASKS) * len(BONUSES)
    buttons.first.click()
    command = buttons.first.get_attribute("data-command") or ""
    assert command.startswith(f"vime compare --tasks {TASKS[0]} --bonuses ")
    reader.page.locator("#toast:visible").wait_for()
    assert command in reader.text("#toast")


def test_table_sorts_by_the_column_that_is_pressed(reader: Reader) -> None:
    def order() -> list[str]:
        return reader.page.locator("#table tbody").first.locator("th[scope=row]").all_inner_texts()

    assert order()[-1] == "none"
    reader.page.get_by_role("button", name="bonus", exact=True).click()
    assert order() == sorted(BONUSES)
    reader.page.get_by_role("button", name="bonus", exact=True).click()
    assert order() == sorted(BONUSES, reverse=True)


def test_ranking_can_be_had_task_by_task(reader: Reader) -> None:
    assert "normalised score" in reader.text("#ranking")
    reader.page.select_option("#ranking-over", TASKS[1])
    assert "return per episode" in reader.text("#ranking thead")
    assert reader.page.locator("#ranking tbody tr").count() == len(BONUSES)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(browser: Any, path: Path, scheme: str) -> None:
    reader = Reader(browser, path, viewport=PHONE, color_scheme=scheme, has_touch=True)
    assert reader.overflow() <= 0
    reader.page.locator(".controls summary").first.tap()
    reader.page.get_by_role("button", name="all", exact=True).tap()
    reader.page.locator("#runs summary").tap()
    for node in reader.page.locator("main details").all():
        node.evaluate("node => (node.open = true)")
    reader.page.wait_for_timeout(100)
    assert reader.overflow() <= 0
    sizes = reader.page.eval_on_selector_all(
        "main p, main td", "all => all.map(n => parseFloat(getComputedStyle(n).fontSize))"
    )
    assert min(sizes) >= 11
    dark = reader.page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(251, 252, 253)"
    assert dark == (scheme == "dark")
    assert reader.complaints == []
    reader.context.close()


@pytest.mark.parametrize("width", [360, 390])
def test_a_contender_without_scores_on_a_task_fits_a_phone(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(sys.modules["agents.compare.report"], "draw", lambda found: iter(()))
    base = RunConfig(task=TASKS[0], steps=20_000)
    bonuses = ("none", "vime-faithful", "density-counts")
    study = Study(tasks=TASKS, bonuses=bonuses, seeds=(0, 1), base=base, controls={TASKS[0]: ("ppo-entropy",)})
    open_study(study, tmp_path)
    for config in study.runs():
        if config.bonus != "density-counts" or config.task == TASKS[0]:
            fake_runs.leave_run(config, study.folder(tmp_path, config), first=500)
    reader = Reader(browser, report(tmp_path), viewport={"width": width, "height": 800}, has_touch=True)
    assert "density-counts not ranked: no score on 1 of 2 tasks" in reader.text("#ranking tbody")
    assert "none (ppo-entropy) not ranked: not run on 1 of 2 tasks" in reader.text("#ranking tbody")
    for node in reader.page.locator("main details").all():
        node.evaluate("node => (node.open = true)")
    reader.page.wait_for_timeout(100)
    assert reader.overflow() <= 0
    beyond = "all => all.filter(n => !n.closest('.wide') && n.getBoundingClientRect().right > innerWidth).length"
    assert reader.page.eval_on_selector_all("main *", beyond) == 0
    beside = "n => n.parentNode.getBoundingClientRect().right - n.getBoundingClientRect().right"
    assert reader.page.eval_on_selector(".command .copy", beside) >= 0
    assert reader.complaints == []
    reader.context.close()


def test_without_scripts_the_table_is_there(browser: Any, path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert "| CartPole-v1 |" in page.locator("noscript").inner_text()
    context.close()


def test_no_text_can_end_the_data_of_the_page() -> None:
    text = embedded({"a": "</script><script>alert(1)</script>", "b": "<!--", "c": "&amp;"})
    assert "<" not in text
    assert json.loads(text)["a"] == "</script><script>alert(1)</script>"


def colours(scheme: str) -> dict[str, np.ndarray]:
    style = files("agents.compare").joinpath("web/page.css").read_text("utf-8")
    part = style.split("prefers-color-scheme: dark")[scheme == "dark"]
    found = re.findall(
        r"--(hue\w+|hue-control|card): #(\w+);",
        part.split("--hue-control")[0] + "--hue-control" + part.split("--hue-control")[1],
    )
    return {name: linear(value) for name, value in found}


def linear(hexadecimal: str) -> np.ndarray:
    if len(hexadecimal) == 3:
        hexadecimal = "".join(2 * digit for digit in hexadecimal)
    part = np.array([int(hexadecimal[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB, white D65."""
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    x, y, z = matrix @ rgb / np.array([0.95047, 1, 1.08883])
    x, y, z = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


VISION = {
    "normal": np.eye(3).tolist(),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""What is seen of linear sRGB (Machado, Oliveira and Fernandes 2009, severity 1)."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_of_one_dash_pattern_are_told_apart_by_colour_blind_readers(scheme: str) -> None:
    table = colours(scheme)
    card = table.pop("card")
    assert len(table) == 9
    for matrix in VISION.values():
        seen = [lab(np.clip(np.array(matrix) @ rgb, 0, 1)) for rgb in table.values()]
        assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 15
    light = np.array([0.2126, 0.7152, 0.0722])
    for rgb in table.values():  # contrast of graphics (WCAG 2.1, 1.4.11)
        low, high = sorted((float(light @ rgb), float(light @ card)))
        assert (high + 0.05) / (low + 0.05) >= 3


@pytest.mark.slow
def test_a_large_study_makes_a_page_of_less_than_two_megabytes(tmp_path: Path) -> None:
    from agents.names import BONUSES as EVERY

    base = RunConfig(task=TASKS[0], steps=1_000_000)
    tasks = (
        TASKS[0],
        "vime/SparseCartPoleSwingupWeak-v0",
        "vime/SparseHalfCheetah-v0",
        "CartPole-v1",
        "MountainCar-v0",
    )
    study = Study(tasks=tasks, bonuses=tuple(EVERY), seeds=tuple(range(10)), base=base)
    open_study(study, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_runs, "ROWS", 150)
        patch.setattr(sys.modules["agents.compare.report"], "draw", lambda found: iter(()))
        for config in study.runs():
            fake_runs.leave_run(replace(config), study.folder(tmp_path, config), first=1000 * (1 + config.seed))
    assert report(tmp_path).stat().st_size < 2_000_000
