"""How well worlds in learned features predict a task that is seen as pictures: the sparse mountain car.

Each encoder, and a Bayesian ensemble in its features, learns from the same pushes, kept up for a while each. Then the
model imagines unseen episodes with their true actions, without looking. Where the car is in a state, a linear map tells
that was fitted to the features of the training steps; the figure is its error in metres, beside that of the features
themselves (step 0) and of a car that never moves. The picture shows what the autoencoder's world imagines.

    python scripts/latent_world.py --out results/latent_world.json
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from torch import Tensor

import envs
from agents.demonstrations import demonstrations
from agents.encoders import EncoderSettings, make_features
from agents.features import Coded
from envs.pixels import FRAMES, SIDE, car_places
from vime.latent import LatentWorld
from vime.spaces import make_encoder
from vime.transitions import Transitions

TASK = envs.PixelMountainCar.TASK
SHOWN = (0, 5, 10, 20, 40)
"""Steps of imagination that are measured."""
LATE = 300
"""Steps after which a stretch that is imagined ends: the car is on its way by then."""
HOLD = 12
"""Steps that a push is kept up, on average."""


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    encoders: tuple[str, ...] = ("random", "vae", "iaf-vae")
    world: str = "ensemble"
    steps: int = 10_000
    """Transitions that everything learns from."""
    episodes: int = 40
    """Unseen stretches that are imagined."""
    encoder_steps: int = 1000
    updates: int = 2000
    """Gradient steps of the world."""
    seed: int = 0
    out: Path = Path("results/latent_world.json")


def pushes(steps: int, seed: int) -> Transitions:
    """Returns transitions of pushes of random strength, each kept up for a while."""
    rng = np.random.default_rng(seed)
    push = np.zeros(1, np.float32)

    def policy(_: Any) -> np.ndarray:
        if rng.random() < 1 / HOLD:
            push[:] = rng.uniform(-1, 1)
        return push.copy()

    return demonstrations(gymnasium.make(TASK), policy, steps, seed)


def places(obs: Tensor) -> Tensor:
    """Returns where the car is now, in m, as its pictures tell: `(n,)`."""
    return torch.from_numpy(car_places(obs.numpy())[:, -1].copy())


def fit_map(features: Tensor, targets: Tensor) -> Tensor:
    """Returns the weights of the linear map, offset last, from features to targets, lightly shrunk."""
    x = torch.cat([features, torch.ones(len(features), 1)], 1).double()
    return torch.linalg.solve(x.T @ x + 1e-3 * torch.eye(x.shape[1]), x.T @ targets.double())


def told(features: Tensor, weights: Tensor) -> Tensor:
    """Returns what the linear map says."""
    return (torch.cat([features, torch.ones(len(features), 1)], 1).double() @ weights).float()


class Frozen(torch.nn.Module):
    """The random convolutions that a bonus has by itself, as an encoder that can be saved."""

    def __init__(self, space: gymnasium.Space, seed: int) -> None:
        super().__init__()
        self.inner = make_encoder(space, seed)
        self.features = self.inner.features

    def encode(self, obs: Tensor) -> Tensor:
        """Returns the features of `n` observations."""
        return self.inner.encode(obs)

    def fit(self, observations: Tensor, budget: int) -> dict[str, float]:
        """Does nothing."""
        return {}


def build(name: str, arguments: Arguments) -> LatentWorld:
    """Returns a new world in the features of one encoder."""
    env = gymnasium.make(TASK)
    spaces = (env.observation_space, env.action_space)
    if name == "random":
        encoder: Any = Frozen(spaces[0], arguments.seed)
    else:
        encoder = make_features(EncoderSettings(model=name, frames=FRAMES), *spaces, seed=arguments.seed)
    return LatentWorld(*spaces, encoder, arguments.world, hidden=(128, 128), seed=arguments.seed)


def imagined(world: LatentWorld, obs: Tensor, actions: Tensor) -> Tensor:
    """Returns the mean state of all members at every step from `n` observations on: `(steps + 1, n, d)`."""
    members = world.members(torch.Generator().manual_seed(0))
    states = [world.encode(obs)]
    for action in actions:
        states.append(members.predict(states[-1], world.encode_action(action)).mean.mean(0))
    return torch.stack(states)


def measure(name: str, data: Transitions, unseen: list[Transitions], arguments: Arguments) -> tuple[dict, LatentWorld]:
    """Returns the row of one encoder, and its world."""
    world = build(name, arguments)
    world.observe(data)
    world.learn_features(arguments.encoder_steps)
    world.fit(arguments.updates)
    seen = data.next_obs[:, 0]  # type: ignore[index]  # pictures are one tensor
    weights = fit_map(world.encode(seen), places(seen))
    start = torch.stack([part.obs[0, 0] for part in unseen])  # type: ignore[index]
    actions = torch.stack([part.action[:, 0] for part in unseen], 1)
    states = imagined(world, start, actions)
    row: dict[str, Any] = {"encoder": name, "features": world.features}
    for step in SHOWN:
        truth = places(torch.stack([part.obs[step, 0] for part in unseen]))  # type: ignore[index]
        row[f"error_{step}"] = float((told(states[step], weights) - truth).square().mean().sqrt())
        row[f"still_{step}"] = float((places(start) - truth).square().mean().sqrt())
    return row, world


def picture(world: LatentWorld, part: Transitions, path: Path) -> None:
    """Draws what was seen above what was imagined."""
    from PIL import Image

    states = imagined(world, part.obs[:1, 0], part.action)  # type: ignore[index]
    rows = [torch.cat([part.obs[step, 0, -1].float() for step in SHOWN], 1)]  # type: ignore[index]
    seen = world.decode(states[list(SHOWN), 0])
    rows.append(torch.cat(list(seen[:, -1] * 255), 1))  # type: ignore[index, arg-type]
    image = torch.cat(rows).clamp(0, 255).byte().numpy()
    Image.fromarray(image).resize((4 * SIDE * len(SHOWN), 8 * SIDE), Image.Resampling.NEAREST).save(path)


def main() -> None:
    """Measures every encoder, prints and writes the table, and draws a picture."""
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    data = pushes(arguments.steps, arguments.seed)
    long = max(SHOWN) + 1
    unseen = [
        pushes(300 + long, 1000 + seed).map_tensors(lambda part: part[300 - long : 300])
        for seed in range(arguments.episodes)
    ]
    unseen = [part for part in unseen if not (part.terminated | part.truncated).any()]
    rows = []
    for name in arguments.encoders:
        row, world = measure(name, data, unseen, arguments)
        rows.append(row)
        errors = "  ".join(f"{step}: {row[f'error_{step}']:.3f} ({row[f'still_{step}']:.3f})" for step in SHOWN)
        print(f"{name:8} {row['features']:3} features, error in m after steps (of a car that never moves)  {errors}")
        if name == "vae" and isinstance(world.encoder, Coded):
            picture(world, unseen[0], arguments.out.with_suffix(".png"))
    settings = {"steps": arguments.steps, "stretches": len(unseen), "world": arguments.world, "seed": arguments.seed}
    arguments.out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
