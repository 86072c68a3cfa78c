"""The contract of a bonus, its weight in the reward, and the table of names."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vime.bonuses.counts import Counts
from vime.bonuses.deir import Deir
from vime.bonuses.density_counts import DensityCounts
from vime.bonuses.disagreement import Disagreement
from vime.bonuses.e3b import E3b
from vime.bonuses.ex2 import Ex2
from vime.bonuses.expected_gain import ExpectedGain
from vime.bonuses.faithful import FaithfulVime
from vime.bonuses.girm import Girm
from vime.bonuses.icm import Icm
from vime.bonuses.lpm import Lpm
from vime.bonuses.mixture import Mixture
from vime.bonuses.ngu import Ngu
from vime.bonuses.none import NoBonus
from vime.bonuses.noveld import NovelD
from vime.bonuses.pseudo_counts import PseudoCounts
from vime.bonuses.re3 import Re3
from vime.bonuses.revd import Revd
from vime.bonuses.ride import Ride
from vime.bonuses.rise import Rise
from vime.bonuses.rnd import Rnd
from vime.bonuses.simhash import SimHash
from vime.bonuses.vime import Vime
from vime.errors import CheckpointError, InvalidData, InvalidSettings, build_settings, nearest
from vime.naming import is_own, own_bonus, part_names
from vime.normalise import Scaling, Yardstick
from vime.own import as_metrics, as_reward, require_bonus
from vime.transitions import Transitions

MAX_SEED = 2**32 - 1  # a bonus may put a count of 32 bits behind it
NAMED_ENCODER = (
    "`encoder` of the bonus {0!r} must be an object here; got {1!r}. `agents.attach`, `vime train` and `vime compare` "
    "take one by name, for a bonus or a mixture as a whole; what "
    "agents.encoders.make_bonus({0!r}, observation_space, action_space, encoder=...) returns goes into `vime.wrap`."
)


@runtime_checkable
class Bonus(Protocol):
    """A source of intrinsic reward. Asking changes nothing; only `observe` and `learn` do."""

    scaling: Scaling
    """How the raw bonus becomes a reward, unless the user says otherwise."""

    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the raw bonus of every transition, finite float32; nats where it is an information gain."""
        ...

    def observe(self, batch: Transitions) -> None:
        """Advances episodic memories and running statistics; called once for every batch, after `reward`."""
        ...

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Updates the model from a batch that was observed; returns metrics."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on, as tensors and plain Python values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        ...


BONUSES: Mapping[str, type] = {
    "none": NoBonus,
    "vime": Vime,
    "vime-faithful": FaithfulVime,
    "expected-gain": ExpectedGain,
    "icm": Icm,
    "disagreement": Disagreement,
    "ride": Ride,
    "e3b": E3b,
    "deir": Deir,
    "girm": Girm,
    "ex2": Ex2,
    "rnd": Rnd,
    "counts": Counts,
    "simhash": SimHash,
    "pseudo-counts": PseudoCounts,
    "density-counts": DensityCounts,
    "ngu": Ngu,
    "re3": Re3,
    "rise": Rise,
    "revd": Revd,
    "noveld": NovelD,
    "lpm": Lpm,
}


def make_bonus(name: str, observation_space: gymnasium.Space, action_space: gymnasium.Space, **settings: Any) -> Bonus:
    """Returns the bonus `name` for transitions of these (single-environment) spaces.

    Args:
        name: an entry of `BONUSES`; a class of your own as "module:Class", made as those are; or several joined by "+",
            for example "disagreement+e3b": a `Mixture` of them.
        settings: fields of the bonus's settings dataclass, for example `seed`, `device`, `hidden`. For a mixture:
            `weights`, one number a part; the settings of a part under its name, `e3b={"ridge": 1.0}`; and what goes to
            every part, `seed` and `device`.

    Raises:
        UnknownName: no bonus is named so; the nearest is suggested.
        InvalidSettings: a setting is unknown or out of range, or a class of your own is no bonus.
        UnsupportedSpace: the bonus cannot serve a space.
    """
    parts = part_settings(name, settings)
    made = [(part, bonus_class(part)(observation_space, action_space, own)) for part, own in parts]
    if len(made) == 1:
        return made[0][1]
    return Mixture(
        [part for part, _ in made], [ScaledBonus(bonus) for _, bonus in made], _plain(settings.get("weights"))
    )


def bonus_class(name: str) -> type:
    """Returns the class of a bonus: an entry of `BONUSES`, or what `module:Class` names.

    Raises:
        UnknownName: there is none.
        InvalidSettings: the user's own lacks what every bonus has.
    """
    return own_bonus(name) if is_own(name) else BONUSES[name]


