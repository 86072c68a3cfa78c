"""Rewards that came after the exploration: planned for, trained for in imagination, and refused in time."""

from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import agents
import vime
from agents.planning import ImaginedEnvironment, Objective, imagine, rewards
from agents.planning.settings import PlannerSettings
from tests.agents.planning.conftest import CAR, QUICK, line
from vime.latent import LatentWorld

PLANNER = PlannerSettings(horizon=4, candidates=12, elites=4, iterations=1)


@pytest.mark.slow
@pytest.mark.parametrize(("how", "steps"), [("sac", 1500), ("ppo", 12_000)])
def test_a_policy_is_trained_in_imagination_alone(how: Any, steps: int) -> None:
    """A car pushed to the right is an easy thing to want."""
    found = agents.explore(CAR, 40, seed=0, **QUICK)
    env = gymnasium.make(CAR)
    told = agents.transfer(found, env, lambda s, a, f: a[:, 0], how=how, imagined_steps=steps, episodes=1, steps=20)
    assert told["score"] > 5  # of 20; chance gets none
    assert told["training_seconds"] > 0


@pytest.mark.parametrize(
    ("reward", "complaint"),
    [
        (lambda s, a, f: f, "one value a row"),
        (lambda s, a, f: f[:, :1], "one value a row"),
        (lambda s, a, f: f[:, 7], "fails"),
        (lambda s, a, f: s[:, 0] / 0, "finite"),
        (lambda s, a, f: 3.0, "one value a row"),
    ],
)
def test_rewards_are_tried_before_anything_is_spent(reward: Any, complaint: str) -> None:
    with pytest.raises(vime.InvalidSettings, match=complaint):
        agents.transfer(agents.explore(CAR, 8, **QUICK), CAR, reward, episodes=10**9)


def test_a_reward_is_scored_in_a_task_by_its_name() -> None:
    found = agents.explore(CAR, 12, **QUICK)
    planner = PlannerSettings(horizon=4, candidates=12, elites=4, iterations=1)
    with pytest.warns(UserWarning, match="none reached what is wanted within 4 steps"):
        told = agents.transfer(found.model, CAR, rewards.flag, planner=planner, episodes=1, steps=3)
    assert told["lengths"] == [3]
    with pytest.raises(vime.InvalidSettings, match="`model` is a world model"):
        agents.transfer(CAR, found.model, rewards.flag)  # type: ignore[arg-type]
    with pytest.raises(vime.InvalidSettings, match="`steps` must be a whole number"):
        agents.explore(CAR, "60")  # type: ignore[arg-type]


def test_what_cannot_be_transferred_is_said() -> None:
    found = agents.explore(CAR, 8, seed=0, **QUICK)
    for wrong, says in (
        ({"how": "plan"}, "way to act"),
        ({"how": "sac", "imagined_steps": 0}, "imagined_steps"),
        ({"how": "sac", "end_cost": 1.0}, "of plans"),
        ({"end_cost": 1.0}, "no end is known"),
    ):
        with pytest.raises((vime.InvalidSettings, vime.UnknownName, TypeError), match=says):
            agents.transfer(found.model, CAR, lambda s, a, f: a[:, 0], **wrong)
    for settings in ({"measure": "variance"}, {"optimism": 1.0}):
        with pytest.raises(vime.InvalidSettings, match="planned in exactly"):
            agents.explore("FrozenLake-v1", 5, **settings)
    for model in ("random", "tabular"):
        with pytest.raises(vime.InvalidSettings, match="take 'ensemble'"):
            agents.explore("FrozenLake-v1", 5, model=model, objective=Objective())


@pytest.mark.slow
def test_the_flag_is_reached_with_the_planner_that_is_usual() -> None:
    """As the command line does it: the reward is paid at the flag alone, some hundred steps from the start."""
    found = agents.explore(CAR, 300, seed=0)
    told = agents.transfer(found, CAR, rewards.flag, episodes=1, steps=300)
    assert told["score"] == 1


def test_discrete_actions_are_learned_in_imagination() -> None:
    found = agents.explore("CartPole-v1", 20, seed=0, **QUICK)
    for how in ("dqn", "ppo"):
        told = agents.transfer(
            found, "CartPole-v1", lambda s, a, f: f[:, 0], how=how, imagined_steps=64, episodes=1, steps=3
        )
        assert len(told["scores"]) == 1
    with pytest.raises(vime.UnsupportedSpace, match="sac needs Box actions"):
        agents.transfer(found, "CartPole-v1", lambda s, a, f: f[:, 0], how="sac")


def test_a_reward_may_be_defined_only_where_the_exploration_went() -> None:
    found = agents.explore(CAR, 8, **QUICK)
    told = agents.transfer(found, CAR, lambda s, a, f: -s[:, 0].abs().log(), planner=PLANNER, episodes=1, steps=2)
    assert told["score"] > 0


def test_a_world_in_learned_features_is_planned_in_too() -> None:
    space = spaces.Box(-2, 2, (2,), np.float32)
    env = gymnasium.make(CAR)
    world = LatentWorld(space, env.action_space, Fixed(), hidden=(8,), minibatch=8, updates=2)
    steps = agents.explore(CAR, 12, model="random").recording
    world.observe(
        vime.Transitions.from_numpy(
            *(steps.column(name) for name in ("obs", "action", "next_obs")), *[[[False]] * 12, [[False]] * 12]
        )
    )
    world.fit()
    told = agents.transfer(world, env, lambda s, a, f: f[:, 0], planner=PLANNER, episodes=1, steps=3)
    assert told["lengths"] == [3]
    imagined = ImaginedEnvironment(world, env.action_space, lambda s, a, f: f[:, 0], copies=2)
    assert imagined.reset().shape == (2, 2)


