from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from agents.planning import graphs
from agents.planning.controller import Controller
from agents.planning.graphs import Graphs
from agents.planning.imagination import Imagined, imagine
from agents.planning.objective import Objective
from agents.planning.settings import PlannerSettings
from vime.members import Members
from vime.world import make_world

BOX, ACTION = spaces.Box(-1, 1, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32)
OBJECTIVES = {
    "information": Objective(),
    "noise": Objective(noise=True),
    "members": Objective(measure=None, reward=lambda s, a, f: f[:, 0], propagation="members", noise=True),
    "optimism": Objective(optimism=1.0),
    "termination": Objective(reward=lambda s, a, f: f[:, 0], termination=lambda s, a, f: f[:, 1] > 0.1),
}


def networks(device: str = "cpu", seed: int = 0) -> Members:
    return make_world("ensemble", BOX, ACTION, hidden=(16, 16), count=3, seed=seed, device=device).members()


def arguments(objective: Objective, n: int = 8, device: str = "cpu", seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(n, 3, generator=generator)
    actions = torch.rand(n, 5, 2 + objective.extra_actions(3), generator=generator)
    return start.to(device), actions.to(device)


def repeated(function: Callable[[], Imagined]) -> tuple[Callable[[], None], Imagined]:
    """Stands for a capture: what is replayed reads the memory that it read at first, and writes where it did."""
    result = function()

    def replay() -> None:
        for name, part in vars(function()).items():
            getattr(result, name).copy_(part)

    return replay, result


def generators(device: str) -> tuple[torch.Generator, torch.Generator]:
    return torch.Generator(device).manual_seed(5), torch.Generator(device).manual_seed(5)


def check_equal_to_eager(objective: Objective, device: str, tolerance: float) -> None:
    """Two shapes in turn, other arguments every time, and other networks half way."""
    mine, plain = generators(device)
    graph, members = Graphs(objective, mine), networks(device)
    for turn in range(6):
        if turn == 3:
            members = networks(device, seed=1)
        start, actions = arguments(objective, 8 if turn % 2 else 4, device, seed=turn)
        found = graph.imagine(members, start, actions)
        noise = torch.randn(5, *start.shape, generator=plain, device=device) if objective.noise else None
        expected = imagine(members, start, actions, objective, noise)
        for name, part in vars(expected).items():
            torch.testing.assert_close(getattr(found, name), part, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_is_replayed_gets_fresh_arguments_noise_and_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "captured", repeated)
    check_equal_to_eager(OBJECTIVES[name], "cpu", 0.0)


def test_each_shape_is_captured_once_and_other_networks_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    captures: list[int] = []

    def counting(function: Any) -> Any:
        captures.append(1)
        return repeated(function)

    monkeypatch.setattr(graphs, "captured", counting)
    objective = Objective()
    graph = Graphs(objective, torch.Generator())
    for n, seed in ((4, 0), (8, 0), (4, 1), (8, 1)):
        graph.imagine(networks(seed=seed), *arguments(objective, n))
    assert len(captures) == 2
    graph.imagine(networks().to(torch.bfloat16), *arguments(objective, 4))
    assert len(captures) == 3


def test_what_cannot_be_captured_runs_without_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(function: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(graphs, "captured", refusing)
    objective = Objective()
    graph, arg = Graphs(objective, torch.Generator()), arguments(objective)
    with pytest.warns(UserWarning, match=r"not permitted when stream is capturing\. A function"):
        graph.imagine(networks(), *arg)
    found = graph.imagine(networks(), *arg)  # a warning would be an error
    assert torch.equal(found.score, imagine(networks(), *arg, objective).score)


@pytest.mark.gpu
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_captured_unroll_gives_what_an_eager_one_gives(name: str) -> None:
    check_equal_to_eager(OBJECTIVES[name], "cuda", 1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gpu_gives_what_the_processor_gives(name: str) -> None:
    objective = OBJECTIVES[name]
    start, actions = arguments(objective)
    noise = torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(1))
    members = networks()
    moved = graphs.copied(members)
    moved = Members.from_state({
        k: [p.cuda() for p in v] if isinstance(v, list) else v.cuda() if isinstance(v, Tensor) else v
        for k, v in moved.state_dict().items()
    })  # fmt: skip
    here = imagine(members, start, actions, objective, noise)
    there = imagine(moved, start.cuda(), actions.cuda(), objective, noise.cuda())
    torch.testing.assert_close(there.score.cpu(), here.score, atol=1e-4, rtol=1e-4)


@pytest.mark.gpu
def test_noise_differs_from_one_replay_to_the_next() -> None:
    objective = OBJECTIVES["members"]
    graph, arg, members = (
        Graphs(objective, generators("cuda")[0]),
        arguments(objective, device="cuda"),
        networks("cuda"),
    )
    scores = [graph.imagine(members, *arg).score for _ in range(4)]
    assert len({tuple(score.tolist()) for score in scores}) == 4


@pytest.mark.gpu
def test_a_controller_plans_with_graphs_of_its_own_accord() -> None:
    settings = PlannerSettings(horizon=5, candidates=16, iterations=3, elites=4)
    controller = Controller(networks("cuda"), ACTION, Objective(), settings)
    for _ in range(3):
        action, score = controller.act(torch.zeros(1, 3, device="cuda"))
        assert ACTION.contains(action)
        assert np.isfinite(score)
    assert controller._captured is not None
    assert any(unroll is not None for unroll in controller._captured._known.values())