def part_settings(name: str, settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Returns the name and the settings dataclass of every part of a bonus, one for a plain name; builds no bonus.

    Raises:
        UnknownName: no bonus is named so; the nearest is suggested.
        InvalidSettings: a setting is unknown or out of range.
    """
    names = part_names(name, BONUSES)
    if len(names) == 1:
        return [(names[0], _own_settings(names[0], settings))]
    known = {"weights", "seed", "device", *names}
    for key, value in settings.items():
        if key not in known:
            raise InvalidSettings(f"The mixture {name!r} has no setting {key!r}. {nearest(key, known)}")
        if key in names and not isinstance(value, Mapping):
            raise InvalidSettings(f"The settings of {key!r} in a mixture are a mapping; got {value!r}.")
    weights = _plain(settings.get("weights"))
    if weights is not None and not (
        isinstance(weights, Sequence) and len(weights) == len(names) and all(_is_finite(weight) for weight in weights)
    ):
        how = " On the command line it is written weights=[2,1]." if isinstance(weights, str) else ""
        raise InvalidSettings(
            f"`weights` must hold one finite number for each of {', '.join(names)}; got {weights!r}.{how}"
        )
    shared = {key: value for key, value in settings.items() if key in ("seed", "device")}
    return [(part, _own_settings(part, shared | dict(settings.get(part, {})))) for part in names]


def _own_settings(name: str, settings: Mapping[str, Any]) -> Any:
    """Returns the settings dataclass of one bonus; seed and device, which all have, are checked here for all."""
    if name != "none" and isinstance(settings.get("encoder"), str | Mapping):
        raise InvalidSettings(NAMED_ENCODER.format(name, settings["encoder"]))
    built = build_settings(f"The bonus {name!r}", bonus_class(name).Settings, settings)
    if not 0 <= built.seed <= MAX_SEED:
        raise InvalidSettings(f"`seed` must lie in 0 to {MAX_SEED}; got {built.seed}.")
    try:
        usable = torch.empty(0, device=built.device).device.type != "meta"  # where nothing is ever computed
    except (AssertionError, RuntimeError):
        usable = False
    if not usable:
        raise InvalidSettings(f"`device` must be one that torch can use here, such as 'cpu'; got {built.device!r}.")
    return built


def _plain(weights: Any) -> Any:
    """Returns an array, or tensor, of weights as a list."""
    return weights.tolist() if isinstance(weights, np.ndarray | Tensor) else weights


def _is_finite(number: Any) -> bool:
    return isinstance(number, Real) and not isinstance(number, bool) and math.isfinite(number)


class ScaledBonus:
    """A bonus on a common scale, ready to be added to a reward; itself a bonus, with the same three verbs.

    What `Scaling` divides by is measured once per `learn`, over all that was observed since the last. The wrappers and
    buffers that own a bonus hold it through this class; the weight of the bonus is `scale`.
    """

    def __init__(self, bonus: Bonus, scale: float | int = 1.0, scaling: Scaling | None = None) -> None:
        if not isinstance(scaling, Scaling | None):
            raise InvalidSettings(f"`scaling` must be a vime.Scaling; got {scaling!r}.")
        require_bonus(bonus, BONUSES)
        self.bonus = bonus
        self.scale = scale
        self.scaling = scaling or bonus.scaling
        self.yardstick = Yardstick(self.scaling)
        self._asked: tuple[Transitions, Tensor] | None = None

    @property
    def scale(self) -> float:
        """Weight of the bonus in the reward; no part of what is saved."""
        return self._scale

    @scale.setter
    def scale(self, scale: float | int) -> None:
        if not _is_finite(scale):
            raise InvalidSettings(f"`scale` must be a finite number; got {scale!r}.")
        if scale < 0:
            raise InvalidSettings(f"`scale` must not be negative, or the bonus repels; got {scale}.")
        self._scale = float(scale)

    def raw(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the bonus in its own unit (nats for information gains), zero where the batch is not valid.

        Raises:
            InvalidData: the batch, or the bonus that the model gives for it, is not finite.
        """
        if self._asked is None or self._asked[0] is not batch:
            if batch.valid.device.type != "cpu":
                raise InvalidData(
                    f"Batches lie on the CPU, whatever device the bonus computes on; this one is on "
                    f"{batch.valid.device}. Hand in `batch.to('cpu')`, and give the bonus its `device`."
                )
            batch.check_finite()
            self._asked = (batch, as_reward(self.bonus, self.bonus.reward(batch), batch))
        return self._asked[1]

    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the bonus on the common scale, **not** yet multiplied by `scale`."""
        raw = self._squash(self.raw(batch))
        return raw * (self.scaling.unit / self.yardstick.length(raw[batch.valid]))

    def observe(self, batch: Transitions) -> None:
        """Hands the batch to the bonus's memories, and keeps its bonuses for the yardstick."""
        self.yardstick.observe(self._squash(self.raw(batch))[batch.valid])
        self.bonus.observe(batch)
        self._asked = None

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Updates the yardstick, then the model; returns the model's metrics."""
        self.yardstick.commit()
        self._asked = None
        if not batch.valid.any():
            return {}
        return as_metrics(self.bonus, self.bonus.learn(batch))

    def _squash(self, raw: Tensor) -> Tensor:
        return torch.log1p(raw.clamp_min(0)) if self.scaling.squash else raw

    def state_dict(self) -> dict[str, Any]:
        """The bonus, of which kind it is, and its yardstick; not `scale`, which is the user's."""
        kind = type(self.bonus).__name__
        return {"kind": kind, "bonus": self.bonus.state_dict(), "yardstick": self.yardstick.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit; one that is refused changes nothing. `scale` stays what it is.

        Raises:
            CheckpointError: the state belongs to another bonus, or to one of another shape.
        """
        mine, theirs = type(self.bonus).__name__, state.get("kind", "an earlier version")
        if theirs != mine:
            raise CheckpointError(
                f"This is a saved state of {theirs}, and the bonus here is {mine}: take the same bonus."
            )
        before = self.state_dict()
        try:
            self._load(state)
        except CheckpointError:  # of a part of a mixture
            self._load(before)
            raise
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            self._load(before)
            why = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"This saved state does not fit the bonus {mine}, of other spaces or settings: {why}"
            ) from error

    def _load(self, state: dict[str, Any]) -> None:
        self.bonus.load_state_dict(state["bonus"])
        self.yardstick.load_state_dict(state["yardstick"])
        self._asked = None
