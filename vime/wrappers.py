"""Gymnasium wrappers that add a bonus to the reward, and learn from what passes through them."""

from collections.abc import Mapping
from typing import Any, overload

import gymnasium
import numpy as np
import torch
from gymnasium import logger
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from vime.bonus import BONUSES, Bonus, ScaledBonus, make_bonus
from vime.errors import InvalidSettings, UnsupportedEnvironment
from vime.normalise import Scaling
from vime.own import require_bonus
from vime.stream import Stream, with_last
from vime.transitions import Observation, map_observation, to_tensor

LEARN_EVERY = 2000  # environment steps, of all copies together


class CuriousEnv(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """An environment whose reward is its own plus a weighted bonus; `wrap` says what the arguments mean."""

    def __init__(
        self,
        env: gymnasium.Env,
        bonus: str | Bonus,
        *,
        scale: float = 1.0,
        learn_every: int = LEARN_EVERY,
        scaling: Scaling | None = None,
        **settings: Any,
    ) -> None:
        RecordConstructorArgs.__init__(
            self, bonus=bonus, scale=scale, learn_every=learn_every, scaling=scaling, **settings, _disable_deepcopy=True
        )
        gymnasium.Wrapper.__init__(self, env)
        spaces = (env.observation_space, env.action_space)
        scaled = _scaled(bonus, spaces, scale, scaling, settings)
        self._stream = Stream(
            scaled, learn_every, 1, AutoresetMode.NEXT_STEP
        )  # what gymnasium's Autoreset wrapper does
        self._nested = _is_curious(env)

    @property
    def bonus(self) -> ScaledBonus:
        """The bonus and its weight, `bonus.scale`, which may be changed at any time."""
        return self._stream.bonus

    @property
    def metrics(self) -> dict[str, float]:
        """What the last update of the bonus reported; empty before the first."""
        return self._stream.metrics

    @property
    def spec(self) -> EnvSpec | None:
        """The environment's, marked as not deterministic: the bonus of a step depends on all that was seen before."""
        spec = super().spec  # a copy of the environment's
        if spec is not None:
            spec.nondeterministic = True
        return spec

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Returns what the environment returns.

        Raises:
            InvalidData: the observation holds NaN or infinity.
        """
        obs, info = self.env.reset(seed=seed, options=options)
        self._stream.start(_single(obs))
        return obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Returns what the environment returns, with the bonus in the reward and both parts of it in `info`.

        Raises:
            ResetNeeded: no observation stands, because nothing was reset yet or the last step was refused.
            InvalidData: the observation, the action or the reward is not finite; nothing of the step was stored.
        """
        self._stream.require_start()
        acted = _single(action)  # before the environment sees it, and might change it
        obs, reward, terminated, truncated, info = self.env.step(action)
        bonus = float(self._stream.step(acted, _single(obs), reward, terminated, truncated)[0])  # type: ignore[arg-type]
        own = info["extrinsic_reward"] if self._nested else reward
        info = {**info, "intrinsic_reward": bonus, "extrinsic_reward": own}
        return obs, float(reward) + self.bonus.scale * bonus, terminated, truncated, info

    def state_dict(self) -> dict[str, Any]:
        """Everything that the wrapper adds: the bonus, and what it has not learnt from; not the environment's state."""
        return self._stream.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit; bring the environment itself to the same moment, or reset it.

        Raises:
            CheckpointError: the state is incomplete, or belongs to another bonus.
        """
        self._stream.load_state_dict(state)


class CuriousVectorEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """A vector environment whose rewards are its own plus a weighted bonus; `wrap` says what the arguments mean.

    All autoreset modes are understood: with `NEXT_STEP` the step that merely resets is no transition and earns no
    bonus; with `SAME_STEP` the last observation of an episode is taken from `infos["final_obs"]`; with `DISABLED`,
    `reset(options={"reset_mask": ...})` starts some copies anew.
    """

    def __init__(
        self,
        env: VectorEnv,
        bonus: str | Bonus,
        *,
        scale: float = 1.0,
        learn_every: int = LEARN_EVERY,
        scaling: Scaling | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(env)
        self.autoreset_mode = _autoreset_mode(env)
        spaces = (env.single_observation_space, env.single_action_space)
        scaled = _scaled(bonus, spaces, scale, scaling, settings)
        self._stream = Stream(scaled, learn_every, env.num_envs, self.autoreset_mode)
        self._nested = _is_curious(env)

    @property
    def bonus(self) -> ScaledBonus:
        """The bonus and its weight, `bonus.scale`, which may be changed at any time."""
        return self._stream.bonus

    @property
    def metrics(self) -> dict[str, float]:
        """What the last update of the bonus reported; empty before the first."""
        return self._stream.metrics

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Returns what the environment returns.

        Raises:
            InvalidData: an observation holds NaN or infinity.
        """
        mask = (options or {}).get("reset_mask")  # read first: the environment takes it out of the options
        restarted = None if mask is None else np.array(mask, dtype=bool)
        obs, infos = self.env.reset(seed=seed, options=options)
        self._stream.start(_batched(obs), restarted)
        return obs, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Returns what the environment returns, with the bonus in the rewards and both parts of them in the infos.

        Raises:
            ResetNeeded: no observation stands, because nothing was reset yet or the last step was refused.
            InvalidData: an observation, action or reward is not finite; nothing of the step was stored.
        """
        self._stream.require_start()
        acted = _batched(actions)
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        final, arrived = _batched(obs), None
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            arrived = final
            done = np.logical_or(terminated, truncated)
            if done.any():
                final = with_last(arrived, infos, done)
        bonus = self._stream.step(acted, final, rewards, terminated, truncated, arrived)  # type: ignore[arg-type]
        everyone = np.ones(self.num_envs, dtype=bool)
        infos = {
            **infos,
            "intrinsic_reward": bonus,
            "_intrinsic_reward": everyone,
            "extrinsic_reward": infos["extrinsic_reward"] if self._nested else np.array(rewards),
            "_extrinsic_reward": everyone.copy(),
        }
        return obs, rewards + self.bonus.scale * bonus, terminated, truncated, infos

    def state_dict(self) -> dict[str, Any]:
        """Everything that the wrapper adds: the bonus, and what it has not learnt from; not the environments' state."""
        return self._stream.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit; bring the environments to the same moment, or reset them.

        Raises:
            CheckpointError: the state is incomplete, or belongs to another bonus or number of copies.
        """
        self._stream.load_state_dict(state)


@overload
def wrap(env: VectorEnv, bonus: str | Bonus, **options: Any) -> CuriousVectorEnv: ...
@overload
def wrap(env: gymnasium.Env, bonus: str | Bonus, **options: Any) -> CuriousEnv: ...
def wrap(
    env: gymnasium.Env | VectorEnv,
    bonus: str | Bonus,
    *,
    scale: float = 1.0,
    learn_every: int = LEARN_EVERY,
    scaling: Scaling | None = None,
    **settings: Any,
) -> CuriousEnv | CuriousVectorEnv:
    """Returns `env`, still of its kind, with a reward that is its own plus `scale` times the bonus.

    The environment is neither stepped nor reset on its own, and no global random state is touched. Both parts of the
    reward stand in `info` after every step: `extrinsic_reward`, the environment's own, and `intrinsic_reward`, the
    bonus on its common scale, not yet weighted.

    Args:
        bonus: a name from `vime.BONUSES`, a class of your own as "module:Class", or a bonus that stands already.
        scale: weight of the bonus in the reward.
        learn_every: environment steps, of all copies together, from one update of the bonus to the next.
        scaling: how the raw bonus becomes a reward; the bonus's own way where it is left out.
        settings: of the bonus, where it is a name; for example `seed`, `device`, `hidden`.

    Raises:
        UnsupportedEnvironment: `env` is neither a `gymnasium.Env` nor a `gymnasium.vector.VectorEnv`.
        UnknownName: no bonus is named so.
        InvalidSettings: a setting is unknown or out of range.
        UnsupportedSpace: the bonus cannot serve the observations or actions.
    """
    options: dict[str, Any] = {"scale": scale, "learn_every": learn_every, "scaling": scaling, **settings}
    if isinstance(env, VectorEnv):
        return CuriousVectorEnv(env, bonus, **options)
    if isinstance(env, gymnasium.Env):
        return CuriousEnv(env, bonus, **options)
    raise UnsupportedEnvironment(
        f"A gymnasium.Env or a gymnasium.vector.VectorEnv can be wrapped; a {type(env).__name__} came. Build one from "
        "its id with gymnasium.make; a Stable-Baselines3 model, with its VecEnv, becomes curious by agents.attach."
    )


def _scaled(
    bonus: str | Bonus,
    spaces: tuple[gymnasium.Space, gymnasium.Space],
    scale: float,
    scaling: Scaling | None,
    settings: Mapping[str, Any],
) -> ScaledBonus:
    if isinstance(bonus, str):
        _refuse_those_of_attach(settings)
        with torch.random.fork_rng(devices=[]):  # layers may draw their first weights from the global generator
            return ScaledBonus(make_bonus(bonus, *spaces, **settings), scale, scaling)
    if isinstance(bonus, ScaledBonus):
        raise InvalidSettings("This bonus is scaled already; hand in what it holds, its `.bonus`.")
    require_bonus(bonus, BONUSES)
    if settings:
        raise InvalidSettings(f"A bonus that stands already takes no settings; got {', '.join(settings)}.")
    return ScaledBonus(bonus, scale, scaling)


def _refuse_those_of_attach(settings: Mapping[str, Any]) -> None:
    for name in ("streams", "weight"):
        if name in settings:
            raise InvalidSettings(
                f"`{name}` belongs to `agents.attach`, which reaches into the learner; a wrapper adds `scale` times "
                f"the bonus to the reward. Leave `{name}` out, or attach the bonus to a Stable-Baselines3 model."
            )
    if isinstance(settings.get("density"), str | Mapping):
        raise InvalidSettings(
            f"`density` must be an object here; got {settings['density']!r}. `agents.attach` takes one by name; what "
            "agents.encoders.make_bonus('density-counts', observation_space, action_space, density=...) returns goes "
            "into `vime.wrap`."
        )


def _is_curious(env: Any) -> bool:
    while isinstance(env, gymnasium.Wrapper | VectorWrapper):
        if isinstance(env, CuriousEnv | CuriousVectorEnv):
            return True
        env = env.env
    return False


def _autoreset_mode(env: VectorEnv) -> AutoresetMode:
    mode = env.metadata.get("autoreset_mode")
    if mode is None:
        logger.warn(
            f"{env} does not say in its metadata how it resets (`autoreset_mode`); AutoresetMode.NEXT_STEP is assumed. "
            "If that is wrong, bonuses at the ends of episodes are."
        )
        return AutoresetMode.NEXT_STEP
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        raise UnsupportedEnvironment(f"{env} names the unknown autoreset mode {mode!r} in its metadata.") from error


def _single(value: Any) -> Observation:
    return map_observation(lambda tensor: tensor[None, None], to_tensor(value))


def _batched(value: Any) -> Observation:
    return map_observation(lambda tensor: tensor[None], to_tensor(value))
