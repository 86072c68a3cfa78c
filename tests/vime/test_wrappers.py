"""The wrappers score true transitions alone, whatever the way of resetting, and leave the environment as it is."""

import io
import warnings
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import vime
from tests.vime.scripted import KINDS, PLAIN, Recorder, Script, decode
from vime.transitions import concatenate
from vime.wrappers import CuriousEnv, CuriousVectorEnv

MODES = list(AutoresetMode)


def vector(mode: AutoresetMode, copies: int = 2, kind: str = "float32", **options: Any) -> SyncVectorEnv:
    # The copies differ in the lengths of their episodes, so that their ends do not fall together.
    lengths = [(3, 1, 4), (2, 5), (1,), (6, 2)]
    makers = [lambda i=i: Script(kind, lengths[i % 4], **options) for i in range(copies)]
    return SyncVectorEnv(makers, autoreset_mode=mode)


def play(env: CuriousVectorEnv, steps: int) -> list[tuple[Any, ...]]:
    """Steps `env`, resetting by hand where nothing else does."""
    env.reset(seed=0)
    out = []
    for i in range(steps):
        out.append(env.step(np.full(env.num_envs, i % 3)))
        over = out[-1][2] | out[-1][3]
        if env.autoreset_mode is AutoresetMode.DISABLED and over.any():
            env.reset(options={"reset_mask": over})
    return out


def expected(lengths: tuple[int, ...], transitions: int) -> list[tuple[int, int, bool, bool]]:
    """The first true transitions of a script: episode and time they start at, terminated, truncated."""
    out: list[tuple[int, int, bool, bool]] = []
    episode = 0
    while len(out) < transitions:
        length = lengths[episode % len(lengths)]
        for time in range(length):
            over = time == length - 1
            out.append((episode, time, over and episode % 2 == 0, over and episode % 2 == 1))
        episode += 1
    return out[:transitions]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
def test_every_true_transition_is_seen_once_and_nothing_else(mode: AutoresetMode, kind: str) -> None:
    bonus = Recorder()
    play(vime.wrap(vector(mode, 2, kind), bonus), 30)
    batch = concatenate(bonus.observed)
    for copy, lengths in enumerate([(3, 1, 4), (2, 5)]):
        valid = batch.valid[:, copy]
        before, after = decode(batch.obs)[:, copy][valid], decode(batch.next_obs)[:, copy][valid]
        ends = (
            [bool(flag) for flag in batch.terminated[:, copy][valid]],
            [bool(f) for f in batch.truncated[:, copy][valid]],
        )
        seen = [(int(e), int(t), *flags) for (e, t), *flags in zip(before.tolist(), *ends, strict=True)]
        assert seen == expected(lengths, len(seen))
        assert torch.equal(after, before + torch.tensor([0.0, 1.0]))
        dead = int((~valid).sum())
        assert (dead > 0) == (mode is AutoresetMode.NEXT_STEP)


@pytest.mark.parametrize("mode", MODES)
def test_actions_stand_beside_the_observations_they_answer(mode: AutoresetMode) -> None:
    bonus = Recorder()
    play(vime.wrap(vector(mode), bonus), 10)
    assert concatenate(bonus.observed).action.tolist() == [[i % 3] * 2 for i in range(10)]


@pytest.mark.parametrize("copies", [1, 16])
@pytest.mark.parametrize("mode", MODES)
def test_rewards_are_extrinsic_plus_scale_times_intrinsic(mode: AutoresetMode, copies: int) -> None:
    wrapped = play(vime.wrap(vector(mode, copies), Recorder(), scale=0.25), 20)
    plain = play(vime.wrap(vector(mode, copies), "none"), 20)
    for (obs, rewards, *flags, infos), (obs_0, rewards_0, *flags_0, infos_0) in zip(wrapped, plain, strict=True):
        assert np.array_equal(obs, obs_0)
        assert np.array_equal(flags, flags_0)
        assert infos["extrinsic_reward"].shape == infos["intrinsic_reward"].shape == (copies,)
        assert np.array_equal(infos["extrinsic_reward"], rewards_0)
        assert np.array_equal(infos["extrinsic_reward"], infos_0["extrinsic_reward"])
        np.testing.assert_allclose(rewards, rewards_0 + 0.25 * infos["intrinsic_reward"])
        assert infos["_intrinsic_reward"].all()


def test_the_step_that_merely_resets_earns_nothing() -> None:
    out = play(vime.wrap(vector(AutoresetMode.NEXT_STEP, 1), Recorder()), 6)
    # Episodes of 3 and 1 steps: the fourth and sixth step reset.
    assert [float(infos["intrinsic_reward"][0]) for *_, infos in out] == [1, 2, 3, 0, 1, 0]


