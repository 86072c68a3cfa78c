"""States of things that are made of parts."""

from copy import deepcopy
from typing import Any, ClassVar

import torch
from torch import Tensor


class Saved:
    """Something whose whole state is that of its `parts`: attributes by name.

    Each is a tensor of fixed shape, a plain value, a module, or anything else with `state_dict` and `load_state_dict`.
    """

    parts: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of every part, as tensors and plain Python values that nothing else changes."""
        return {name: _state(getattr(self, name)) for name in self.parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit.

        Raises:
            KeyError, RuntimeError, ValueError: it is the state of something else.
        """
        for name in self.parts:
            part = getattr(self, name)
            if isinstance(part, Tensor):
                part.copy_(state[name])
            elif isinstance(part, int | float | str):
                setattr(self, name, type(part)(state[name]))
            else:
                part.load_state_dict(state[name])


def _state(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part.clone()
    if isinstance(part, int | float | str):
        return part
    return deepcopy(dict(part.state_dict())) if isinstance(part, torch.nn.Module) else part.state_dict()
