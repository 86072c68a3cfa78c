"""The flow's determinants against autograd, and what it can express."""

import pytest
import torch
from torch import Tensor

from generative import make_model
from generative.divergences import normal_divergence, normal_log_prob
from generative.iaf import IAFVAE, AutoregressiveNet, Flow
from generative.layers import starting
from generative.model import Batch
from generative.randomness import seeded
from generative.vae import VAE
from tests.generative.small import generator
from tests.generative.test_masked import depends

D, CONTEXT = 5, 3


def flow(steps: int, *, hidden: tuple[int, ...] = (16, 16), gate: bool = True, forget: float = 1.5) -> Flow:
    with seeded(0):
        made = Flow(D, CONTEXT if hidden else 0, steps=steps, hidden=hidden, gate=gate, forget=forget).double()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def draws(n: int) -> tuple[Tensor, Tensor]:
    noise = generator()
    return torch.randn(n, D, generator=noise).double(), torch.randn(n, CONTEXT, generator=noise).double()


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_log_determinants_equal_those_of_the_jacobian(steps: int, gate: bool) -> None:
    made, (start, context) = flow(steps, gate=gate), draws(4)
    found = made(start, context)[1].sum(-1)
    for i in range(len(start)):
        jacobian = torch.autograd.functional.jacobian(lambda z, i=i: made(z[None], context[i : i + 1])[0][0], start[i])
        assert isinstance(jacobian, Tensor)
        torch.testing.assert_close(found[i], torch.linalg.slogdet(jacobian)[1], rtol=1e-9, atol=1e-9)
        if steps > 1:  # the reversal makes every entry depend on every other
            assert (jacobian.abs() > 1e-12).all()
    assert gate or (found == 0).all()


def test_each_entry_has_its_own_part_of_the_determinant() -> None:
    made, (start, context) = flow(1), draws(1)
    _, change = made(start, context)
    jacobian = torch.autograd.functional.jacobian(lambda z: made(z, context)[0].flatten(), start)
    assert isinstance(jacobian, Tensor)
    torch.testing.assert_close(change[0], jacobian[:, 0].diagonal().log())
    with seeded(0):
        two = Flow(D, 0, steps=2, hidden=()).double()
        with torch.no_grad():
            two.steps[1].last.gain.zero_()  # type: ignore[union-attr, operator]
            two.steps[1].last.bias.copy_(torch.arange(2.0 * D))  # type: ignore[union-attr, operator]
    second = (two(start, None)[1][0] - _first_of(two)(start)[1][0]).flip(-1)
    torch.testing.assert_close(second, torch.nn.functional.logsigmoid(torch.arange(D, 2.0 * D).double() + 1.5))


def _first_of(made: Flow) -> Flow:
    alone = Flow(D, 0, steps=0, hidden=())
    alone.steps.append(made.steps[0])
    return alone


def test_the_network_sees_earlier_entries_and_all_of_the_context() -> None:
    with seeded(0):
        net = AutoregressiveNet(D, CONTEXT, (32, 32), 2)
    context = torch.randn(1, CONTEXT, generator=generator())
    found = depends(_Given(net, context), (D,)).view(2, D, D)
    earlier = torch.ones(D, D, dtype=torch.bool).tril(-1)
    assert torch.equal(found, earlier.expand(2, D, D))
    slopes = torch.autograd.functional.jacobian(lambda c: net(torch.ones(1, D), c).flatten(), context)
    assert isinstance(slopes, Tensor)
    seen = slopes.view(2, D, CONTEXT).abs().sum(-1) > 0
    assert seen[:, 1:].all()


class _Given(torch.nn.Module):
    def __init__(self, net: AutoregressiveNet, context: Tensor) -> None:
        super().__init__()
        self.net, self.given = net, context

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z, self.given)


def test_a_linear_step_gives_a_gaussian_of_full_covariance() -> None:
    noise = generator(3)
    lower = torch.randn(D, D, generator=noise).double().tril(-1) * 0.7 + torch.diag(
        0.5 + torch.rand(D, generator=noise).double()
    )
    mean, std = torch.randn(D, generator=noise).double(), lower.diagonal()
    unit = lower / std  # its diagonal is one
    made = flow(1, hidden=(), gate=False)
    with torch.no_grad():
        step = made.steps[0].last
        rows = unit - torch.eye(D).double()
        step.v.copy_(rows + (rows == 0).all(1, keepdim=True))  # type: ignore[union-attr, operator]
        step.gain.copy_(rows.norm(dim=1))  # type: ignore[union-attr, operator]
        step.bias.zero_()  # type: ignore[union-attr, operator]
    start = std * torch.randn(2000, D, generator=noise).double() + torch.linalg.solve(unit, mean)
    z, change = made(start, None)
    nats = (normal_log_prob(start, torch.linalg.solve(unit, mean), std.log()) - change).sum(-1)
    target = torch.distributions.MultivariateNormal(mean, scale_tril=lower)
    torch.testing.assert_close(nats, target.log_prob(z))
    divergence = (nats - normal_log_prob(z).sum(-1)).mean()  # the closed form within its error of sampling
    prior = torch.distributions.MultivariateNormal(torch.zeros(D).double(), torch.eye(D).double())
    exact = torch.distributions.kl_divergence(target, prior)
    error = (nats - normal_log_prob(z).sum(-1)).std() / 2000**0.5
    assert abs(float((divergence - exact).detach())) < 4 * float(error.detach())


