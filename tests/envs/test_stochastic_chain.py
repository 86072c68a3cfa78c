import numpy as np
import pytest

import envs


def at(env: envs.StochasticChain, position: int) -> envs.StochasticChain:
    env.reset(seed=0)
    env.set_state({**env.get_state(), "state": {"position": position}})
    return env


def test_half_of_the_states_swap_their_actions_the_same_ones_every_time() -> None:
    env = envs.StochasticChain()
    assert (env.moves[:, 1] == -1).sum() == 25
    np.testing.assert_array_equal(env.moves[:, 0], -env.moves[:, 1])
    np.testing.assert_array_equal(env.moves, envs.StochasticChain().moves)
    assert (env.moves != envs.StochasticChain(layout_seed=1).moves).any()


def test_every_action_moves_as_the_layout_says_and_the_ends_stop() -> None:
    env = envs.StochasticChain()
    for position in range(1, 50):
        for action in (0, 1):
            expected = min(position + env.moves[position, action], 49)
            assert at(env, position).step(action)[0] == expected


def test_only_the_ends_pay() -> None:
    env = envs.StochasticChain(trap=False)
    arrivals = {}
    for position in range(50):
        for action in (0, 1):
            obs, reward, terminated, *_ = at(env, position).step(action)
            assert not terminated
            arrivals[int(obs)] = reward
    assert arrivals == {state: {0: 0.001, 49: 1.0}.get(state, 0.0) for state in range(50)}


@pytest.mark.parametrize("action", [0, 1])
def test_the_trap_leads_either_way_whatever_the_action(action: int) -> None:
    env = at(envs.StochasticChain(), 0)
    state, outcomes = env.get_state(), []
    for _ in range(400):
        env.set_state({**env.get_state(), "state": state["state"], "elapsed": 0})
        outcomes.append(int(env.step(action)[0]))
    assert set(outcomes) == {0, 1}
    assert 150 < sum(outcomes) < 250


def test_knowing_the_layout_reaches_the_right_end_and_random_actions_do_not() -> None:
    env = envs.StochasticChain()
    position, total = env.reset(seed=0)[0], 0.0
    for _ in range(59):
        position, reward, _, truncated, _ = env.step(int(np.argmax(env.moves[position])))
        total += reward
    assert truncated
    assert total == 59 - 47
    chains = envs.ClassicVectorEnv(envs.StochasticChain, 2000)
    chains.reset(seed=0)
    rng = np.random.default_rng(0)
    assert max(chains.step(rng.integers(2, size=2000))[0].max() for _ in range(59)) < 40


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        envs.StochasticChain(length=2)
    with pytest.raises(ValueError, match="layout_seed"):
        envs.StochasticChain(layout_seed=-1)
    with pytest.raises(ValueError, match="saved state"):
        at(envs.StochasticChain(length=10), 10)
