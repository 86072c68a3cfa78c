"""A smooth world in which models of the environment are tried."""

import torch

import vime


def transitions(n: int, seed: int = 0, noise: float = 0.0, centre: float = 0.0) -> vime.Transitions:
    """A smooth world whose last entry is noise of size `noise` and nothing else."""
    generator = torch.Generator().manual_seed(seed)
    obs = centre + torch.randn(n, 1, 3, generator=generator)
    action = torch.rand(n, 1, 1, generator=generator) * 2 - 1
    change = torch.stack([torch.sin(obs[..., 1]) + action[..., 0], 0.5 * obs[..., 0], torch.zeros(n, 1)], -1)
    change[..., 2] = noise * torch.randn(n, 1, generator=generator)
    no = torch.zeros(n, 1, dtype=torch.bool)
    return vime.Transitions(obs, action, obs + change, no, no)
