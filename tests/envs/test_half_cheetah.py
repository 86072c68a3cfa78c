import gymnasium as gym
import mujoco
import numpy as np
import pytest

from envs.half_cheetah import HalfCheetah, SparseHalfCheetah


def put(env: HalfCheetah, x: float) -> HalfCheetah:
    """Moves the whole body so that its centre of mass is at `x`."""
    env.reset(seed=0)
    env.data.qpos[0] += x - env.data.subtree_com[1][0]
    mujoco.mj_forward(env.model, env.data)
    return env


def test_the_pace_is_a_hundred_steps_a_second() -> None:
    assert HalfCheetah().dt == pytest.approx(0.01)
    assert HalfCheetah(frame_skip=5).dt == pytest.approx(0.05)


def test_observations_are_positions_velocities_and_the_mass_weighted_centre() -> None:
    env = HalfCheetah()
    env.reset(seed=0)
    for _ in range(20):
        obs = env.step(env.action_space.sample())[0]
    mujoco.mj_kinematics(env.model, env.data)
    centre = env.model.body_mass @ env.data.xipos / env.model.body_mass.sum()
    np.testing.assert_array_equal(obs[:17], np.concatenate([env.data.qpos[1:], env.data.qvel]))
    np.testing.assert_allclose(obs[17:], centre, atol=1e-12)


def test_the_body_is_gymnasiums_at_the_same_state_and_pace() -> None:
    ours, theirs = HalfCheetah(), gym.make("HalfCheetah-v5", frame_skip=1).unwrapped
    ours.reset(seed=0)
    theirs.reset(seed=0)
    theirs.set_state(ours.data.qpos.copy(), ours.data.qvel.copy())
    rng = np.random.default_rng(0)
    for _ in range(50):
        action = rng.uniform(-1, 1, 6)
        obs, other = ours.step(action)[0], theirs.step(action)[0]
    np.testing.assert_allclose(obs[:17], other, atol=1e-9)


def test_the_dense_task_pays_displacement_less_effort() -> None:
    env = HalfCheetah()
    before = env.reset(seed=0)[0][17]
    action = np.array([1, -1, 0.5, 0, 2, 0], np.float32)  # 2 is cut to 1
    obs, reward, _, _, info = env.step(action)
    assert info["x_velocity"] == pytest.approx((obs[17] - before) / 0.01)
    assert reward == pytest.approx((obs[17] - before) / 0.01 - 0.05 * (1 + 1 + 0.25 + 1))


@pytest.mark.parametrize(("x", "reward"), [(5.05, 1.0), (4.9, 0.0), (-5.5, 0.0)])
def test_the_sparse_task_pays_beyond_five_metres(x: float, reward: float) -> None:
    env = put(SparseHalfCheetah(), x)
    obs, got, terminated, *_ = env.step(np.zeros(6, np.float32))
    assert (obs[17] > 5) == bool(reward)
    assert (got, terminated) == (reward, False)


def test_random_actions_stay_near_the_start() -> None:
    env = SparseHalfCheetah()
    env.action_space.seed(0)
    env.reset(seed=0)
    farthest = max(env.step(env.action_space.sample())[0][17] for _ in range(500))
    assert farthest < 1.5


def test_starts_scatter_as_the_paper_says() -> None:
    env = HalfCheetah()
    obs = np.array([env.reset(seed=seed)[0] for seed in range(400)])
    np.testing.assert_allclose(obs[:, :8].std(0), 0.01, rtol=0.2)
    np.testing.assert_allclose(obs[:, 8:17].std(0), 0.1, rtol=0.2)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="frame_skip"):
        HalfCheetah(frame_skip=0)
