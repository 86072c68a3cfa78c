"""Replay buffers of SB3 that also hold what was imagined: a minibatch is part real and part imagined."""

from typing import Any

import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from agents.buffers import Curious, Extended
from agents.planning.dreaming import Dyna


class DynaReplay(Extended, ReplayBuffer):
    """Shows every real step to the `Dyna` beside it, and mixes what that imagined into minibatches."""

    OURS = ("dyna",)
    dyna: Dyna

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Stores one real step of every copy; now and then the model learns from the steps since the last time."""
        super().add(*args, **kwargs)
        self.dyna.added(self)

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> Any:
        """Returns a minibatch, part real and part imagined, observations and rewards normalised by `env`."""
        imagined = self.dyna.share(batch_size)
        if imagined == 0:
            return super().sample(batch_size, env)
        dreamt = self.dyna.draw(imagined, env)
        if imagined == batch_size:
            return dreamt
        real = super().sample(batch_size - imagined, env)
        parts = (
            torch.cat([one.float() if one.is_floating_point() else one, other.to(one.device).type(_kind(one))])
            for one, other in zip(real[:5], dreamt[:5], strict=True)
        )
        return ReplayBufferSamples(*parts)


def _kind(tensor: torch.Tensor) -> torch.dtype:
    return torch.float32 if tensor.is_floating_point() else tensor.dtype


def make_dreaming(buffer: ReplayBuffer, dyna: Dyna) -> None:
    """Makes a replay buffer mix in what `dyna` imagines, in place; a curious one goes on paying its bonus for both."""
    cls: Any = type(buffer)
    if isinstance(buffer, Curious):
        kind, stock = cls.__bases__
        buffer.__class__ = type(cls.__name__, (kind, _dreaming(stock)), {})
    else:
        buffer.__class__ = _dreaming(cls)
    buffer.dyna = dyna  # type: ignore[attr-defined]


def _dreaming(stock: Any) -> Any:
    return type(f"Dyna{stock.__name__}", (DynaReplay, stock), {})
