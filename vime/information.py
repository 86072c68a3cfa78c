"""What a transition tells about the weights of a model, as pure functions; every result is in nats.

The realised gain of VIME is the divergence of the posterior that one transition leaves behind from the posterior
before it, after one Newton step of size lambda on that transition's log-likelihood (Houthooft et al. 2016, "VIME",
equations 13 to 17). The Hessian of the divergence is diagonal, 1/s² for a mean and 2 sigmoid(rho)²/s² for a rho, so
the second-order expression g' H⁻¹ g collapses: with g_s the slope for the deviation s = softplus(rho),

    gain = 1/2 lambda² sum_i s_i² (g_mean,i² + g_s,i² / 2)

and the slopes of a layer are outer products of what flows into it and what flows back. No gradient of a single row is
ever formed where the sum over weights can be had from a matrix product (see `_local_share`).
"""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vime.errors import InvalidData, InvalidSettings
from vime.layers import BayesianLinear, Weights
from vime.network import BayesianMLP, Sampling

CHUNK = 3072  # (sample, row) pairs in flight: more leave the cache of the processor, fewer pay for the calls
MIN_ROWS = 64


class _Layer(NamedTuple):
    """What the backward pass needs of one layer; `variance` and `noise` are None for a layer without them."""

    layer: torch.nn.Module
    entering: Tensor
    variance: Tensor | None
    noise: Tensor | None
    drawn: Weights | None


def expected_gain(epistemic: Float[Tensor, "*n d"], aleatoric: Float[Tensor, "*#n d"]) -> Float[Tensor, "*n"]:
    r"""Returns the information that an outcome is expected to give about the model, in nats.

    .. math:: \frac12 \sum_d \log\left(1 + \frac{\text{epistemic}_d}{\text{aleatoric}_d}\right)

    Exact for a Gaussian belief about independent outputs.

    Args:
        epistemic: variance of the predicted mean over the posterior.
        aleatoric: variance of the noise; broadcast against `epistemic`.

    References: MacKay 1992, "Information-based objective functions for active data selection", equation 3.
    """
    return 0.5 * torch.log1p(epistemic / aleatoric).sum(-1)


