"""Every supported space becomes finite float32 features; the others say what is supported."""

import io

import numpy as np
import pytest
import torch
from gymnasium import Space, spaces

import vime
from vime.spaces import (
    DictEncoder,
    Encoder,
    FlatEncoder,
    ImageEncoder,
    OneHotEncoder,
    make_action_encoder,
    make_encoder,
)
from vime.transitions import Observation, to_tensor

SPACES: dict[str, Space] = {
    "vector": spaces.Box(-1, 1, (5,), np.float32),
    "float64": spaces.Box(-np.inf, np.inf, (3, 2), np.float64),
    "integers": spaces.Box(0, 9, (4,), np.int32),
    "scalar": spaces.Box(-1, 1, (), np.float32),
    "bytes": spaces.Box(0, 255, (128,), np.uint8),
    "discrete": spaces.Discrete(4, start=-2),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-discrete-matrix": spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[1, 1], [0, 0]]),
    "multi-binary": spaces.MultiBinary((2, 3)),
    "image-84": spaces.Box(0, 255, (84, 84, 3), np.uint8),
    "image-7": spaces.Box(0, 255, (7, 7, 3), np.uint8),
    "image-stack": spaces.Box(0, 255, (4, 84, 84), np.uint8),
    "image-grey": spaces.Box(0, 255, (36, 48), np.uint8),
    "image-colour-stack": spaces.Box(0, 255, (2, 16, 20, 3), np.uint8),
    "image-float": spaces.Box(0, 1, (3, 20, 20), np.float32),
    "dict": spaces.Dict(
        view=spaces.Box(0, 255, (7, 7, 3), np.uint8), goal=spaces.Discrete(3), pose=spaces.Box(-1, 1, (2,))
    ),
}
IMAGES = [name for name in SPACES if name.startswith("image")]
N = 6


def sample(space: Space, n: int = N) -> Observation:
    space.seed(0)
    drawn = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return to_tensor({key: np.stack([one[key] for one in drawn]) for key in space.spaces})
    return to_tensor(np.stack(drawn))


@pytest.mark.parametrize("name", SPACES)
def test_every_supported_space_has_features(name: str) -> None:
    encoder = make_encoder(SPACES[name])
    assert isinstance(encoder, Encoder)
    features = encoder.encode(sample(SPACES[name]))
    assert features.shape == (N, encoder.features)
    assert features.dtype == torch.float32
    assert torch.isfinite(features).all()
    assert encoder.fit(sample(SPACES[name]), 3) == {}


