"""PPO in one file, after CleanRL's manner, made curious by the lines that end in `# curiosity`.

Without those lines it is plain PPO on Gymnasium's vector environments, for continuous actions. The bonus of a whole
rollout is computed in one call, before advantages are. (Where speed does not matter, one line does as well:
`envs = vime.wrap(envs, "vime")`.)

    python scripts/cleanrl_ppo.py --task vime/SparseCartPoleSwingupWeak-v0 --seed 1
    python scripts/cleanrl_ppo.py --task vime/SparseCartPoleSwingupWeak-v0 --seed 1 --scale 0
"""

from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
import tyro
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.utils import RunningMeanStd
from torch import nn

import envs as _tasks  # noqa: F401 - registers vime/...-v0
import vime  # curiosity


@dataclass(frozen=True)
class Args:
    """Settings of a run."""

    task: str = "vime/SparseMountainCar-v0"
    steps: int = 100_000
    """Of all copies together."""
    copies: int = 8
    rollout: int = 256
    epochs: int = 10
    minibatch: int = 512
    learning_rate: float = 3e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_weight: float = 0.5
    largest_gradient: float = 0.5
    seed: int = 0
    bonus: str = "vime"  # curiosity
    scale: float = 1.0  # curiosity


def net(inputs: int, outputs: int, gain: float) -> nn.Sequential:
    """Returns two hidden layers of 64 and a linear one, orthogonal."""
    layers: list[nn.Module] = []
    for n, m, g in ((inputs, 64, 2**0.5), (64, 64, 2**0.5), (64, outputs, gain)):
        layers += [nn.Linear(n, m), nn.Tanh()]
        nn.init.orthogonal_(layers[-2].weight, g)  # type: ignore[arg-type]
        nn.init.zeros_(layers[-2].bias)  # type: ignore[arg-type]
    return nn.Sequential(*layers[:-1])


class Agent(nn.Module):
    """A Gaussian policy and a value."""

    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.mean, self.value = net(inputs, actions, 0.01), net(inputs, 1, 1.0)
        self.log_std = nn.Parameter(torch.zeros(actions))

    def policy(self, obs: torch.Tensor) -> torch.distributions.Independent:
        """Returns the distribution of actions at each observation."""
        return torch.distributions.Independent(torch.distributions.Normal(self.mean(obs), self.log_std.exp()), 1)


def train(args: Args) -> tuple[Agent, list[tuple[int, float]]]:
    """Returns the trained agent, and of every episode its last step (of all copies) and its return."""
    # on the step after the end of an episode a copy only resets: its observation there is the true last one
    mode = {"autoreset_mode": AutoresetMode.NEXT_STEP}
    envs = gymnasium.make_vec(args.task, num_envs=args.copies, vectorization_mode="sync", vector_kwargs=mode)
    space, actions = envs.single_observation_space, envs.single_action_space
    if not isinstance(actions, gymnasium.spaces.Box):
        raise SystemExit(f"The policy here is a Gaussian, for continuous actions; {args.task} has {actions}.")
    bonus = vime.ScaledBonus(vime.make_bonus(args.bonus, space, actions, seed=args.seed), args.scale)  # curiosity
    torch.manual_seed(args.seed)
    agent = Agent(int(np.prod(space.shape or ())), int(np.prod(actions.shape or ())))
    optimiser = torch.optim.Adam(agent.parameters(), args.learning_rate, eps=1e-5)
    moments = RunningMeanStd(shape=space.shape or ())

    def normal(obs: np.ndarray) -> torch.Tensor:
        return torch.as_tensor((obs - moments.mean) / np.sqrt(moments.var + 1e-8)).float().clamp(-10, 10)

    t, b = args.rollout, args.copies
    seen = torch.zeros(t + 1, b, *(space.shape or ()))
    acted, log_probs = torch.zeros(t, b, *(actions.shape or ())), torch.zeros(t, b)
    rewards, values = torch.zeros(t, b), torch.zeros(t + 1, b)
    terminated, truncated, resets = (np.zeros((t, b), bool) for _ in range(3))
    raw, clipped = np.zeros((t + 1, b, *(space.shape or ()))), np.zeros((t, b, *(actions.shape or ())))  # curiosity
    obs, _ = envs.reset(seed=args.seed)
    ended, totals, episodes = np.zeros(b, bool), np.zeros(b), []

    for update in range(args.steps // (t * b)):
        for step in range(t + 1):
            if step < t:  # the last one comes again in the next rollout
                moments.update(obs)
            seen[step] = normal(obs)
            raw[step] = obs  # curiosity
            with torch.no_grad():
                values[step] = agent.value(seen[step]).squeeze(1)
                if step == t:
                    break
                policy = agent.policy(seen[step])
                acted[step] = policy.sample()
                log_probs[step] = policy.log_prob(acted[step])
            action = np.clip(acted[step].numpy(), actions.low, actions.high)  # type: ignore[attr-defined]
            clipped[step] = action  # curiosity
            resets[step] = ended
            obs, reward, terminated[step], truncated[step], _ = envs.step(action)
            rewards[step] = torch.as_tensor(reward)
            ended = terminated[step] | truncated[step]
            totals += reward
            for copy in np.flatnonzero(ended):
                episodes.append((update * t * b + (step + 1) * b, float(totals[copy])))
                totals[copy] = 0.0

        batch = vime.Transitions.from_numpy(raw[:-1], clipped, raw[1:], terminated, truncated, ~resets)  # curiosity
        rewards += bonus.scale * bonus.reward(batch)  # curiosity
        bonus.observe(batch)  # curiosity
        bonus.learn(batch)  # curiosity
        advantages, last = torch.zeros(t, b), torch.zeros(b)
        for step in reversed(range(t)):
            going = torch.as_tensor(~terminated[step]).float()
            same = torch.as_tensor(~(terminated[step] | truncated[step])).float()
            delta = rewards[step] + args.gamma * going * values[step + 1] - values[step]
            advantages[step] = last = delta + args.gamma * args.gae_lambda * same * last
        returns = advantages + values[:-1]

        rows = torch.as_tensor(np.flatnonzero(~resets))
        flat = [part.flatten(0, 1) for part in (seen[:-1], acted, log_probs, advantages, returns)]
        for _ in range(args.epochs):
            for index in rows[torch.randperm(len(rows))].split(args.minibatch):
                x, action, old, advantage, target = (part[index] for part in flat)
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                ratio = (agent.policy(x).log_prob(action) - old).exp()
                surrogate = torch.min(advantage * ratio, advantage * ratio.clamp(1 - args.clip, 1 + args.clip))
                error = (agent.value(x).squeeze(1) - target).square()
                loss = (args.value_weight * error - surrogate).mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.largest_gradient)
                optimiser.step()
    envs.close()
    return agent, episodes


if __name__ == "__main__":
    args = tyro.cli(Args, config=(tyro.conf.HelptextFromCommentsOff,))
    done = train(args)[1]
    late = [total for step, total in done if step > 0.9 * args.steps]
    score = f"{np.mean(late):.2f} a late episode" if late else "no episode ended in the last tenth of the steps"
    print(f"{args.task}, seed {args.seed}: {score}, {len(done)} episodes")