@torch.no_grad()
def realised_gain(
    network: BayesianMLP,
    inputs: Float[Tensor, "n d"],
    targets: Float[Tensor, "n k"],
    *,
    samples: int = 1,
    sampling: Sampling = "local",
    step_size: float = 1.0,
    half: bool = True,
    shared_noise: bool = False,
    generator: torch.Generator | None = None,
    noise: Sequence[Tensor | Weights | None] | None = None,
) -> Float[Tensor, " n"]:
    """Returns the nats that each of `n` rows, taken alone, tells about the weights. Changes nothing.

    Args:
        samples: posterior draws over which the slope of the log-likelihood is averaged.
        sampling: `local` (local reparameterisation, a draw for every row) or `weights` (draws shared by all rows).
        step_size: lambda, the length of the Newton step; 1 is the whole step.
        half: keep the factor 1/2 of the second-order expansion; the published code drops it.
        shared_noise: let all rows share a local draw, as the published code does.
        generator: source of the draws.
        noise: the draws themselves, one entry per layer, as `draw` returns them; then `samples` follows from them.

    Raises:
        InvalidData: `inputs` and `targets` do not fit the network or each other.
        InvalidSettings: there is no way of `sampling` of that name, or fewer than one of `samples`.

    References: Houthooft et al. 2016, section 2.5.
    """
    if sampling not in get_args(Sampling):
        raise InvalidSettings(f"`sampling` must be {' or '.join(get_args(Sampling))}; got {sampling!r}.")
    if samples < 1:
        raise InvalidSettings(f"`samples` must be at least 1; got {samples}.")
    first, last = network.layers[0], network.layers[-1]
    if inputs.ndim != 2 or targets.ndim != 2 or len(inputs) != len(targets):
        raise InvalidData(
            f"`inputs` and `targets` need as many rows; got {tuple(inputs.shape)}, {tuple(targets.shape)}."
        )
    d, k = _widths(first)[0], _widths(last)[1]
    if inputs.shape[1] != d or targets.shape[1] != k:
        raise InvalidData(f"The network maps {d} to {k} numbers; got {inputs.shape[1]} and {targets.shape[1]}.")
    by_row = noise is None and sampling == "local" and not shared_noise
    if noise is None and not by_row:
        noise = draw(network, len(inputs), samples, sampling, shared_noise, generator)
    if noise is not None:
        samples = next((len(n.weight if isinstance(n, Weights) else n) for n in noise if n is not None), 1)
    squares = [_squares(layer) for layer in network.layers]
    precision = 1 / network.noise_variance
    rows = max(CHUNK // samples, MIN_ROWS)
    gains = []
    for i in range(0, len(inputs), rows):
        x, y = inputs[i : i + rows], targets[i : i + rows]
        drawn = draw(network, len(x), samples, generator=generator) if noise is None else noise
        gains.append(_gain(network, squares, x, y, precision, _part(drawn, i if noise is not None else 0, rows)))
    gain = torch.cat(gains) if gains else inputs.new_zeros(0)
    return gain.mul_(step_size**2 * (0.5 if half else 1.0))


@torch.no_grad()
def draw(
    network: BayesianMLP,
    rows: int,
    samples: int = 1,
    sampling: Sampling = "local",
    shared_noise: bool = False,
    generator: torch.Generator | None = None,
) -> list[Tensor | Weights | None]:
    """Returns the posterior draws for `rows` rows: for each layer standard normal noise `(samples, rows or 1, k)`, or
    sampled weights, or None where the layer is deterministic."""
    drawn: list[Tensor | Weights | None] = []
    for layer in network.layers:
        if not isinstance(layer, BayesianLinear):
            drawn.append(None)
        elif sampling == "weights":
            drawn.append(layer.draw(samples, generator))
        else:
            mean = layer.bias_mean
            shape = (samples, 1 if shared_noise else rows, len(mean))
            drawn.append(torch.randn(shape, generator=generator, device=mean.device, dtype=mean.dtype))
    return drawn


def _widths(layer: torch.nn.Module) -> tuple[int, int]:
    weight = layer.weight_mean if isinstance(layer, BayesianLinear) else layer.weight
    return weight.shape[1], weight.shape[0]  # type: ignore[union-attr, index, return-value]


def _squares(layer: torch.nn.Module) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Second and fourth powers of the weights' and the biases' deviations."""
    if not isinstance(layer, BayesianLinear):
        return None
    weight, bias = layer.weight_std.square(), layer.bias_std.square()
    return weight, bias, weight.square(), bias.square()


def _part(noise: Sequence[Tensor | Weights | None], start: int, rows: int) -> list[Tensor | Weights | None]:
    """The draws of some rows; the axis of samples goes where there is one sample only."""
    part = [n[:, start : start + rows] if isinstance(n, Tensor) and n.shape[1] > 1 else n for n in noise]
    return [n[0] if isinstance(n, Tensor) and len(n) == 1 else n for n in part]


def _gain(
    network: BayesianMLP,
    squares: list[tuple[Tensor, Tensor, Tensor, Tensor] | None],
    x: Tensor,
    y: Tensor,
    precision: Tensor,
    noise: list[Tensor | Weights | None],
) -> Float[Tensor, " n"]:
    """Twice the gain of a step of size one, for rows that fit the cache together."""
    trace: list[_Layer] = []
    h = x
    for i, (layer, square, eps) in enumerate(zip(network.layers, squares, noise, strict=True)):
        if i > 0:
            h = h.relu_()
        if not isinstance(layer, BayesianLinear) or square is None:
            trace.append(_Layer(layer, h, None, None, None))
            h = layer(h)
        elif isinstance(eps, Weights):
            trace.append(_Layer(layer, h, None, None, eps))
            h = h @ eps.weight.transpose(1, 2) + eps.bias.unsqueeze(1)
        else:
            variance = F.linear(h.square(), square[0], square[1])
            trace.append(_Layer(layer, h, variance, eps, None))
            h = F.linear(h, layer.weight_mean, layer.bias_mean).addcmul(variance.sqrt(), eps)  # type: ignore[arg-type]
    slope = (h - y).mul_(precision)
    gain = x.new_zeros(len(x))
    for step, square in zip(reversed(trace), reversed(squares), strict=True):
        below = step.entering is not x
        back = None
        if square is None:
            back = slope @ step.layer.weight if below else None  # type: ignore[operator]
        elif step.drawn is not None:
            gain += _drawn_share(square, step, slope)
            back = slope @ step.drawn.weight if below else None
        else:
            gain += _local_share(square, step, slope)
            if below:
                variance_slope = slope * step.noise * step.variance.rsqrt()  # type: ignore[operator, union-attr]
                back = torch.addcmul(slope @ step.layer.weight_mean, variance_slope @ square[0], step.entering)  # type: ignore[operator, call-overload]
        if back is not None:
            slope = back.mul_(step.entering.sign())  # a ReLU: 1 where something entered, else 0
    return gain


def _local_share(square: tuple[Tensor, Tensor, Tensor, Tensor], step: _Layer, slope: Tensor) -> Float[Tensor, " n"]:
    """One layer's share under local reparameterisation.

    With a what enters, d the slope of the loss at the layer's output, v its variance and e = d noise / sqrt(v), the
    slopes of a weight are d a for its mean and e a² s for its deviation s. Where all samples share a (the first layer,
    or a single sample) both are of rank one, and s² sums to the v that the forward pass already has; elsewhere the
    slopes averaged over the samples are formed, for the few rows at hand.
    """
    weight, bias, weight_4, bias_4 = square
    a, variance, noise = step.entering, step.variance, step.noise
    if a.ndim == 2:
        fourth = F.linear(a.square().square_(), weight_4, bias_4).div_(variance)  # type: ignore[arg-type]
        if slope.ndim == 2:
            return fourth.mul_(noise).mul_(noise).mul_(0.5).add_(variance).mul_(slope).mul_(slope).sum(-1)  # type: ignore[arg-type]
        mean_noise = (slope * noise).mean(0)  # type: ignore[operator]
        return slope.mean(0).square_().mul_(variance).addcmul_(mean_noise.square_(), fourth, value=0.5).sum(-1)  # type: ignore[arg-type]
    samples = len(a)
    variance_slope = slope * noise * variance.rsqrt()  # type: ignore[operator, union-attr]
    by_row = a.transpose(0, 1)
    mean_slope = torch.bmm(slope.permute(1, 2, 0), by_row)
    std_slope = torch.bmm(variance_slope.permute(1, 2, 0), by_row.square())
    share = mean_slope.square_().flatten(1) @ (weight.flatten() / samples**2)
    share += std_slope.square_().flatten(1) @ (weight_4.flatten() * (0.5 / samples**2))
    return share + slope.mean(0).square_() @ bias + variance_slope.mean(0).square_() @ (0.5 * bias_4)


def _drawn_share(square: tuple[Tensor, Tensor, Tensor, Tensor], step: _Layer, slope: Tensor) -> Float[Tensor, " n"]:
    """One layer's share under weight sampling: a sum over pairs of samples, of one matrix product each."""
    weight, bias = square[:2]
    drawn, samples = step.drawn, len(slope)
    a = step.entering.expand(samples, *step.entering.shape[-2:])
    share = slope.new_zeros(slope.shape[1])
    for s in range(samples):
        for t in range(s, samples):
            pair = (1 if s == t else 2) / samples**2
            weight_pair = weight * (1 + 0.5 * drawn.weight_noise[s] * drawn.weight_noise[t])  # type: ignore[union-attr]
            bias_pair = bias * (1 + 0.5 * drawn.bias_noise[s] * drawn.bias_noise[t])  # type: ignore[union-attr]
            share.add_((slope[s] * slope[t] * F.linear(a[s] * a[t], weight_pair, bias_pair)).sum(-1), alpha=pair)
    return share
