"""The mean of the weights over the run, which is used in their stead once training ends."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

STRIDE = 4  # steps between two updates of the mean


def averaged(model: nn.Module) -> list[Tensor]:
    """Returns what of a model is averaged: its parameters, and the running statistics that belong to them."""
    buffers = [value for name, value in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
    return [*model.parameters(), *buffers]


class Average:
    """Exponential mean of parameters and of running statistics, corrected for its start.

    The weights are taken in at every fourth step, which costs a quarter and changes nothing that can be seen. The t-th
    time the memory is min(decay⁴, (1 + t) / (10 + t)), so that the first weights, which are noise, are soon forgotten.

    Args:
        parameters: what is averaged; `averaged(model)` gives them.
        decay: memory once the run is long; 0.999 remembers about a thousand steps.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.parameters, self.decay = list(parameters), decay
        self.means: list[Tensor] = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the present weights in, after step number `step` (from 0), if it is their turn."""
        times, turn = divmod(step, STRIDE)
        if turn:
            return
        decay = min(self.decay**STRIDE, (1 + times) / (10 + times))
        present = [parameter.detach() for parameter in self.parameters]
        torch._foreach_lerp_(self.means, present, 1 - decay)  # type: ignore[attr-defined]

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the model's weights and their mean; a second call undoes the first."""
        for parameter, mean in zip(self.parameters, self.means, strict=True):
            held = parameter.detach().clone()
            parameter.copy_(mean)
            mean.copy_(held)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the means, by number."""
        return {str(i): mean for i, mean in enumerate(self.means)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes over what `state_dict` gave."""
        for i, mean in enumerate(self.means):
            mean.copy_(state[str(i)])
