import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.preprocessing import preprocess_obs

from agents.config import RunConfig
from agents.factory import make_model, make_task
from agents.networks import EXTRACTORS, Parts, Patches, SmallImage, extractor, images_last, is_small_image, kinds
from envs.grids import observation_space
from vime.errors import UnknownName

GRID = observation_space()
BYTES = spaces.Box(0, 255, (7, 7, 3), np.uint8)
LARGE = spaces.Box(0, 255, (84, 84, 1), np.uint8)
MIXED = spaces.Dict(view=BYTES, pose=spaces.Box(-1, 1, (2,)), goal=spaces.Discrete(5))


def box(*shape: int, high: int = 255, dtype: type = np.uint8) -> spaces.Box:
    return spaces.Box(0, high, shape, dtype)


@pytest.mark.parametrize(
    ("space", "small"),
    [
        (GRID, True),
        (BYTES, True),
        (box(3, 7, 7), True),
        (box(7, 7), True),
        (box(35, 40, 1), True),
        (box(36, 36, 1), False),
        (LARGE, False),
        (box(12), False),
        (box(7, 7, 3, dtype=np.float32), False),
        (box(2, 2, 3), False),
        (spaces.Discrete(3), False),
    ],
    ids=str,
)
def test_small_images_are_those_that_sb3_cannot_read(space: spaces.Space, small: bool) -> None:
    assert is_small_image(space) == small
    assert extractor(space) == (SmallImage if small else None)


def test_a_dict_is_ours_where_a_small_image_is_in_it() -> None:
    assert extractor(MIXED) is Parts
    assert extractor(spaces.Dict(view=LARGE, pose=spaces.Box(-1, 1, (2,)))) is None


def test_bounds_tell_kinds_from_brightness() -> None:
    assert kinds(GRID) == [11, 6, 4]
    assert kinds(BYTES) == []
    assert kinds(box(7, 7, high=9)) == [10]
    assert kinds(spaces.Box(1, 9, (7, 7), np.uint8)) == []
    uneven = np.full((7, 7), 9, np.uint8)
    uneven[0, 0] = 3
    assert kinds(spaces.Box(np.zeros((7, 7), np.uint8), uneven, dtype=np.uint8)) == []


