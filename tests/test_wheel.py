"""The wheel holds exactly the four packages, typed, and nothing else; it is built offline."""

import os
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("vime", "envs", "agents", "generative")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    from hatchling.build import build_wheel

    folder, before = tmp_path_factory.mktemp("wheel"), Path.cwd()
    os.chdir(ROOT)
    try:
        return zipfile.ZipFile(folder / build_wheel(str(folder)))
    finally:
        os.chdir(before)


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    info = {top for top in tops if top.endswith(".dist-info")}
    assert len(info) == 1
    assert tops - info == set(PACKAGES)


def test_the_wheel_holds_every_source_file(wheel: zipfile.ZipFile) -> None:
    sources = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert {name for name in wheel.namelist() if name.endswith(".py")} == sources


def test_the_wheel_holds_what_the_page_of_a_study_is_made_of(wheel: zipfile.ZipFile) -> None:
    parts = {str(path.relative_to(ROOT)) for path in (ROOT / "agents" / "compare" / "web").iterdir()}
    assert {Path(name).suffix for name in parts} == {".html", ".css", ".js"}
    assert parts <= set(wheel.namelist())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_in_the_wheel_is_typed(wheel: zipfile.ZipFile, package: str) -> None:
    assert f"{package}/py.typed" in wheel.namelist()


def test_the_wheel_carries_licence_readme_and_command(wheel: zipfile.ZipFile) -> None:
    (folder,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = wheel.read(f"{folder}/METADATA").decode()
    assert "License-Expression: MIT" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "the vime authors" in wheel.read(f"{folder}/licenses/LICENSE").decode()
    assert "vime = agents.__main__:main" in wheel.read(f"{folder}/entry_points.txt").decode()


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_fit_machines_with_and_without_a_gpu() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert not [line for line in lines if "+" in line], "a local version such as +cpu cannot be installed elsewhere"
    assert [line for line in lines if line.startswith("torch==")]
    assert not [line for line in lines if line.startswith("torchvision")]
