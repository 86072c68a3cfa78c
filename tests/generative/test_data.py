"""Data sets: their values, their order, their files."""

import gzip
import io
import pickle
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from generative import Dataset, InvalidData, InvalidSettings, MissingData, Split, UnknownName, dataset, load_data
from generative.data import Minibatches
from generative.datasets import BUILT_IN, MIXTURE_STD, grid_centres
from generative.files import CIFAR_BINARY, CIFAR_PYTHON, MNIST_FILES, cifar10, mnist, read_idx
from generative.model import checked_labels
from tests.generative.small import generator

STEP = torch.zeros(())


def test_digits_are_split_and_scaled(digits: Dataset) -> None:
    assert (len(digits.train), len(digits.test), digits.shape, digits.classes) == (1297, 500, (1, 8, 8), 10)
    x = digits.examples("train", generator())
    assert (float(x.min()), float(x.max())) == (0, 1)
    assert torch.equal((x * 16).round(), x * 16)


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - {"digits"}))
def test_mixtures_are_made_from_a_seed_and_lie_where_they_should(name: str) -> None:
    first, again = load_data(name), load_data(name)
    assert torch.equal(first.train.x, again.train.x)
    assert first.support == "real"
    assert first.train.x.abs().max() < 3
    if name == "gaussians-25":
        assert first.classes == 25
        assert first.train.label is not None
        spread = first.train.x - grid_centres()[first.train.label]
        assert float(spread.std()) == pytest.approx(MIXTURE_STD, rel=0.02)


def test_dynamic_binarisation_draws_anew_with_the_right_chance(digits: Dataset) -> None:
    data, source = digits.binarised(), generator()
    x = data.test.x[:3]
    draws = torch.stack([data.values(x, source) for _ in range(500)])
    assert set(draws.unique().tolist()) == {0, 1}
    torch.testing.assert_close(draws.mean(0), x / 16, atol=0.12, rtol=0)
    assert torch.equal(data.values(x, generator(5)), data.values(x, generator(5)))


def test_static_binarisation_is_drawn_once(digits: Dataset) -> None:
    data = digits.binarised("static", seed=1)
    assert torch.equal(data.examples("test", generator(1)), data.examples("test", generator(2)))
    assert not torch.equal(data.test.x, digits.binarised("static", seed=2).test.x)
    cut = digits.binarised("threshold")
    assert torch.equal(cut.test.x.bool(), digits.test.x > 8)
    assert (data.support, data.levels, data.binarisation) == ("binary", 2, "static")


def test_grey_numbers_are_binarised_as_grey_bytes_are() -> None:
    grey = torch.rand(64, 1, 4, 4, generator=generator(), dtype=torch.float64)
    for data in (dataset(grey), dataset(grey.numpy())):
        seen = data.binarised().examples("train", generator())
        assert seen.dtype == torch.float32
        assert set(seen.unique().tolist()) == {0, 1}
        assert data.binarised().binarised() is not None
        with pytest.raises(InvalidData, match="binarised already, dynamic"):
            data.binarised().binarised("static")


def test_the_first_data_hide_the_labels_that_were_hidden(digits: Dataset) -> None:
    few = digits.with_labels(2, seed=0).first(700, 100)
    assert few.labelled is not None
    assert 0 < len(few.labelled) < 20
    assert few.labelled.max() < 700
    with pytest.raises(InvalidData, match="None of the first 1 "):
        few.first(1, 0)