@pytest.mark.parametrize("space", [GRID, BYTES, box(3, 7, 7), box(7, 7), box(5, 5, 1), box(20, 35, 3)], ids=str)
def test_every_pixel_reaches_the_features_whatever_the_layout(space: spaces.Box) -> None:
    torch.manual_seed(0)
    net = SmallImage(space)
    image = space.sample()
    base = net(preprocess_obs(torch.as_tensor(image)[None], space))
    assert base.shape == (1, net.features_dim)
    assert torch.isfinite(base).all()
    reached = 0
    for index in np.ndindex(image.shape):
        other = image.copy()
        values = int(space.high[index]) + 1
        other[index] = (int(image[index]) + values // 2) % values
        reached += not torch.equal(net(preprocess_obs(torch.as_tensor(other)[None], space)), base)
    assert reached >= 0.9 * image.size  # a stride may skip an edge


def test_layouts_of_the_same_image_are_one() -> None:
    image = torch.rand(2, 7, 7, 3)
    assert torch.equal(images_last(image), images_last(image.movedim(-1, 1)))
    assert images_last(image[..., 0]).shape == (2, 7, 7, 1)


def test_brightness_comes_to_the_net_between_zero_and_one() -> None:
    dim, bright = box(7, 7, 1, high=100), box(7, 7, 1)
    one, two = SmallImage(dim), SmallImage(bright)
    two.load_state_dict(one.state_dict())
    image = torch.randint(101, (4, 7, 7, 1))
    seen = one(preprocess_obs(image, dim))
    torch.testing.assert_close(two(preprocess_obs(image, bright) * 255 / 100), seen)


def test_a_dict_gives_the_features_of_all_its_entries() -> None:
    net = Parts(spaces.Dict({**MIXED.spaces, "large": box(1, 84, 84)}))
    obs = {
        "view": torch.rand(4, 7, 7, 3),
        "pose": torch.rand(4, 2),
        "goal": torch.eye(5)[:4],
        "large": torch.rand(4, 1, 84, 84),
    }
    features = net(obs)
    assert features.shape == (4, net.features_dim) == (4, 128 + 2 + 5 + 256)
    for key, part in obs.items():
        assert not torch.equal(net({**obs, key: part.roll(1, 0)}), features)


class Signal(gymnasium.Env):
    """One cell of a 7x7 image says which action pays."""

    def __init__(self, high: int) -> None:
        self.high = high
        self.observation_space = box(7, 7, 1, high=high)
        self.action_space = spaces.Discrete(2)

    def _show(self) -> np.ndarray:
        image = np.ones((7, 7, 1), np.uint8)
        self.right = int(self.np_random.integers(2))
        image[4, 5, 0] = 1 + self.right * int(0.9 * self.high)
        return image

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self._show(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = float(action == self.right)
        self.steps += 1
        return self._show(), reward, False, self.steps == 20, {}


@pytest.mark.parametrize("high", [5, 255])
def test_ppo_learns_what_one_cell_says(high: int) -> None:
    env = Signal(high)
    settings = {"features_extractor_class": extractor(env.observation_space)}
    model = PPO("MlpPolicy", env, n_steps=128, learning_rate=1e-3, gamma=0.1, policy_kwargs=settings, seed=0)
    model.learn(512)
    obs, _ = env.reset(seed=1)
    paid = 0.0
    for _ in range(100):
        obs, reward, *_ = env.step(int(model.predict(obs, deterministic=True)[0]))
        paid += reward
    assert paid > 85


@pytest.mark.parametrize("space", [box(42, 42, 2), box(2, 42, 42), box(40, 45, 1), LARGE, BYTES], ids=str)
def test_patches_see_every_pixel_of_an_image_of_any_size(space: spaces.Box) -> None:
    torch.manual_seed(0)
    net = Patches(space, width=64)
    images = torch.rand(8, *space.shape, requires_grad=True)
    features = net(images)
    assert features.shape == (8, 64)
    (slope,) = torch.autograd.grad(features.square().sum(), images)
    assert (slope.abs().sum(0) > 0).all()


def test_patches_are_the_same_for_channels_first_and_last() -> None:
    torch.manual_seed(0)
    last, first = Patches(box(42, 40, 2)), Patches(box(2, 42, 40))
    first.load_state_dict(last.state_dict())
    images = torch.rand(4, 42, 40, 2)
    torch.testing.assert_close(last(images), first(images.movedim(-1, 1)))


def test_a_patch_is_a_convolution_that_strides_by_its_size() -> None:
    torch.manual_seed(0)
    net = Patches(box(12, 18, 2), side=6, channels=3)
    kernel = net.square.weight.view(3, 2, 6, 6)
    images = torch.rand(5, 12, 18, 2)
    seen = torch.relu(torch.conv2d(images.movedim(-1, 1), kernel, net.square.bias, stride=6))
    expected = torch.relu(net.head(seen.movedim(1, -1).flatten(1)))
    torch.testing.assert_close(net(images), expected)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_a_run_may_name_its_network(name: str) -> None:
    settings = {"policy_kwargs": {"features_extractor_class": name}}
    config = RunConfig(task="vime/PixelMaze-v0", bonus="none", environments=1, algorithm_settings=settings)
    env = make_task(config)
    assert type(make_model(config, env).policy.features_extractor) is EXTRACTORS[name]
    env.close()


def test_another_network_is_refused() -> None:
    settings = {"policy_kwargs": {"features_extractor_class": "patch"}}
    config = RunConfig(task="vime/PixelMaze-v0", bonus="none", environments=1, algorithm_settings=settings)
    env = make_task(config)
    with pytest.raises(UnknownName, match="Did you mean 'patches'"):
        make_model(config, env)
    env.close()
