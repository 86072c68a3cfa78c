"""Bonuses of the user's own: named by module and class, and told what is wrong with them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import vime
from tests.vime.scripted import Script
from vime.bonuses.none import NoBonus
from vime.bonuses.rnd import Rnd

VECTOR, MOVES = spaces.Box(-1, 1, (2,)), spaces.Discrete(2)
MODULE = """
from vime.bonuses.none import NoBonus

def function(): ...

class Bare:
    def reward(self, batch): ...
    def observe(self, batch): ...

class Mine(NoBonus):
    def reward(self, batch):
        return batch.next_obs.flatten(2).sum(2)

class Unset(NoBonus):
    Settings = None
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "mybonus.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "mybonus"
    sys.modules.pop("mybonus", None)


def batch(obs: Any = None) -> vime.Transitions:
    obs = torch.ones(3, 1, 2) if obs is None else obs
    none = torch.zeros(3, 1, dtype=torch.bool)
    return vime.Transitions(obs, none.long(), obs, none, none)


def test_a_class_is_named_by_its_module_alone_and_in_mixtures(module: str) -> None:
    alone = vime.make_bonus("mybonus:Mine", VECTOR, MOVES, seed=3)
    assert alone.settings.seed == 3
    assert alone.reward(batch()).tolist() == [[2.0]] * 3
    mixed = vime.make_bonus("none + mybonus:Mine", VECTOR, MOVES, weights=np.array([1, 2]), **{"mybonus:Mine": {}})
    assert mixed.names == ("none", "mybonus:Mine")
    assert mixed.weights == (1.0, 2.0)
    assert vime.wrap(Script(), "mybonus:Mine").bonus.bonus.__class__.__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mybonus:Mien", "has no class 'Mien'. Did you mean 'Mine'"),
        ("mybonus:function", "no class but a function"),
        ("mybonus:Bare", "has no `learn`, `state_dict` and `load_state_dict`"),
        ("mybonus:Unset", "needs `Settings`, a dataclass with the fields `seed` and `device`"),
        ("nowhere_at_all:Mine", "looked for in the present folder and on PYTHONPATH"),
        ("./my/bonus.py:Mine", "as bonus:Mine, and stand in its folder"),
        ("mybonus.py:Mine", "as mybonus:Mine"),
        ("rnd+", "empty part"),
        ("none,rnd", "spaces between them"),
        ("RND", "Did you mean 'rnd'"),
    ],
)
def test_a_name_that_leads_nowhere_says_why(module: str, name: str, words: str) -> None:
    with pytest.raises(vime.VimeError, match=words.replace(".", r"\.")):
        vime.make_bonus(name, VECTOR, MOVES)


def test_a_class_in_place_of_an_object_is_refused_at_once() -> None:
    with pytest.raises(vime.InvalidSettings, match=r"the class Rnd: hand in its name, 'rnd', or an object"):
        vime.wrap(Script(), Rnd)  # type: ignore[arg-type]
    with pytest.raises(vime.InvalidSettings, match="the class Mine: hand in an object of it"):
        vime.wrap(Script(), type("Mine", (NoBonus,), {}))  # type: ignore[arg-type]


def mine(**members: Any) -> vime.Bonus:
    return type("Mine", (NoBonus,), members)(VECTOR, MOVES)


def test_a_reward_with_a_gradient_is_taken_without_it() -> None:
    weight = torch.ones((), requires_grad=True)
    scaled = vime.ScaledBonus(mine(reward=lambda self, data: weight * torch.ones(data.shape)))
    assert not scaled.reward(batch()).requires_grad


def test_learning_may_return_nothing_and_else_metrics() -> None:
    assert vime.ScaledBonus(mine(learn=lambda self, data: None)).learn(batch()) == {}
    with pytest.raises(vime.InvalidData, match=r"Mine\.learn must return its metrics as a mapping"):
        vime.ScaledBonus(mine(learn=lambda self, data: 0.5)).learn(batch())


def test_a_scaling_that_is_none_is_named() -> None:
    with pytest.raises(vime.InvalidSettings, match=r"`scaling` of Mine must be a vime\.Scaling"):
        vime.wrap(Script(), mine(scaling=1.0))


@pytest.mark.parametrize(
    ("bonus", "settings", "words"),
    [
        ("rnd", {"encoder": "vae"}, r"agents\.encoders\.make_bonus\('rnd'"),
        ("rnd+icm", {"rnd": {"encoder": {"model": "vae"}}}, "for a bonus or a mixture as a whole"),
        ("density-counts", {"density": "made"}, r"agents\.encoders\.make_bonus\('density-counts'"),
        ("rnd", {"streams": 2}, r"`streams` belongs to `agents\.attach`"),
        ("rnd", {"weight": "tuned"}, r"`weight` belongs to `agents\.attach`"),
        ("rnd", {"encoder": 3}, "`encoder` must be an Encoder or None; got 3"),
    ],
)
def test_what_belongs_to_attach_is_told_apart(bonus: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(vime.InvalidSettings, match=words):
        vime.wrap(Script(), bonus, **settings)


def test_what_has_no_method_of_a_bonus_is_told_which() -> None:
    class Half(gymnasium.Env):
        scaling = vime.Scaling()
        observe = state_dict = load_state_dict = lambda self, batch: None

    from vime.bonus import BONUSES
    from vime.own import require_bonus

    with pytest.raises(vime.InvalidSettings, match="a Half came, which has no `reward` and `learn`"):
        require_bonus(Half(), BONUSES)
