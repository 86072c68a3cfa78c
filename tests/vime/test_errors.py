"""The tree of errors, and the sentences that go with it."""

import subprocess
import sys
from dataclasses import dataclass

import gymnasium
import numpy as np
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


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": "wide"},
        {"hidden": 3},
        {"learning_rate": "fast"},
        {"updates": None},
        {"seed": "one"},
        {"device": "gpu"},
        {"encoder": 3},
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused_in_our_words(settings: dict[str, object]) -> None:
    spaces = gymnasium.spaces.Box(-1, 1, (3,)), gymnasium.spaces.Discrete(2)
    with pytest.raises(vime.InvalidSettings, match=f"`{next(iter(settings))}` must be"):
        vime.make_bonus("vime", *spaces, **settings)


WRONG_KINDS = """
import gymnasium, vime
for options in ({"scale": "1"}, {"scale": None}, {"scaling": "median"}, {"learn_every": 2.5}, {"bonus": 3}):
    try:
        vime.wrap(gymnasium.make("CartPole-v1"), **{"bonus": "vime"} | options)
    except vime.InvalidSettings as error:
        assert f"`{next(iter(options))}`" in str(error), error
    else:
        raise AssertionError(options)
try:
    vime.make_bonus(3, gymnasium.spaces.Discrete(2), gymnasium.spaces.Discrete(2))
except vime.UnknownName as error:
    assert "No bonus is named 3" in str(error)
"""


def test_an_argument_of_the_wrong_kind_is_refused_in_our_words() -> None:
    subprocess.run([sys.executable, "-c", WRONG_KINDS], check=True)  # there nobody checks types before we do


def test_a_wrong_action_is_blamed_before_the_reward_that_follows_from_it() -> None:
    env = vime.wrap(gymnasium.make("Pendulum-v1"), "vime")
    env.reset(seed=0)
    with pytest.raises(vime.InvalidData, match="The action of environment 0 at step 0"):
        env.step(np.array([np.nan], dtype=np.float32))