@pytest.mark.parametrize("name", SPACES)
def test_features_of_many_are_features_of_each(name: str) -> None:
    encoder, obs = make_encoder(SPACES[name]), sample(SPACES[name])
    rows = [{k: v[i : i + 1] for k, v in obs.items()} if isinstance(obs, dict) else obs[i : i + 1] for i in range(N)]
    torch.testing.assert_close(
        encoder.encode(obs), torch.cat([encoder.encode(row) for row in rows]), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("name", SPACES)
def test_building_and_asking_leave_the_global_generators_alone(name: str) -> None:
    torch.manual_seed(3)
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    make_encoder(SPACES[name]).encode(sample(SPACES[name]))
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(before_numpy, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


@pytest.mark.parametrize("name", SPACES)
def test_asking_leaves_the_observation_alone(name: str) -> None:
    obs = sample(SPACES[name])
    make_encoder(SPACES[name]).encode(obs)
    again = sample(SPACES[name])
    pairs = [(obs[k], again[k]) for k in obs] if isinstance(obs, dict) else [(obs, again)]  # type: ignore[index]
    assert all(torch.equal(one, two) for one, two in pairs)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SPACES)
def test_a_saved_encoder_gives_the_same_features(name: str) -> None:
    encoder, other = make_encoder(SPACES[name], seed=1), make_encoder(SPACES[name], seed=2)
    file = io.BytesIO()
    torch.save(encoder.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(encoder.encode(sample(SPACES[name])), other.encode(sample(SPACES[name])))


def test_numbers_come_flattened_in_memory_order() -> None:
    space = SPACES["float64"]
    obs = torch.arange(12.0, dtype=torch.float64).reshape(2, 3, 2)
    assert make_encoder(space).encode(obs).tolist() == [list(range(6)), list(range(6, 12))]


def test_discrete_values_become_indicators_counted_from_their_start() -> None:
    assert make_encoder(spaces.Discrete(3, start=-1)).encode(torch.tensor([-1, 1])).tolist() == [[1, 0, 0], [0, 0, 1]]
    encoder = make_encoder(spaces.MultiDiscrete([2, 3]))
    assert encoder.encode(torch.tensor([[1, 0], [0, 2]])).tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]


def test_discrete_values_may_carry_an_axis_of_one() -> None:
    assert make_encoder(spaces.Discrete(2)).encode(torch.tensor([[1], [0]])).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("value", [-3, 2, 100])
def test_a_discrete_value_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(vime.InvalidData, match=f"The discrete value {value} lies outside .* integers -2 to 1"):
        make_encoder(spaces.Discrete(4, start=-2)).encode(torch.tensor([0, value]))


def test_entries_of_a_mapping_are_joined_in_the_order_of_the_space() -> None:
    space = spaces.Dict(b=spaces.Discrete(2), a=spaces.Box(-9, 9, (1,)))
    obs = {"a": torch.tensor([[5.0]]), "b": torch.tensor([1])}
    features = make_encoder(space).encode(obs)
    assert features.tolist() == make_encoder(space).encode(dict(reversed(obs.items()))).tolist()
    assert sorted(features[0].tolist()) == [0, 1, 5]


@pytest.mark.parametrize("name", IMAGES)
def test_image_features_have_unit_size_and_tell_images_apart(name: str) -> None:
    encoder, obs = make_encoder(SPACES[name]), sample(SPACES[name], 20)
    assert isinstance(encoder, ImageEncoder)
    features = encoder.encode(obs)
    torch.testing.assert_close(features.std(1, correction=0), torch.ones(20), atol=1e-3, rtol=1e-3)
    assert torch.pdist(features).min() > 0.1


def test_one_changed_cell_of_a_small_grid_moves_the_features() -> None:
    grid = torch.zeros(1, 7, 7, 3, dtype=torch.uint8)
    grid[..., 0] = 1
    changed = grid.clone()
    changed[0, 3, 4, 0] = 5
    features = make_encoder(SPACES["image-7"]).encode(torch.cat([grid, changed]))
    assert (features[0] - features[1]).norm() > 0.1


def test_frozen_weights_follow_from_the_seed() -> None:
    obs = sample(SPACES["image-7"])
    one, same, other = (make_encoder(SPACES["image-7"], seed=seed).encode(obs) for seed in (5, 5, 6))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=0.1)
    assert not any(p.requires_grad for p in make_encoder(SPACES["image-7"]).parameters())


