"""`attach` makes any Stable-Baselines3 model curious. Importing this module does not import torch."""

import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

    from agents.curious import Curiosity
    from agents.streams import TwoStreams
    from agents.vecenv import Tape
    from agents.weight import Weight
    from vime import Bonus, ScaledBonus, Scaling

Model = TypeVar("Model", bound="BaseAlgorithm")


def attach(
    model: Model,
    bonus: "str | Bonus | ScaledBonus",
    *,
    scale: float = 1.0,
    scaling: "Scaling | None" = None,
    learn_every: int | None = None,
    weight: "str | Weight" = "fixed",
    streams: "int | TwoStreams" = 1,
    **settings: Any,
) -> Model:
    """Returns `model` itself, which from now on learns from its reward plus `scale` times the bonus.

    On-policy (PPO, A2C, TRPO, RecurrentPPO, ...) the bonus of a whole rollout is computed in one call and added before
    advantages are, so that credit reaches the steps that led there. Off-policy (SAC, TD3, DDPG, DQN, ...) the stored
    rewards stay the environment's, and every sampled minibatch gets the bonus of the present model. The bonus sees
    observations as they are beneath any `VecNormalize`, actions as the environment gets them, and the true last
    observation of every episode. Nothing is stepped or reset, and no global generator moves: at scale 0 the model
    learns bit for bit what it would have learnt untouched. Metrics go to the model's logger under `curiosity/`.

    With `streams=2` an on-policy model gets a second value head, for the bonus alone, with a discount of its own (0.99)
    and returns that run on over the ends of episodes, as Burda et al. 2018 (arXiv:1810.12894); advantages are those of
    the task plus `scale` times those of the bonus. The task's head, its targets and the bootstrap of time limits stay
    what they were. How the model predicts does not change, and nothing of the second head is in a saved model.

    A saved model (`model.save`), and a pickled replay buffer, is a plain one again and can be made curious again; load
    a replay buffer before calling this. The state of the bonus itself is in `curiosity(model).state_dict()`.

    Args:
        model: new, running or loaded; with an environment.
        bonus: a name from `vime.BONUSES`, a class of your own as "module:Class", or an object; a `vime.ScaledBonus`
            keeps its own scale and scaling.
        scale: weight of the bonus in the reward. At 1, one deviation of the default bonus is worth 0.02.
        scaling: how the raw bonus becomes a reward; unless given, as the bonus suggests.
        learn_every: environment steps, counted over all copies, between two updates of the bonus; on-policy it waits
            for the end of the rollout. Unless given, as in `vime.wrap`.
        weight: how the weight follows from `scale`: "fixed", "fading" to zero by 80 % of the planned steps, "tuned" so
            that nobody need (on-policy by what the agent earns, off-policy by MaxInfoRL's rule), or a rule of
            `agents.weight` or `agents.gain` with settings of your own, which is copied (`curiosity(model).rule`).
        streams: 1 adds the bonus to the reward; 2, or an `agents.streams.TwoStreams`, keeps both apart, on-policy only.
        settings: of the bonus, where it is a name; `seed` is the model's unless given. `encoder` may be a name
            (`agents.names.ENCODERS`): the bonus then runs on features learned from the agent's own observations.

    Raises:
        InvalidSettings: the model has no environment or no buffer, is curious already, or a setting is wrong.
        UnknownName: no bonus is named so.
        UnsupportedSpace: the bonus cannot serve the model's spaces.
    """
    from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

    from agents.buffers import make_curious
    from agents.curious import Curiosity
    from agents.streams import Streams
    from agents.vecenv import Recording, Tape, raw_level, record
    from agents.weight import make_weight
    from vime import InvalidSettings
    from vime.wrappers import LEARN_EVERY

    learn_every = LEARN_EVERY if learn_every is None else learn_every
    if isinstance(learn_every, bool) or not isinstance(learn_every, Integral) or learn_every < 1:
        raise InvalidSettings(f"`learn_every` must be a whole number of at least 1; got {learn_every!r}.")
    if isinstance(model, type):
        raise InvalidSettings(f"`model` is the class {model.__name__}: make a model of it first, with an environment.")
    if not isinstance(model, (OnPolicyAlgorithm, OffPolicyAlgorithm)):
        raise InvalidSettings(
            f"A {type(model).__name__} keeps no rollout or replay buffer that a bonus could reach; pass a "
            "Stable-Baselines3 or sb3-contrib model such as PPO or SAC."
        )
    if model.env is None:
        raise InvalidSettings("The model has no environment: load it with `env=...` or call `set_env` first.")
    off_policy = isinstance(model, OffPolicyAlgorithm)
    rule = make_weight(weight, off_policy=off_policy)
    place, normaliser = raw_level(model.env, highest=off_policy)
    present = curiosity(model)
    if present is not None and isinstance(place, Recording) and place._tape is present.tape:
        raise InvalidSettings(
            "This model is curious already. Change the weight by `agents.curiosity(model).bonus.scale`, or attach to a "
            "fresh or loaded model."
        )

    if _pays_already(model.env):
        warnings.warn(
            "The environment of this model pays a bonus already (`vime.wrap`), which counts as the task's reward here. "
            'Use one of the two; several bonuses at once are a mixture, as "rnd+e3b".',
            stacklevel=2,
        )
    tape = Tape(place.observation_space, place.action_space, place.num_envs)
    second = _second_stream(model, streams)
    scaled = _scaled(bonus, tape, scale, scaling, {"seed": model.seed or 0} | settings, bool(settings))
    if model._last_obs is not None:  # the model is running: its next action answers this
        last = model._last_obs if normaliser is None else getattr(normaliser, "old_obs", None)
        if last is not None:
            tape.start(last)  # type: ignore[arg-type]
    heads = None if second is None else Streams(model, second)  # type: ignore[arg-type]
    if present is not None and present.streams is not None:
        present.streams.remove()
    if off_policy:
        tape.begin(-(-int(learn_every) // place.num_envs))
    record(place, tape)
    buffer: Any = model.replay_buffer if isinstance(model, OffPolicyAlgorithm) else model.rollout_buffer
    make_curious(buffer, Curiosity(model, scaled, tape, int(learn_every), rule, heads))
    return model


def curiosity(model: "BaseAlgorithm") -> "Curiosity | None":
    """Returns what `attach` gave to the model: its bonus, latest metrics and state; none for a plain model."""
    buffers = (getattr(model, name, None) for name in ("rollout_buffer", "replay_buffer"))
    return next((found for buffer in buffers if (found := getattr(buffer, "curiosity", None)) is not None), None)


def _pays_already(env: "VecEnv") -> bool:
    """Whether a copy is wrapped by `vime.wrap`, as far as can be known: not every vector of environments says so."""
    from vime.wrappers import CuriousEnv

    try:
        return any(env.env_is_wrapped(CuriousEnv))
    except (NotImplementedError, AttributeError):
        return False


def _second_stream(model: "BaseAlgorithm", streams: "int | TwoStreams") -> "TwoStreams | None":
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

    from agents.streams import TwoStreams
    from vime import InvalidSettings

    if isinstance(streams, bool) or (streams not in (1, 2) and not isinstance(streams, TwoStreams)):
        raise InvalidSettings(f"`streams` must be 1, 2 or an agents.streams.TwoStreams; got {streams!r}.")
    if streams == 1:
        return None
    if not isinstance(model, OnPolicyAlgorithm):
        raise InvalidSettings(
            f"Two streams need whole rollouts, and a {type(model).__name__} learns from a replay buffer. "
            "Use streams=1, or an on-policy model: PPO, A2C, TRPO or RecurrentPPO."
        )
    return TwoStreams() if streams == 2 else streams


def _scaled(
    bonus: "str | Bonus | ScaledBonus",
    tape: "Tape",
    scale: float,
    scaling: "Scaling | None",
    settings: Mapping[str, Any],
    given: bool,
) -> "ScaledBonus":
    from agents.encoders import make_bonus
    from vime import BONUSES, InvalidSettings, ScaledBonus
    from vime.own import require_bonus

    if isinstance(bonus, str):
        with _generators_restored():
            made = make_bonus(bonus, tape.observation_space, tape.action_space, **settings)
            return ScaledBonus(made, scale, scaling)
    require_bonus(bonus, BONUSES)
    if given:
        raise InvalidSettings("Settings are for a bonus given by name; an object has its own. Leave them out.")
    if isinstance(bonus, ScaledBonus):
        if scaling is not None or scale not in (1.0, bonus.scale):
            raise InvalidSettings(f"A ScaledBonus keeps its own scaling and its scale {bonus.scale}: leave both out.")
        return bonus
    return ScaledBonus(bonus, scale, scaling)


@contextmanager
def _generators_restored() -> Iterator[None]:
    """Puts the global generators of Python, numpy and torch back as they were: layers draw their weights from them."""
    import numpy as np
    import torch

    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
