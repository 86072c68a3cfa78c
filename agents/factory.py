"""Builds the task, the learner and its bonus that a `RunConfig` names."""

import copy
import importlib
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize
from torch import nn

from agents.config import RunConfig
from agents.demonstrations import random_play
from agents.encoders import check_bonus
from agents.names import ALGORITHMS, Recipe
from agents.networks import EXTRACTORS, MIN_IMAGE, extractor, is_small_image
from agents.on_features import OnFeatures
from agents.pool import Pool
from agents.recorder import Recorder
from agents.tasks import backend, building, check_spaces, check_task, make_environment, refusals
from vime.errors import InvalidSettings, build_settings, check_device, choose, nearest
from vime.normalise import Scaling

__all__ = ["ALGORITHMS", "algorithm_class", "check_settings", "make_model", "make_task"]

OF_THE_RUN = ("policy", "env", "seed", "device", "tensorboard_log", "verbose", "_init_setup_model", "monitor_wrapper")
ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU, "gelu": nn.GELU, "leaky_relu": nn.LeakyReLU,
}  # fmt: skip
NOISES = ("normal", "ornstein-uhlenbeck")


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """Returns the class of the algorithm `name`.

    Raises:
        UnknownName: there is none; the nearest is suggested.
    """
    recipe = choose("algorithm", name, ALGORITHMS)
    return getattr(importlib.import_module(recipe.module), recipe.cls)


def check_settings(config: RunConfig) -> None:
    """Does nothing if the device is there and every setting of bonus and algorithm is known.

    Raises:
        InvalidSettings: one is not.
    """
    check_device(config.device)
    if config.bonus_settings:
        name = f"The bonus {config.bonus!r}"
        with refusals(f"{name} cannot be built with {config.bonus_settings}", TypeError, ValueError):
            settings, _ = _bonus_settings(config)
            check_bonus(config.bonus, settings)
    _algorithm_settings(config)
    if ALGORITHMS[config.algorithm].dyna is not None:
        from agents.planning.dyna import split_settings

        settings = _dyna_settings(config)
        split_settings(settings.pop("world", "ensemble"), settings)


def make_task(config: RunConfig) -> VecEnv:
    """Returns all copies of the task: each in a `Monitor`, or a `Pool` of all; in a `Recorder`; normalised if asked.

    Raises:
        UnsupportedSpace: the algorithm cannot serve the task's spaces.
        InvalidSettings: the task refuses its settings.
    """
    settings, check = config.task_settings, partial(check_spaces, config.task, config.algorithm)
    venv: VecEnv
    if backend(config.task) == "envpool":
        with building(config.task, settings):
            venv = Pool(gymnasium.make_vec(check_task(config.task), num_envs=config.copies, **settings))
        check(venv.observation_space, venv.action_space)
    else:
        copies = [Monitor(make_environment(config.task, settings)) for _ in range(config.copies)]
        check(copies[0].observation_space, copies[0].action_space)  # before SB3 refuses them in its own words
        venv = DummyVecEnv([lambda env=env: env for env in copies])  # type: ignore[misc]
    venv = Recorder(venv, config.task, config.steps)
    keys = _normalised(venv.observation_space)
    if config.normalises and keys is not False:
        return VecNormalize(venv, norm_reward=False, norm_obs_keys=keys)
    return venv


def make_model(config: RunConfig, env: VecEnv, **overrides: Any) -> BaseAlgorithm:
    """Returns the learner on `env`, curious unless the bonus is `none`; it has not stepped the environment.

    Args:
        config: algorithm, bonus and their settings.
        env: the task, as `make_task` builds it.
        overrides: constructor arguments that the configuration does not decide.

    Raises:
        UnsupportedSpace: the bonus cannot serve the task's spaces.
        InvalidSettings: the algorithm refuses a setting.
    """
    recipe = choose("algorithm", config.algorithm, ALGORITHMS)
    arguments = _translate(_algorithm_settings(config), env)
    policy = _policy(recipe, env.observation_space)
    causes = (TypeError, ValueError, AssertionError)
    with refusals(f"{recipe.cls} cannot be built with {config.algorithm_settings}", *causes):
        model = algorithm_class(config.algorithm)(
            policy, env, **{"seed": config.seed, "device": config.device, **arguments, **overrides}
        )
    if recipe.dyna is not None:
        from agents.planning.dyna import dyna

        with refusals(f"The world model of {config.algorithm} cannot be built with {_dyna_settings(config)}", *causes):
            model = dyna(model, **_dyna_settings(config))  # type: ignore[arg-type]
    if config.bonus != "none":
        from agents.attach import attach

        causes = (TypeError, ValueError) if config.bonus_settings else ()  # a wrong type that the dataclass let pass
        with refusals(f"The bonus {config.bonus!r} cannot be built with {config.bonus_settings}", *causes):
            settings, how = _bonus_settings(config)
            settings = {"seed": config.seed, "device": config.device, **settings}
            how |= {"scale": config.scale, "weight": config.weight, "streams": config.streams}
            model = attach(model, config.bonus, **how, **settings)
        _play_before(model, config)
    return model


def _play_before(model: BaseAlgorithm, config: RunConfig) -> None:
    """Where its encoder wants it, lets the bonus learn features from random play in a copy of the task."""
    from agents.attach import curiosity

    curious = curiosity(model)
    bonus = None if curious is None else curious.bonus.bonus
    if isinstance(bonus, OnFeatures) and not bonus.prepared:
        env = make_environment(config.task, config.task_settings)
        bonus.prepare(random_play(env, bonus.before, config.seed))
        env.close()