def test_the_last_step_of_an_episode_is_paid_for_its_true_successor() -> None:
    out = play(vime.wrap(vector(AutoresetMode.SAME_STEP, 1), Recorder()), 5)
    assert [float(infos["intrinsic_reward"][0]) for *_, infos in out] == [1, 2, 3, 1, 1]


def test_a_single_environment_is_wrapped_as_one() -> None:
    bonus = Recorder()
    env = vime.wrap(Script("float64"), bonus, scale=2.0)
    assert isinstance(env, CuriousEnv)
    for _ in range(3):
        env.reset()
        over = False
        while not over:
            _, reward, terminated, truncated, info = env.step(1)
            over = terminated or truncated
            assert isinstance(reward, float)
            assert reward == info["extrinsic_reward"] + 2 * info["intrinsic_reward"]
            assert info["extrinsic_reward"] == info["intrinsic_reward"] + 0.5
    batch = concatenate(bonus.observed)
    assert batch.valid.all()
    seen = [(*(int(x) for x in decode(b.obs)[0, 0]), bool(b.terminated), bool(b.truncated)) for b in bonus.observed]
    assert seen == expected((3, 1, 4), 8)
    assert torch.equal(decode(batch.next_obs), decode(batch.obs) + torch.tensor([0.0, 1.0]))