def test_data_are_told_from_others_by_all_that_is_learned_from(digits: Dataset) -> None:
    one = digits.with_labels(2, seed=0)
    assert one.describe() == digits.with_labels(2, seed=0).describe()
    label = digits.train.label
    assert label is not None
    other = replace(one, train=Split(x=digits.train.x, label=(label + 1) % 10))
    kinds = [digits, one, digits.with_labels(2, seed=1), other, replace(digits, train=Split(x=16 - digits.train.x))]
    assert len({str(kind.describe()) for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("size", [7, 10, 33])
def test_every_pass_sees_every_example_once(size: int) -> None:
    data = dataset(torch.arange(10).to(torch.uint8)[:, None])
    batches, source = Minibatches(data, size, seed=3), generator()
    drawn = torch.cat([batches.next(source, STEP).x for _ in range(20)])[:, 0].mul(255).round()
    passes = drawn[: len(drawn) // 10 * 10].view(-1, 10)
    assert all(sorted(order.tolist()) == list(range(10)) for order in passes)
    assert not torch.equal(passes[0], passes[1])


def test_the_order_goes_on_from_its_position(digits: Dataset) -> None:
    whole, rest = Minibatches(digits, 100, seed=3), Minibatches(digits, 100, seed=3)
    found = [whole.next(generator(), STEP).x for _ in range(30)]
    rest.position = 17
    assert torch.equal(rest.next(generator(), STEP).x, found[17])
    other = Minibatches(digits, 100, seed=4)
    assert not torch.equal(other.next(generator(), STEP).x, found[0])


def test_hidden_labels_stay_hidden(digits: Dataset) -> None:
    few = digits.with_labels(3, seed=0)
    assert few.labelled is not None
    assert digits.train.label is not None
    assert digits.train.label[few.labelled].bincount().tolist() == [3] * 10
    batch = Minibatches(few, 50, seed=0).next(generator(), STEP)
    assert batch.label is None
    assert batch.labelled is not None
    assert batch.labelled.label is not None
    known = {row.numpy().tobytes() for row in few.train.x[few.labelled].float() / 16}
    assert {row.numpy().tobytes() for row in batch.labelled.x} <= known
    assert not torch.equal(few.labelled, digits.with_labels(3, seed=1).labelled)  # type: ignore[arg-type]
    shown = Minibatches(digits, 50, seed=0).next(generator(), STEP)
    assert shown.label is not None
    assert torch.equal(shown.x, batch.x)  # hiding labels changes no order


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda d: d.first(0, 10), "no training examples"),
        (lambda d: replace(d, test=Split(x=d.test.x, label=torch.arange(3))), "500 test examples, but 3 labels"),
        (lambda d: replace(d, levels=16), "bytes up to 16"),
        (lambda d: dataset(torch.full((3, 2), float("nan"))), "finite"),
        (lambda d: dataset(torch.full((3, 2), 2.0)), "between 0 and 1"),
        (lambda d: dataset(torch.zeros(3, 2).long()), "bytes or floating-point"),
        (lambda d: d.with_labels(1000, seed=0), "cannot give 1000"),
        (lambda d: dataset(torch.zeros(3, 2), support="real").binarised(), "cannot be binarised"),
    ],
)  # fmt: skip
def test_bad_data_are_refused_in_a_sentence(make: Callable[[Dataset], object], said: str, digits: Dataset) -> None:
    with pytest.raises(InvalidData, match=said):
        make(digits)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (torch.zeros(3, 1).long(), r"int64 of shape \(3, 1\)"),
        (torch.zeros(3), "got float32"),
        (torch.zeros(3).bool(), "got bool"),
        (torch.tensor([0, -1, 1]), "numbered from 0 on; got -1"),
        (np.array([0.0, 1.0, 2.0]), "got float64"),
    ],
    ids=str,
)  # fmt: skip
def test_labels_that_are_no_classes_are_refused(label: torch.Tensor, said: str) -> None:
    with pytest.raises(InvalidData, match=said):
        checked_labels(label)
    if isinstance(label, torch.Tensor):
        with pytest.raises(InvalidData, match=said):
            Split(x=torch.zeros(3, 2), label=label)


@pytest.mark.parametrize("label", [np.array([2, 0, 1]), np.array([2, 0, 1], np.uint16), torch.tensor([2, 0, 1]).int()])
def test_whole_numbers_of_any_kind_are_classes(label: torch.Tensor) -> None:
    kept = checked_labels(label)
    assert kept.dtype == torch.int64
    assert kept.tolist() == [2, 0, 1]


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture
def mnist_folder(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    for i, name in enumerate(MNIST_FILES):
        array = noise.integers(256, size=(20, 28, 28)) if "images" in name else noise.integers(10, size=20)
        content = idx(array.astype(np.uint8))
        path = tmp_path / (name if i % 2 else f"{name}.gz")
        path.write_bytes(content if i % 2 else gzip.compress(content))
    return tmp_path


def test_idx_files_are_read_packed_or_not(mnist_folder: Path) -> None:
    data = load_data("mnist", mnist_folder)
    assert (data.shape, len(data.train), len(data.test)) == ((1, 28, 28), 20, 20)
    expected = np.random.default_rng(0).integers(256, size=(20, 28, 28)).astype(np.uint8)
    assert np.array_equal(data.train.x[:, 0].numpy(), expected)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        lambda path: path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1])),
        lambda path: path.write_bytes(b"<html>not found</html>"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(idx(np.zeros((20, 5), np.uint8))),
    ],
    ids=["absent", "truncated", "short", "page", "empty", "matrix"],
)
def test_damaged_idx_files_are_refused_with_what_is_expected(
    spoil: Callable[[Path], object], mnist_folder: Path
) -> None:
    spoil(mnist_folder / "train-images-idx3-ubyte.gz")
    with pytest.raises(MissingData, match=r"train-images-idx3-ubyte \(6bbc9ace898e44ae57da46a324031adb\)"):
        mnist(mnist_folder)


