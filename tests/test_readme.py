"""The README's Python runs, its links inside the repository lead somewhere, and its tables are complete."""

import re
from pathlib import Path

import pytest

import vime

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(?:python|py)\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def test_there_is_an_example() -> None:
    assert BLOCKS


@pytest.mark.slow
def test_the_examples_run_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "readme"}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"README.md, block {number}", "exec"), names)


def test_links_and_pictures_inside_the_repository_exist() -> None:
    targets = re.findall(r"\]\(([^)#\s]+)\)|src=\"([^\"]+)\"", README)
    local = [target for pair in targets for target in pair if target and "://" not in target]
    missing = [target for target in local if not (ROOT / target).exists()]
    assert not missing


@pytest.mark.parametrize("bonus", vime.BONUSES)
def test_every_bonus_is_named(bonus: str) -> None:
    assert f"`{bonus}`" in README
