"""One line in a yaml file of rl_zoo3 makes its agent curious.

    callback: {agents.zoo.Curious: {bonus: rnd}}

A callback, because the zoo's `vec_env_wrapper` would also wrap the environments on which it evaluates. Nothing here
needs the zoo: any `model.learn(..., callback=Curious("rnd"))` does the same.
"""

import io
from collections.abc import Mapping
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback

from agents.attach import attach, curiosity
from agents.curious import Curiosity
from vime import Scaling
from vime.errors import build_settings

CARRIED = "carried_curiosity"  # the attribute of a model under which its zip file holds the bonus


class Curious(BaseCallback):
    """Attaches a bonus to the model before its first step, as `agents.attach` does with the same arguments.

    What bonus, weight and second value head have learnt goes with `model.save`, and comes back when the loaded model is
    trained on with this callback and the same settings: so the zoo's `--trained-agent` continues them, and its
    checkpoints hold them. Steps that the bonus had not learnt from yet are lost, as is the episode under way.

    Args:
        bonus: a name from `vime.BONUSES`, or several joined by "+".
        options: of `agents.attach`: `scale`, `weight`, `streams`, `learn_every`, `scaling` (a mapping of the fields of
            `vime.Scaling`), and the settings of the bonus.

    Raises:
        UnknownName, InvalidSettings, UnsupportedSpace: as `agents.attach`, when training starts.
        CheckpointError: the loaded model was trained with another bonus, or with other settings of it.
    """

    def __init__(self, bonus: str = "vime", *, verbose: int = 0, **options: Any) -> None:
        super().__init__(verbose)
        self.bonus, self.options = bonus, options
        if isinstance(options.get("scaling"), Mapping):
            self.options["scaling"] = build_settings("The scaling of a bonus", Scaling, options["scaling"])

    def _init_callback(self) -> None:
        if curiosity(self.model) is None:
            attach(self.model, self.bonus, **self.options)
            present: Any = curiosity(self.model)
            carried = getattr(self.model, CARRIED, None)
            if carried is not None:
                present.load_learned(carried.state)
            setattr(self.model, CARRIED, Carried(present))

    def _on_step(self) -> bool:
        return True


class Carried:
    """What a model's zip file holds of its curiosity: the state at the moment of saving."""

    def __init__(self, present: Curiosity) -> None:
        self.present = present

    @property
    def state(self) -> dict[str, Any]:
        """Bonus, weight and second value head, as tensors and plain Python values."""
        return self.present.learned()

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        file = io.BytesIO()
        torch.save(self.state, file)
        return Loaded, (file.getvalue(),)


class Loaded:
    """The same once it was loaded: a state that waits for its model to be trained on."""

    def __init__(self, saved: bytes) -> None:
        self.saved = saved

    @property
    def state(self) -> dict[str, Any]:
        """The saved state, read as data alone."""
        return torch.load(io.BytesIO(self.saved), map_location="cpu", weights_only=True)