MNIST = Path("/nonexistent") if not (home := Path(__file__).parents[3] / "shared/data/mnist").is_dir() else home


def test_mnist_can_be_had_at_half_its_size(mnist_folder: Path) -> None:
    whole, half = load_data("mnist", mnist_folder), load_data("mnist-14", mnist_folder)
    assert half.shape == (1, 14, 14)
    assert half.train.label is not None
    assert torch.equal(half.train.label, whole.train.label)  # type: ignore[arg-type]
    mean = whole.train.x[:, 0, 4:6, 8:10].float().mean((1, 2))
    torch.testing.assert_close(half.train.x[:, 0, 2, 4].float(), mean.round())


@pytest.mark.skipif(not MNIST.is_dir(), reason="the files of MNIST are not here")
def test_mnist_itself() -> None:
    import hashlib

    data = load_data("mnist", MNIST)
    assert (len(data.train), len(data.test), data.classes) == (60_000, 10_000, 10)
    assert data.train.label is not None
    assert data.train.label[:5].tolist() == [5, 0, 4, 1, 9]
    for name, digest in MNIST_FILES.items():
        content = gzip.decompress((MNIST / f"{name}.gz").read_bytes())
        assert hashlib.md5(content).hexdigest() == digest


def rows() -> tuple[np.ndarray, list[int]]:
    noise = np.random.default_rng(1)
    return noise.integers(256, size=(4, 3072)).astype(np.uint8), [3, 1, 9, 0]


def test_both_versions_of_cifar_are_read_alike(tmp_path: Path) -> None:
    pixels, labels = rows()
    (tmp_path / "bin" / "cifar-10-batches-bin").mkdir(parents=True)
    (tmp_path / "py").mkdir()
    for name in CIFAR_BINARY:
        content = b"".join(bytes([y]) + x.tobytes() for x, y in zip(pixels, labels, strict=True))
        (tmp_path / "bin" / "cifar-10-batches-bin" / name).write_bytes(content)
    for name in CIFAR_PYTHON:
        (tmp_path / "py" / name).write_bytes(pickle.dumps({b"data": pixels, b"labels": labels}, protocol=2))
    binary, python = cifar10(tmp_path / "bin"), cifar10(tmp_path / "py")
    assert binary.shape == (3, 32, 32)
    assert len(binary.train) == 20
    assert torch.equal(binary.train.x, python.train.x)
    assert torch.equal(binary.train.label, python.train.label)  # type: ignore[arg-type]
    assert binary.train.x[0, 2, 31, 31] == pixels[0, -1]


class Hostile:
    """A pickle that runs something when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/tmp/generative-was-run"),))  # type: ignore[return-value]


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    for name in CIFAR_PYTHON:
        (tmp_path / name).write_bytes(pickle.dumps({b"data": Hostile(), b"labels": [1]}))
    with pytest.raises(MissingData, match=r"it asks for pathlib.*Its MD5 should be c99cafc152244af753f735de768cd75f"):
        cifar10(tmp_path)
    assert not Path("/tmp/generative-was-run").exists()


def test_missing_cifar_names_both_archives(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"c32a1d4ab5d03f1284b67883e8d87530.*data_batch_1"):
        load_data("cifar10", tmp_path)
    for name in CIFAR_BINARY:
        (tmp_path / name).write_bytes(b"12345")
    with pytest.raises(MissingData, match="truncated: 5 bytes"):
        cifar10(tmp_path)


def test_names_and_folders_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'mnist'"):
        load_data("mnits")
    with pytest.raises(InvalidSettings, match="in which folder"):
        load_data("mnist")
    with pytest.raises(MissingData, match="has no file train-images"):
        load_data("mnist", tmp_path)
    with pytest.raises(MissingData):
        read_idx_of_a_tar(tmp_path)


def read_idx_of_a_tar(folder: Path) -> np.ndarray:
    path = folder / "archive.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    shutil.copy(path, folder / "images")
    return read_idx(folder / "images")