def test_channels_may_come_first_or_last() -> None:
    last, first = (
        make_encoder(spaces.Box(0, 255, (12, 10, 3), np.uint8)),
        make_encoder(spaces.Box(0, 255, (3, 12, 10), np.uint8)),
    )
    obs = torch.randint(0, 256, (4, 12, 10, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(last.encode(obs), first.encode(obs.permute(0, 3, 1, 2)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("space", "kind"),
    [
        (spaces.Box(-1, 1, (2, 3, 4)), FlatEncoder),
        (spaces.Box(-1, 1, (40, 40)), FlatEncoder),
        (spaces.Box(0, 255, (3, 3, 3), np.uint8), FlatEncoder),
        (spaces.Box(0, 1, (20, 20, 20)), FlatEncoder),
        (spaces.Box(0, 1, (9, 9, 4)), ImageEncoder),
        (spaces.Discrete(2), OneHotEncoder),
        (spaces.Dict(a=spaces.Discrete(2)), DictEncoder),
    ],
)
def test_what_looks_like_an_image_is_one(space: Space, kind: type) -> None:
    assert type(make_encoder(space)) is kind


@pytest.mark.parametrize("name", ["vector", "discrete", "multi-discrete", "multi-binary", "float64"])
def test_actions_are_numbers_or_indicators(name: str) -> None:
    encoder = make_action_encoder(SPACES[name])
    assert encoder.encode(sample(SPACES[name])).shape == (N, encoder.features)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "space",
    [
        spaces.Tuple([spaces.Discrete(2)]),
        spaces.Text(5),
        spaces.Sequence(spaces.Discrete(2)),
        spaces.Graph(spaces.Discrete(2), None),
        spaces.Dict(a=spaces.Dict(b=spaces.Discrete(2))),
        spaces.Dict(a=spaces.Text(5)),
        spaces.Dict(),
        spaces.Box(-1, 1, (0,)),
    ],
)
def test_other_observation_spaces_are_refused(space: Space) -> None:
    with pytest.raises(vime.UnsupportedSpace):
        make_encoder(space)


@pytest.mark.parametrize("space", [spaces.Tuple([spaces.Discrete(2)]), spaces.Dict(a=spaces.Discrete(2))])
def test_other_action_spaces_are_refused(space: Space) -> None:
    with pytest.raises(vime.UnsupportedSpace, match="Box, Discrete, MultiDiscrete and MultiBinary are"):
        make_action_encoder(space)


@pytest.mark.parametrize(
    ("name", "obs"),
    [
        ("vector", torch.zeros(2, 4)),
        ("multi-discrete", torch.zeros(2, 3, dtype=torch.int64)),
        ("image-7", torch.zeros(2, 7, 6, 3)),
        ("vector", {"a": torch.zeros(2, 5)}),
        ("dict", torch.zeros(2, 5)),
        ("dict", {"goal": torch.zeros(2)}),
    ],
)
def test_observations_of_another_shape_are_refused(name: str, obs: Observation) -> None:
    with pytest.raises(vime.InvalidData):
        make_encoder(SPACES[name]).encode(obs)


@pytest.mark.gpu
@pytest.mark.parametrize("name", SPACES)
def test_features_on_a_gpu_are_those_on_the_processor(name: str) -> None:
    encoder, obs = make_encoder(SPACES[name]), sample(SPACES[name])
    expected = encoder.encode(obs)
    moved = {k: v.cuda() for k, v in obs.items()} if isinstance(obs, dict) else obs.cuda()
    torch.testing.assert_close(encoder.cuda().encode(moved).cpu(), expected, atol=1e-2, rtol=1e-2)


ROW = SPACES["vector"]


class Mission(Space):
    """A sentence, as MiniGrid's, which Gymnasium cannot flatten."""


@pytest.mark.parametrize(
    ("space", "advice"),
    [
        (spaces.Dict({"a": ROW, "b": spaces.Tuple((ROW,))}), "FlattenObservation"),
        (spaces.Dict({"a": ROW, "b": spaces.Text(3)}), "FlattenObservation"),
        (spaces.Dict({"a": ROW, "b": Mission()}), "leave 'b' out with gymnasium.wrappers.FilterObservation"),
        (spaces.Dict({"a": ROW, "b": spaces.Sequence(ROW)}), "FilterObservation, or in MiniGrid .*ImgObsWrapper"),
        (spaces.Dict({"b": spaces.Dict({"c": Mission()})}), "FilterObservation"),
        (Mission(), "to a Box with gymnasium.wrappers.TransformObservation"),
    ],
)
def test_the_wrapper_that_is_advised_can_do_it(space: Space, advice: str) -> None:
    with pytest.raises(vime.UnsupportedSpace, match=advice):
        make_encoder(space)