def model(name: str, **settings: object) -> VAE:
    made = make_model(name, (1, 8, 8), latent=4, hidden=[16], seed=2, **settings)  # type: ignore[arg-type]
    assert isinstance(made, VAE)
    return made


@pytest.mark.parametrize("gradient", ["pathwise", "dreg"])
@pytest.mark.parametrize("samples", [1, 5])
def test_without_steps_it_is_the_diagonal_model(samples: int, gradient: str) -> None:
    x = (torch.rand(6, 1, 8, 8, generator=generator()) < 0.5).float()
    batch, terms, slopes = Batch(x=x, step=torch.zeros(())), [], []
    for made in (
        model("vae", samples=samples, gradient=gradient),
        model("iaf-vae", samples=samples, gradient=gradient, steps=0),
    ):
        made.initialise(batch, generator(1))
        terms.append(made.losses(batch, "model", generator(1)))
        slopes.append(torch.autograd.grad(terms[-1]["loss"], list(made.parameters())))
        terms[-1]["many"] = made.bound(x, 10, generator())
    assert terms[0].keys() == terms[1].keys()
    assert all(torch.equal(terms[0][key], terms[1][key]) for key in terms[0])
    assert all(torch.equal(a, b) for a, b in zip(*slopes, strict=True))


def test_a_sampled_divergence_has_the_exact_mean_where_the_flow_is_the_identity() -> None:
    made = model("iaf-vae", steps=2, gate=False)
    assert isinstance(made, IAFVAE)
    with torch.no_grad():
        for step in made.flow.steps:
            step.last.gain.zero_()  # type: ignore[union-attr, operator]
    noise = generator()
    mean, log_std = torch.randn(1, 4, generator=noise), 0.5 * torch.randn(1, 4, generator=noise)
    start = mean + log_std.exp() * torch.randn(20_000, 4, generator=noise)
    z, change = made.code(start, torch.zeros(20_000, 16))
    found = made.divergence(start, mean, log_std, z, change)
    error = found.std(0) / 20_000**0.5
    assert ((found.mean(0) - normal_divergence(mean, log_std)[0]).abs() < 4 * error).all()


def test_the_start_sets_every_layer_of_the_flow() -> None:
    with seeded(0):
        made = Flow(D, CONTEXT, steps=1, hidden=(16, 16)).double()
    start, context = draws(300)
    with starting(made):
        made(5 * start + 3, context)
    out = made.steps[0](5 * start + 3, context)[:, :, 1:]  # the first entry sees the context alone
    assert torch.allclose(out.mean(0), torch.zeros(()).double(), atol=1e-6)
    assert torch.allclose(out.std(0, correction=0), torch.tensor(0.1).double(), atol=1e-3)


def test_doubly_reparameterised_slopes_have_the_same_mean_with_a_flow() -> None:
    x, found = (torch.rand(4, 1, 8, 8, generator=generator()) < 0.5).float(), {}
    for gradient in ("pathwise", "dreg"):
        made, rows = model("iaf-vae", samples=5, gradient=gradient, flow_hidden=[8], context=3), []
        parts = [*made.posterior_head.parameters(), *made.flow.parameters(), *made.context_head.parameters()]  # type: ignore[union-attr, operator]
        parts = [part for part in parts if part.requires_grad]
        for seed in range(150):
            loss = made.losses(Batch(x=x, step=torch.zeros(())), "model", generator(seed))["loss"]
            rows.append(torch.cat([slope.flatten() for slope in torch.autograd.grad(loss, parts)]))
        found[gradient] = torch.stack(rows)
    plain, double = found["pathwise"], found["dreg"]
    error = ((plain.var(0) + double.var(0)) / len(plain)).sqrt()
    assert ((plain.mean(0) - double.mean(0)).abs() < 5 * error + 1e-6).all()
    gaussian = slice(0, sum(part.numel() for part in model("iaf-vae").posterior_head.parameters()))
    assert double[:, gaussian].var(0).sum() < plain[:, gaussian].var(0).sum()
