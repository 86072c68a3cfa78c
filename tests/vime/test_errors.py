"""The tree of errors, and the sentences that go with it."""

from dataclasses import dataclass

import pytest

import vime
from vime import errors


@dataclass(frozen=True, kw_only=True)
class Settings:
    hidden: int = 32
    seed: int = 0


def test_every_error_can_be_caught_as_one() -> None:
    found = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)]
    assert len(found) >= 8
    assert all(issubclass(cls, vime.VimeError) for cls in found)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (vime.UnknownName, LookupError),
        (vime.InvalidSettings, ValueError),
        (vime.InvalidData, ValueError),
        (vime.UnsupportedSpace, TypeError),
        (vime.UnsupportedEnvironment, TypeError),
    ],
)
def test_an_error_is_also_the_builtin_that_it_resembles(cls: type, builtin: type) -> None:
    assert issubclass(cls, builtin)


def test_choose_gives_the_entry() -> None:
    assert errors.choose("colour", "red", {"red": 1, "blue": 2}) == 1


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(vime.UnknownName, match=r"No colour is named 'bleu'\. Did you mean 'blue'\?"):
        errors.choose("colour", "bleu", {"red": 1, "blue": 2})


def test_a_name_like_no_other_lists_them_all() -> None:
    with pytest.raises(vime.UnknownName, match=r"Known: blue, red\."):
        errors.choose("colour", "xyzzy", {"red": 1, "blue": 2})


def test_settings_are_built_from_names() -> None:
    assert errors.build_settings("A thing", Settings, {"hidden": 8}) == Settings(hidden=8)


def test_an_unknown_setting_suggests_the_nearest() -> None:
    with pytest.raises(vime.InvalidSettings, match=r"A thing has no setting 'hiden'\. Did you mean 'hidden'\?"):
        errors.build_settings("A thing", Settings, {"hiden": 8})