def _bonus_settings(config: RunConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of the bonus's own settings, and those that say how `attach` uses it: `learn_every` and `scaling`."""
    settings = {name: _tuples(value) for name, value in config.bonus_settings.items()}
    how = {name: settings.pop(name) for name in ("learn_every", "scaling") if name in settings}
    if isinstance(how.get("scaling"), Mapping):
        how["scaling"] = build_settings("The scaling of a bonus", Scaling, how["scaling"])
    elif "scaling" in how:
        raise InvalidSettings(f"`scaling` must be a mapping, as {{'rule': 'median'}}; got {how['scaling']!r}.")
    return settings, how


def _dyna_settings(config: RunConfig) -> dict[str, Any]:
    """The settings of `agents.dyna` by the recipe, with the user's changes: `dyna` among those of the algorithm."""
    changes = config.algorithm_settings.get("dyna", {})
    if not isinstance(changes, Mapping):
        raise InvalidSettings(f'`dyna` takes a mapping of settings, like {{"rollout": 2}}; got {changes!r}.')
    return {name: _tuples(value) for name, value in {**(ALGORITHMS[config.algorithm].dyna or {}), **changes}.items()}


def _algorithm_settings(config: RunConfig) -> dict[str, Any]:
    """The recipe with the user's changes."""
    recipe = choose("algorithm", config.algorithm, ALGORITHMS)
    parameters = inspect.signature(algorithm_class(config.algorithm)).parameters
    known = [name for name in parameters if name not in OF_THE_RUN]
    own = {name: v for name, v in config.algorithm_settings.items() if not (name == "dyna" and recipe.dyna is not None)}
    for name, value in own.items():
        if name in OF_THE_RUN:
            raise InvalidSettings(f"{recipe.cls}'s `{name}` is decided by the run itself and cannot be set.")
        if name not in known:
            raise InvalidSettings(f"{recipe.cls} has no setting {name!r}. {nearest(name, known)}")
        usual = parameters[name].default
        if isinstance(value, str) and isinstance(usual, (bool, int, float)):
            raise InvalidSettings(
                f"{recipe.cls} cannot be built with {config.algorithm_settings}: "
                f"`{name}` takes no text, but values like {usual!r}."
            )
    merged = copy.deepcopy({**recipe.settings, **own})  # some algorithms write into theirs
    if recipe.on_policy and "batch_size" in recipe.settings and isinstance(merged["n_steps"], int):
        rollout = merged["n_steps"] * config.copies
        if "batch_size" not in config.algorithm_settings:  # the recipe's must fit a rollout that the user shortened
            merged["batch_size"] = max(2, min(merged["batch_size"], rollout))
    return merged


def _translate(settings: Mapping[str, Any], env: VecEnv) -> dict[str, Any]:
    """Turns what JSON can say into what SB3 wants: pairs, activation functions, action noise."""
    settings = dict(settings)
    if isinstance(settings.get("train_freq"), list):
        settings["train_freq"] = tuple(settings["train_freq"])
    if isinstance(settings.get("action_noise"), Mapping):
        settings["action_noise"] = _noise(settings["action_noise"], env)
    policy = settings.get("policy_kwargs")
    if isinstance(policy, Mapping) and isinstance(policy.get("activation_fn"), str):
        activation = choose("activation", policy["activation_fn"], ACTIVATIONS)
        settings["policy_kwargs"] = policy = {**policy, "activation_fn": activation}
    if isinstance(policy, Mapping) and isinstance(policy.get("features_extractor_class"), str):
        network = choose("network", policy["features_extractor_class"], EXTRACTORS)
        settings["policy_kwargs"] = policy = {**policy, "features_extractor_class": network}
    features = extractor(env.observation_space)
    if features is not None and (policy is None or isinstance(policy, Mapping)):
        settings["policy_kwargs"] = {"features_extractor_class": features, **(settings.get("policy_kwargs") or {})}
    return settings


def _noise(settings: Mapping[str, Any], env: VecEnv) -> ActionNoise:
    unknown = set(settings) - {"kind", "sigma"}
    if unknown or settings.get("kind") not in NOISES or not isinstance(settings.get("sigma"), (int, float)):
        raise InvalidSettings(f"`action_noise` wants a kind ({' or '.join(NOISES)}) and a sigma; got {dict(settings)}.")
    shape = env.action_space.shape or ()
    mean, sigma = np.zeros(shape), np.full(shape, float(settings["sigma"]))
    return NormalActionNoise(mean, sigma) if settings["kind"] == "normal" else OrnsteinUhlenbeckActionNoise(mean, sigma)


def _policy(recipe: Recipe, space: spaces.Space) -> str:
    image = is_image_space(space) and min(sorted(space.shape or ())[-2:]) >= MIN_IMAGE
    kind = "MultiInput" if isinstance(space, spaces.Dict) else "Cnn" if image else "Mlp"
    return f"{kind}LstmPolicy" if recipe.recurrent else f"{kind}Policy"


def _normalised(space: spaces.Space) -> list[str] | Literal[False] | None:
    """Which keys to normalise: a list for a `Dict`, None for a vector, False where nothing can be."""
    if isinstance(space, spaces.Dict):
        return [key for key, part in space.items() if _is_vector(part)] or False
    return None if _is_vector(space) else False


def _is_vector(space: spaces.Space) -> bool:
    return isinstance(space, spaces.Box) and not is_image_space(space) and not is_small_image(space)


def _tuples(value: Any) -> Any:
    """JSON has lists where a settings dataclass has tuples."""
    return tuple(_tuples(part) for part in value) if isinstance(value, (list, tuple)) else value