class Fixed:
    """The numbers as they are."""

    features = 2

    def encode(self, obs: torch.Tensor) -> torch.Tensor:
        return obs

    def fit(self, obs: torch.Tensor, budget: int) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def test_a_diverged_model_is_not_planned_in() -> None:
    found = agents.explore(CAR, 8, **QUICK)
    with torch.no_grad():
        next(iter(found.model.network.parameters())).fill_(float("nan"))
    for how in ("planner", "sac"):
        with pytest.raises(vime.InvalidData, match="its training diverged"):
            agents.transfer(found, CAR, rewards.flag, how=how, episodes=1)


@pytest.mark.parametrize("kind", [torch.bool, torch.long, torch.float32])
def test_ends_may_be_told_in_any_kind_of_number(kind: torch.dtype) -> None:
    members = line(d=1)
    objective = Objective(
        measure=None,
        reward=lambda s, a, f: torch.ones(len(s)),
        termination=lambda s, a, f: (f[:, 0] > 0.15).to(kind),
    )
    actions = torch.tensor([0.0, 1.0]).view(2, 1, 1).expand(2, 4, 1)
    found = imagine(members, torch.zeros(2, 1), actions, objective)
    assert found.reward.tolist() == [4.0, 2.0]  # the second one moves by a tenth, and ends with its second step


def test_ends_of_the_wrong_shape_are_refused() -> None:
    found = agents.explore(CAR, 8, **QUICK)
    for termination in (lambda s, a, f: f, lambda s, a, f: False):
        with pytest.raises(vime.InvalidSettings, match="A termination function returns one value a row"):
            agents.transfer(found, CAR, rewards.flag, termination=termination)  # type: ignore[arg-type]


def test_an_imagined_future_that_diverges_is_cut() -> None:
    found = agents.explore(CAR, 8, **QUICK)
    space = gymnasium.make(CAR).action_space
    env = ImaginedEnvironment(
        found.model, space, lambda s, a, f: torch.tensor([1.0, float("nan"), 1.0, float("inf")]), copies=4
    )
    env.reset()
    _, reward, done, infos = env.step(torch.zeros(4, 1).numpy())
    assert reward.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert done.tolist() == [False, True, False, True]
    assert infos[1]["TimeLimit.truncated"]


def test_a_reward_is_told_state_action_and_next_state_in_this_order() -> None:
    told = []

    def reward(state: torch.Tensor, action: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        if len(state) == 1:
            told.append((state.clone(), action.clone(), following.clone()))
        return following[:, 0]

    found = agents.explore(CAR, 8, **QUICK)
    agents.transfer(found, CAR, reward, planner=PLANNER, episodes=1, steps=6)
    assert len(told) == 6
    for (_, _, after), (before, _, _) in pairwise(told):
        assert torch.equal(after, before)
    push = torch.cat([action for _, action, _ in told])
    speed = torch.cat([after[:, 1:] - before[:, 1:] for before, _, after in told])
    slope = torch.cat([0.0025 * torch.cos(3 * before[:, :1]) for before, _, _ in told])
    torch.testing.assert_close(speed, 0.0015 * push - slope, rtol=1e-3, atol=1e-5)  # Gymnasium's car


def test_imagined_episodes_end_are_cut_and_keep_their_member() -> None:
    found = agents.explore(CAR, 12, **QUICK)
    space = gymnasium.make(CAR).action_space
    env = ImaginedEnvironment(
        found.model,
        space,
        lambda s, a, f: f[:, 0],
        lambda s, a, f: torch.arange(len(s)) == 0,
        copies=3,
        horizon=4,
        seed=0,
    )
    env.reset()
    first = env.member.clone()
    for step in range(1, 5):
        assert torch.equal(env.member[1:], first[1:])
        before = env.state.clone()
        _, _, done, infos = env.step(np.zeros((3, 1), np.float32))
        assert done.tolist() == [True, step == 4, step == 4]
        assert not infos[0]["TimeLimit.truncated"]
        assert not np.allclose(infos[0]["terminal_observation"], before[0])
    assert infos[1]["TimeLimit.truncated"]
    assert env.age.tolist() == [0, 0, 0]


def test_the_height_of_a_tip_and_an_upright_pole() -> None:
    hanging, upright = torch.tensor([[1.0, 0, 1, 0, 0, 0]]), torch.tensor([[-1.0, 0, 1, 0, 0, 0]])
    bent = torch.tensor([[0.0, 1, 0, 1, 0, 0]])  # the first link to the side, the second one up from there
    heights = [float(rewards.height(x, x, x)) for x in (hanging, upright, bent)]
    assert heights == pytest.approx([-2, 2, 1])
    poles = torch.tensor([[0.0, 0, 0.9, 0, 0], [0.0, 0, 0.7, 0, 0], [0.9, 0.9, -1, 0.9, 0.9]])
    assert rewards.upright(poles, poles, poles).tolist() == [1, 0, 0]
