"""How fast the closed form of the realised gain is, against what one would write otherwise."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn import functional as F

from vime.information import draw, realised_gain
from vime.layers import BayesianLinear
from vime.network import BayesianMLP

ROWS, INPUTS, HIDDEN, OUTPUTS = 5000, 23, 64, 17  # a batch of HalfCheetah, and the network of the comparison
LOOPED_ROWS = 50  # the loop is timed on this many rows, and its time scaled up
VMAP_CHUNK = 250  # rows; vmap's own best, for the gradients of more rows leave the cache
ROUNDS = 9


def information(rounds: int = ROUNDS) -> dict[str, float]:
    """Returns process CPU seconds of each contender and their ratios, medians over interleaved rounds.

    `loop_ratio_s10` is the time of looped autograd (per row and per sample, as the published code runs) over that of
    the closed form; `vmap_ratio_s10` the same for `torch.func.vmap(grad)`; both with 10 samples. `gradient_ratio_s1`
    is the time of the closed form with one sample over that of one forward and backward pass of a plain network of the
    same size on the same batch.
    """
    generator = torch.Generator().manual_seed(0)
    network = BayesianMLP(INPUTS, OUTPUTS, (HIDDEN,), std=0.5, noise_std=5.0, learn_noise=False, generator=generator)
    x, y = torch.randn(ROWS, INPUTS, generator=generator), torch.randn(ROWS, OUTPUTS, generator=generator)
    plain = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUTPUTS))
    few = slice(0, LOOPED_ROWS)

    def gradient() -> None:
        plain.zero_grad()
        (plain(x) - y).square().sum().backward()

    seconds = _interleaved(
        {
            "closed_s10": lambda: realised_gain(network, x, y, samples=10, generator=generator),
            "closed_s1": lambda: realised_gain(network, x, y, generator=generator),
            "gradient": gradient,
            "vmap_s10": lambda: _vmap(network, x, y, draw(network, ROWS, 10, generator=generator)),
            "loop_s10": lambda: _loop(network, x[few], y[few], draw(network, LOOPED_ROWS, 10, generator=generator)),
        },
        rounds,
    )
    seconds["loop_s10"] *= ROWS / LOOPED_ROWS
    return {
        "loop_ratio_s10": seconds["loop_s10"] / seconds["closed_s10"],
        "vmap_ratio_s10": seconds["vmap_s10"] / seconds["closed_s10"],
        "gradient_ratio_s1": seconds["closed_s1"] / seconds["gradient"],
    } | {f"seconds_{name}": value for name, value in seconds.items()}


def _interleaved(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median process CPU seconds of each contender; a round runs every one of them once, after one round to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            start = time.process_time()
            run()
            if number:
                taken[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


def _loss(network: BayesianMLP, parameters: Mapping[str, Tensor], x: Tensor, y: Tensor, noise: list[Tensor]) -> Tensor:
    """Negative log-likelihood of one row, averaged over `samples`; every noise is `(samples, k)`."""
    h = x.expand(len(noise[0]), -1)
    for i, eps in enumerate(noise):
        mean, rho = (parameters[f"layers.{i}.weight_{part}"] for part in ("mean", "rho"))
        bias, bias_rho = (parameters[f"layers.{i}.bias_{part}"] for part in ("mean", "rho"))
        h = F.relu(h) if i else h
        variance = F.linear(h.square(), F.softplus(rho).square(), F.softplus(bias_rho).square())
        h = F.linear(h, mean, bias) + variance.sqrt() * eps
    return (0.5 * (h - y).square() / network.noise_variance).sum() / len(noise[0])


def _weigh(network: BayesianMLP, slopes: Mapping[str, Tensor]) -> Tensor:
    """The gain that the slopes of `n` rows, each `(n, *shape)`, give."""
    gain = torch.zeros(())
    for i, layer in enumerate(network.layers):
        assert isinstance(layer, BayesianLinear)
        for part in ("weight", "bias"):
            std, rho = getattr(layer, f"{part}_std").detach(), getattr(layer, f"{part}_rho").detach()
            for kind, hessian in (("mean", std**-2), ("rho", 2 * torch.sigmoid(rho) ** 2 / std**2)):
                gain = gain + 0.5 * (slopes[f"layers.{i}.{part}_{kind}"].square() / hessian).flatten(1).sum(1)
    return gain


def _vmap(network: BayesianMLP, x: Tensor, y: Tensor, noise: list) -> Tensor:
    parameters = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    slopes = vmap(grad(lambda p, *row: _loss(network, p, *row)), in_dims=(None, 0, 0, 1), chunk_size=VMAP_CHUNK)
    return _weigh(network, slopes(parameters, x, y, noise))


def _loop(network: BayesianMLP, x: Tensor, y: Tensor, noise: list) -> Tensor:
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    gains = []
    for row in range(len(x)):
        samples = len(noise[0])
        loss = torch.zeros(())
        for s in range(samples):
            one = [eps[s : s + 1, row] for eps in noise]
            loss = loss + _loss(network, parameters, x[row], y[row], one) / samples
        slopes = torch.autograd.grad(loss, list(parameters.values()))
        gains.append(_weigh(network, {k: v.unsqueeze(0) for k, v in zip(parameters, slopes, strict=True)}))
    return torch.cat(gains)