def test_under_the_autoreset_wrapper_the_step_that_resets_earns_nothing() -> None:
    env = vime.wrap(gymnasium.wrappers.Autoreset(Script()), Recorder())
    env.reset()
    assert [env.step(0)[4]["intrinsic_reward"] for _ in range(6)] == [1, 2, 3, 0, 1, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_environment_of_every_kind_passes_through(kind: str) -> None:
    bonus = Recorder()
    env = vime.wrap(Script(kind), bonus)
    env.reset()
    env.step(0)
    assert decode(bonus.observed[0].next_obs).tolist() == [[[0, 1]]]


def test_the_wrapper_neither_steps_nor_resets_on_its_own() -> None:
    inner = Script()
    env = vime.wrap(inner, "vime", learn_every=2, updates=1)
    assert (inner.steps, inner.resets) == (0, 0)
    env.reset()
    for _ in range(7):
        if any(env.step(0)[2:4]):
            env.reset()
    assert inner.steps == 7
    assert inner.resets == 3


@pytest.mark.parametrize("copies", [1, 16])
def test_learning_comes_every_so_many_environment_steps(copies: int) -> None:
    bonus = Recorder()
    env = vime.wrap(vector(AutoresetMode.SAME_STEP, copies), bonus, learn_every=32)
    play(env, 64)
    assert {batch.shape for batch in bonus.learnt} == {(32 // copies, copies)}
    assert len(bonus.learnt) == 2 * copies
    assert env.metrics == {"updates": 2.0 * copies}


def test_each_step_is_scored_then_observed_then_learnt_from() -> None:
    bonus = Recorder()
    env = vime.wrap(Script(lengths=(9,)), bonus, learn_every=2)
    env.reset()
    for _ in range(4):
        env.step(0)
    assert bonus.calls == ["reward", "observe", "reward", "observe", "learn"] * 2


@pytest.mark.parametrize("vectorised", [False, True])
def test_no_global_random_state_is_touched(vectorised: bool) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    base = vector(AutoresetMode.NEXT_STEP) if vectorised else Script(lengths=(100,))
    env = vime.wrap(base, "vime", learn_every=5, updates=2)
    env.reset(seed=0)
    for _ in range(12):
        env.step(np.zeros(2, int) if vectorised else 0)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


def test_the_environments_own_stream_is_untouched() -> None:
    streams = []
    for curious in (False, True):
        env = gymnasium.make_vec("Pendulum-v1", 2)
        env = vime.wrap(env, "vime", learn_every=20, updates=2) if curious else env
        env.reset(seed=3)
        env.action_space.seed(3)
        out = []
        for _ in range(30):
            obs, rewards, _, _, infos = env.step(env.action_space.sample())
            out += [obs, infos["extrinsic_reward"] if curious else rewards]
        streams.append(out)
    assert all(np.array_equal(one, two) for one, two in zip(*streams, strict=True))


@pytest.mark.parametrize("what", ["observation", "reward"])
@pytest.mark.parametrize("mode", MODES)
def test_a_number_that_is_none_is_named_before_anything_is_kept(mode: AutoresetMode, what: str) -> None:
    bonus = Recorder()
    makers = [lambda: Script(lengths=(50,)), lambda: Script(lengths=(50,), bad=(what, 4))]
    env = vime.wrap(SyncVectorEnv(makers, autoreset_mode=mode), bonus)
    with pytest.raises(vime.InvalidData, match=f"{what} of environment 1 at step 3"):
        play(env, 10)
    assert len(bonus.observed) == 3
    assert len(env.state_dict()["pending"]["obs"]) == 3
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(2, int))


def test_a_reset_that_gives_no_number_is_refused() -> None:
    env = vime.wrap(Script(bad=("observation", 0)), Recorder())
    with pytest.raises(vime.InvalidData, match="that reset gave for environment 0"):
        env.reset()


def test_stepping_before_any_reset_says_so() -> None:
    inner = Script()
    for env, action in ((vime.wrap(inner, "none"), 0), (vime.wrap(vector(AutoresetMode.SAME_STEP), "none"), [0, 0])):
        with pytest.raises(ResetNeeded, match=r"Call reset\(\) before step\(\)"):
            env.step(action)
    assert inner.steps == 0


class Layout(gymnasium.vector.VectorWrapper):
    """Hands the last observations over as one batched array, or as a mapping of them."""

    def step(self, actions: Any) -> Any:
        *rest, infos = self.env.step(actions)
        if "final_obs" in infos:
            there, drop = infos["final_obs"], infos.pop("_final_obs")
            blank = next(one for one in there if one is not None)
            rows = [blank if one is None else one for one in there]
            infos["final_obs"] = (
                {k: np.stack([r[k] for r in rows]) for k in blank} if isinstance(blank, dict) else np.stack(rows)
            )
            assert drop.any()
        return *rest, infos


@pytest.mark.parametrize("kind", KINDS)
def test_last_observations_are_understood_in_every_layout(kind: str) -> None:
    seen = []
    for layout in (lambda env: env, Layout):
        bonus = Recorder()
        play(vime.wrap(layout(vector(AutoresetMode.SAME_STEP, 4, kind)), bonus), 12)
        seen.append(decode(concatenate(bonus.observed).next_obs))
    assert torch.equal(*seen)


class Forgetful(gymnasium.vector.VectorWrapper):
    def step(self, actions: Any) -> Any:
        *rest, infos = self.env.step(actions)
        return *rest, {key: value for key, value in infos.items() if "final_obs" not in key}


def test_a_missing_last_observation_is_named() -> None:
    env = vime.wrap(Forgetful(vector(AutoresetMode.SAME_STEP)), "none")
    with pytest.raises(vime.InvalidData, match=r"Environment 1 ended .* infos\['final_obs'\]"):
        play(env, 5)


def test_a_vector_environment_that_does_not_say_how_it_resets_is_warned_about() -> None:
    base = vector(AutoresetMode.NEXT_STEP)
    del base.metadata["autoreset_mode"]
    with pytest.warns(UserWarning, match="NEXT_STEP is assumed"):
        env = vime.wrap(base, "none")
    assert env.autoreset_mode is AutoresetMode.NEXT_STEP


def test_copies_that_ended_earn_nothing_until_they_are_reset() -> None:
    class Lenient(gymnasium.vector.VectorWrapper):
        def step(self, actions: Any) -> Any:
            self.env.unwrapped._autoreset_envs[:] = False
            return self.env.step(actions)

    env = vime.wrap(Lenient(vector(AutoresetMode.DISABLED)), Recorder())
    env.reset()
    paid = [env.step(np.zeros(2, int))[4]["intrinsic_reward"].tolist() for _ in range(4)]
    assert paid == [[1, 1], [2, 2], [3, 0], [0, 0]]
    env.reset(options={"reset_mask": np.array([False, True])})
    assert env.step(np.zeros(2, int))[4]["intrinsic_reward"].tolist() == [0, 1]


@pytest.mark.parametrize("mode", MODES)
def test_a_wrapper_saved_in_the_middle_continues_bit_for_bit(mode: AutoresetMode) -> None:
    def run(env: CuriousVectorEnv, steps: int) -> list[float]:
        out = []
        for _ in range(steps):
            *_, terminated, truncated, infos = env.step(rng.integers(3, size=2))
            out += infos["intrinsic_reward"].tolist()
            over = terminated | truncated
            if mode is AutoresetMode.DISABLED and over.any():
                env.reset(options={"reset_mask": over})
        return out

    rng = np.random.default_rng(0)
    settings = {"learn_every": 14, "updates": 3, "hidden": (8,)}
    one = vime.wrap(vector(mode), "vime", **settings)
    one.reset()
    run(one, 18)
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    # The world itself is handed on as it stands: its state is not the wrapper's.
    two = vime.wrap(vector(mode), "vime", seed=5, **settings)
    two.load_state_dict(torch.load(file, weights_only=True))
    two.env = deepcopy(one.env)
    rng = np.random.default_rng(1)
    first = run(one, 20)
    rng = np.random.default_rng(1)
    assert run(two, 20) == first
    assert two.metrics == one.metrics != {}


def test_a_state_of_another_kind_is_refused() -> None:
    env = vime.wrap(vector(AutoresetMode.SAME_STEP), "vime", hidden=(8,))
    with pytest.raises(vime.CheckpointError, match="not complete"):
        env.load_state_dict({"bonus": {}})
    with pytest.raises(vime.CheckpointError, match="one of 3 environments; here are 2"):
        env.load_state_dict(vime.wrap(vector(AutoresetMode.SAME_STEP, 3), "vime", hidden=(8,)).state_dict())
    with pytest.raises(vime.CheckpointError, match="does not fit the bonus Vime"):
        env.load_state_dict(vime.wrap(vector(AutoresetMode.SAME_STEP), "vime", hidden=(9,)).state_dict())


def test_a_wrapped_environment_passes_gymnasiums_checks() -> None:
    env = vime.wrap(gymnasium.make("Pendulum-v1", disable_env_checker=True), "vime", updates=1, learn_every=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(env, skip_render_check=True)


def test_a_wrapped_environment_can_be_made_again_from_its_spec() -> None:
    env = vime.wrap(gymnasium.make("Pendulum-v1"), "vime", scale=0.5, hidden=(8,))
    assert env.spec is not None
    again = gymnasium.make(env.spec)
    assert again.get_wrapper_attr("bonus").scale == 0.5
    assert again.get_wrapper_attr("bonus").bonus.settings.hidden == (8,)


def test_nested_wrappers_add_up_and_keep_the_environments_reward() -> None:
    env = vime.wrap(vime.wrap(Script(), Recorder(), scale=1.0), Recorder(), scale=10.0)
    env.reset()
    _, reward, _, _, info = env.step(0)
    assert info["extrinsic_reward"] == 1.5
    assert info["intrinsic_reward"] == 1.0
    assert reward == 1.5 + 1.0 + 10.0


def test_the_weight_can_be_changed_on_the_way() -> None:
    env = vime.wrap(Script(), Recorder(), scale=0.0)
    env.reset()
    assert env.step(0)[1] == 1.5
    env.bonus.scale = 2.0
    assert env.step(0)[1] == 2.5 + 4.0


def test_one_batch_that_cannot_be_learnt_from_spoils_none_of_those_after_it() -> None:
    class Failing(Recorder):
        def learn(self, batch: vime.Transitions) -> dict[str, float]:
            if not self.learnt:
                self.learnt = True
                raise vime.InvalidData("no number")
            return {"steps": float(len(batch.done))}

        learnt = False

    env = vime.wrap(Script(), Failing(), learn_every=2)
    env.reset()
    env.step(0)
    with pytest.raises(vime.InvalidData, match="no number"):
        env.step(0)
    env.reset()
    env.step(0)
    env.step(0)
    assert env.metrics == {"steps": 2.0}


def test_the_users_scaling_replaces_that_of_the_bonus() -> None:
    assert vime.wrap(Script(), "vime", scaling=PLAIN).bonus.scaling is PLAIN


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"bonus": "vimes"}, vime.UnknownName, "Did you mean 'vime'"),
        ({"bonus": "vime", "hiden": 3}, vime.InvalidSettings, "Did you mean 'hidden'"),
        ({"bonus": "vime", "learn_every": 0}, vime.InvalidSettings, "`learn_every` must be a whole number"),
        ({"bonus": "vime", "scale": float("nan")}, vime.InvalidSettings, "`scale` must be a finite number"),
        ({"bonus": Recorder(), "seed": 3}, vime.InvalidSettings, "takes no settings; got seed"),
        ({"bonus": vime.ScaledBonus(Recorder())}, vime.InvalidSettings, "scaled already"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        vime.wrap(Script(), **arguments)


def test_spaces_that_no_bonus_can_serve_are_named() -> None:
    env = Script()
    env.observation_space = gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(2)])
    with pytest.raises(vime.UnsupportedSpace, match="Tuple is no observation space"):
        vime.wrap(env, "vime")
