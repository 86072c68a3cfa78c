"""Where a new episode begins, as every episodic memory needs to know it."""

import torch
from jaxtyping import Bool
from torch import Tensor

from vime.transitions import Observation, Transitions


def _same(one: Observation, two: Observation) -> Bool[Tensor, "t b"]:
    if isinstance(one, dict) or isinstance(two, dict):
        return torch.stack([_same(one[key], two[key]) for key in one]).all(0)  # type: ignore[index]
    equal = torch.eq(one, two)
    return equal.flatten(2).all(2) if equal.ndim > 2 else equal


def done(batch: Transitions) -> Bool[Tensor, "t b"]:
    """Returns whether the step is the last of its episode."""
    return batch.terminated | batch.truncated


def starts(batch: Transitions) -> Bool[Tensor, "t b"]:
    """Returns whether a step begins an episode, as far as the batch itself tells; false for its first step.

    Beside the step after an end, a step that does not go on from where the last one led begins one. So the transitions
    of a sampled minibatch, which have nothing to do with each other, each count as the first of an episode.
    """
    begins = torch.zeros_like(batch.terminated)
    if len(begins) > 1:
        now = {key: part[1:] for key, part in batch.obs.items()} if isinstance(batch.obs, dict) else batch.obs[1:]
        led = batch.next_obs
        before = {key: part[:-1] for key, part in led.items()} if isinstance(led, dict) else led[:-1]
        begins[1:] = done(batch)[:-1] | ~_same(now, before)
    return begins
