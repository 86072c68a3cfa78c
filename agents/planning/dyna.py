"""Dyna: an off-policy model of Stable-Baselines3 learns from a world model beside the world."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents.planning import rewards
from agents.planning.dreaming import Dyna, DynaSettings, dyna_of
from agents.planning.dyna_buffer import make_dreaming
from agents.planning.exploration import Exploration
from agents.planning.objective import Reward, Termination
from vime.errors import InvalidSettings, UnsupportedSpace, build_settings, choose, nearest
from vime.spaces import converter, make_action_encoder
from vime.world import WORLDS, WorldModel, make_world

__all__ = ["Dyna", "DynaSettings", "dyna", "dyna_of"]

Model = TypeVar("Model", bound=OffPolicyAlgorithm)


def dyna(
    model: Model,
    world: str | WorldModel | Exploration = "ensemble",
    *,
    reward: Reward | None = None,
    termination: Termination | None = None,
    **settings: Any,
) -> Model:
    """Returns `model` itself, which from now on learns from imagined transitions beside those that happened.

    A world model is fitted to what the replay buffer holds, every `refit_every` steps and from where it was. From
    states that were visited it then imagines short rollouts of the present policy, all at once, and of every minibatch
    only the share `real_ratio` is real. With several `gradient_steps` of the model for every step that is MBPO. It goes
    with a bonus too (`agents.attach`, before or after), which is paid for real and imagined transitions alike.
    Metrics go to the model's logger under `dyna/`; the state is in `dyna_of(model).state_dict()`.

    Args:
        model: a SAC, TD3, DDPG or DQN, new, running or loaded; with an environment of vectors.
        world: an entry of `vime.world.WORLDS`, or a model of the environment, which then goes on learning; that of an
            exploration with what `agents.explore` returned.
        reward: takes states, encoded actions and next states, not normalised, to rewards; learned unless given.
        termination: takes the same to whether the episode ends there; learned unless given.
        settings: of `DynaSettings`, and where `world` is a name also of that model: `hidden`, `count`, `seed`, ...

    Raises:
        InvalidSettings: the model cannot dream, does so already, or a setting is wrong.
        UnsupportedSpace: its observations are no vectors.
        UnknownName: no world model is named so.

    `load_replay_buffer` puts another buffer in the place of the one that dreams: call it before `dyna`.

    References: Sutton 1991, "Dyna, an integrated architecture for learning, planning, and reacting"; Janner et al.
        2019, "When to trust your model: model-based policy optimization", arXiv:1906.08253.

    Differs from the paper: fits are capped and go on from the last one, and every member tells.
    """
    _check_model(model)
    own, rest = split_settings(world if isinstance(world, str) else None, settings)
    if isinstance(world, Exploration):
        world = world.network
    if not isinstance(world, str | WorldModel):
        raise InvalidSettings(
            f"`world` is the name of a world model, one itself, or what `agents.explore` returned; got a "
            f"{type(world).__name__}."
        )
    if isinstance(world, str):
        space = spaces.Box(-np.inf, np.inf, (int(np.prod(model.observation_space.shape)),), np.float32)  # type: ignore[arg-type]
        usual = {"seed": model.seed or 0, "device": str(model.device)}
        world = make_world(world, space, model.action_space, **usual | rest)
    width = int(np.prod(model.observation_space.shape or ()))
    if world.features != width:
        raise UnsupportedSpace(
            f"The states of this world model have {world.features} numbers, and the observations {width}: a policy can "
            "act in imagination only where the two are the same. Use a model without an encoder of its own."
        )
    if world.actions != (theirs := make_action_encoder(model.action_space).features):
        raise UnsupportedSpace(
            f"The actions of this world model have {world.actions} numbers, and the learner's {theirs}: it is of "
            "another task."
        )
    if torch.device(world.settings.device).type != model.device.type:
        raise InvalidSettings(
            f"The world model is on {world.settings.device}, and the learner on {model.device}: put them on one device."
        )
    for what, function in (("reward", reward), ("termination", termination)):
        if function is not None:
            rewards.check(function, world, what)
    make_dreaming(model.replay_buffer, Dyna(model, world, own, reward, termination))  # type: ignore[arg-type]
    return model


def split_settings(world: str | None, settings: Mapping[str, Any]) -> tuple[DynaSettings, dict[str, Any]]:
    """Returns the settings of Dyna, and those that are left for the world model of that name.

    Raises:
        InvalidSettings: neither knows one of them, or the value is wrong; the nearest is suggested.
        UnknownName: no world model is named so.
    """
    known = [field.name for field in fields(DynaSettings)]
    theirs = [field.name for field in fields(choose("world model", world, WORLDS)[1])] if world is not None else []
    for name in settings:
        if name not in known and name not in theirs:
            raise InvalidSettings(f"Dyna has no setting {name!r}. {nearest(name, {*known, *theirs})}")
    own = build_settings("Dyna", DynaSettings, {name: value for name, value in settings.items() if name in known})
    rest = {name: value for name, value in settings.items() if name not in known}
    if world is not None:
        build_settings(f"The world model {world!r}", WORLDS[world][1], rest)
    return own, rest


def _check_model(model: Any) -> None:
    if not isinstance(model, OffPolicyAlgorithm):
        raise InvalidSettings(
            f"A {type(model).__name__} learns from whole rollouts and keeps no replay buffer that could hold imagined "
            "steps. Use SAC, TD3, DDPG or DQN."
        )
    if model.env is None:
        raise InvalidSettings("The model has no environment: load it with `env=...` or call `set_env` first.")
    if dyna_of(model) is not None:
        raise InvalidSettings(
            "This model has a world model already. Call `agents.dyna` once, on a fresh or loaded model."
        )
    buffer: Any = model.replay_buffer
    stock = type(buffer).__name__
    if isinstance(buffer, NStepReplayBuffer) or not hasattr(buffer, "timeouts"):
        raise InvalidSettings(f"Imagined steps are single ones, and a {stock} does not hold such. Use `n_steps=1`.")
    if buffer.optimize_memory_usage:
        raise InvalidSettings("With `optimize_memory_usage` the buffer loses the last observation of every episode.")
    if getattr(model, "use_sde", False):
        raise InvalidSettings("State-dependent noise (`use_sde`) cannot be followed in imagination: leave it off.")
    space = model.observation_space
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating) or len(space.shape) != 1:
        raise UnsupportedSpace(
            f"Imagined observations are vectors of numbers, and this task has {space}. {converter(space)}"
        )
