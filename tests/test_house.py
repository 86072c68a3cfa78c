"""The house keeps its own rules: who may import whom, how long a file may be, and who may print."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("vime", "envs", "agents", "generative")
LONGEST = 300  # lines of a source file

# What a package may import beside the standard library and itself.
ALLOWED: dict[str, set[str]] = {
    "vime": {"gymnasium", "jaxtyping", "numpy", "torch"},
    "envs": {"PIL", "envpool", "gymnasium", "minigrid", "mujoco", "numpy"},
    "generative": {"jaxtyping", "numpy", "safetensors", "scipy", "sklearn", "torch"},
}
AGENTS_ALONE = {"stable_baselines3", "sb3_contrib"}
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LIBRARIES = [path for path in SOURCES if path.relative_to(ROOT).parts[0] != "agents"]
COMMAND_LINE = ("__main__", "commands", "live")  # files of `agents` that talk to the user


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yields the first part of every absolute import, wherever it stands in the file, and its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno


def standard(module: str) -> bool:
    return module in sys.stdlib_module_names


def test_there_is_something_to_check() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(PACKAGES)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_lower_package_never_imports_a_higher_one(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    if package == "agents":
        foreign = [(module, line) for module, line in imports(path) if module in ("tests", "scripts")]
    else:
        allowed = ALLOWED[package] | {package}
        foreign = [(module, line) for module, line in imports(path) if module not in allowed and not standard(module)]
    assert not foreign, f"{name(path)} may not import {foreign}"


def test_agents_alone_imports_the_algorithms() -> None:
    users = {
        path.relative_to(ROOT).parts[0] for path in SOURCES for module, _ in imports(path) if module in AGENTS_ALONE
    }
    assert users == {"agents"}


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_stays_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_file_is_named_for_nothing(path: Path) -> None:
    assert path.stem not in ("utils", "util", "helpers", "common", "misc")


@pytest.mark.parametrize("path", LIBRARIES, ids=name)
def test_user_errors_are_raised_and_not_asserted(path: Path) -> None:
    lines = [node.lineno for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
    assert not lines, f"{name(path)} asserts at {lines}; raise an error of `vime.errors`, or a RuntimeError for our own"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_libraries_do_not_print(path: Path) -> None:
    if path.relative_to(ROOT).parts[0] == "agents" and {path.stem, path.parent.name} & set(COMMAND_LINE):
        pytest.skip("the command line prints")
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    lines = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not lines, f"{name(path)} prints at {lines}"


@pytest.mark.parametrize("path", LIBRARIES, ids=name)
def test_no_library_draws_from_the_global_generator_of_python(path: Path) -> None:
    assert "random" not in {module for module, _ in imports(path)}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_typed_and_documented(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
    assert ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text()))
