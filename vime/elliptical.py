"""Elliptical memories: the inverse second moment of the features that an episode has seen, and that of all."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def elliptical(
    features: Float[Tensor, "t b d"], begins: Bool[Tensor, "t b"], inverse: Float[Tensor, "b d d"], ridge: float
) -> tuple[Float[Tensor, "t b"], Float[Tensor, "b d d"]]:
    r"""Returns the elliptical novelty of every step, and the inverse matrix after the last one.

    .. math:: b_t = \phi_t^\top C_{t-1}^{-1} \phi_t, \quad C_t = \lambda I + \sum_{i \le t} \phi_i \phi_i^\top,
        \quad C_t^{-1} = C_{t-1}^{-1} - \frac{u u^\top}{1 + b_t},\ u = C_{t-1}^{-1}\phi_t

    The sum goes over one episode: where `begins`, the matrix starts over. For one-hot features the novelty is one over
    the count (plus `ridge`). Steps of zeros have no novelty and leave no trace.

    References: Henaff et al. 2022, "Exploration via elliptical episodic bonuses", arXiv:2210.05805, section 3.1;
        Sherman and Morrison 1950.
    """
    fresh = torch.eye(features.shape[2], device=features.device) / ridge
    novelty = torch.empty(features.shape[:2], device=features.device)
    for t, phi in enumerate(features):
        inverse = torch.where(begins[t, :, None, None], fresh, inverse)
        u = torch.bmm(inverse, phi.unsqueeze(2))
        novelty[t] = (u.squeeze(2) * phi).sum(1)
        inverse = torch.baddbmm(inverse, u, -(u / (1 + novelty[t])[:, None, None]).transpose(1, 2))
    return novelty, inverse


class EllipticalMemory:
    """The inverse matrix of every environment; without any until the first batch, and for another number of them."""

    def __init__(self, width: int, ridge: float, device: str, episodic: bool = True) -> None:
        self.width, self.ridge, self.device, self.episodic = width, ridge, device, episodic
        self.inverse = torch.empty(0, width, width, device=device)

    def ask(
        self, features: Float[Tensor, "t b d"], begins: Bool[Tensor, "t b"]
    ) -> tuple[Float[Tensor, "t b"], Float[Tensor, "b d d"]]:
        """Returns the novelty of every step and the matrices after the last; changes nothing."""
        inverse = self.inverse
        b = features.shape[1]
        if len(inverse) != b:
            inverse = (torch.eye(self.width, device=self.device) / self.ridge).expand(b, -1, -1)
        begins = begins.to(self.device) if self.episodic else torch.zeros_like(begins, device=self.device)
        return elliptical(features, begins, inverse, self.ridge)

    def advance(self, features: Float[Tensor, "t b d"], begins: Bool[Tensor, "t b"], ends: Bool[Tensor, " b"]) -> None:
        """Takes the steps in, and forgets the episodes that ended with the last of them."""
        _, inverse = self.ask(features, begins)
        inverse = (inverse + inverse.transpose(1, 2)) / 2  # rounding must not make it lopsided over a long life
        if self.episodic:
            fresh = torch.eye(self.width, device=self.device) / self.ridge
            inverse = torch.where(ends.to(self.device)[:, None, None], fresh, inverse)
        self.inverse = inverse

    def state_dict(self) -> dict[str, Any]:
        """The matrices."""
        return {"inverse": self.inverse.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        if state["inverse"].shape[1:] != self.inverse.shape[1:]:
            raise ValueError(
                f"the memory's features have width {self.width}, the saved ones {state['inverse'].shape[1]}"
            )
        self.inverse = state["inverse"].to(self.device).clone()


class SecondMoment:
    """The second moment of all features that were ever seen, by any environment and in any order."""

    def __init__(self, width: int, ridge: float, device: str) -> None:
        self.ridge = ridge
        self.moment = torch.zeros(width, width, dtype=torch.float64, device=device)
        self._inverse: Tensor | None = None  # with the ridge; asked for with every minibatch, and seldom new

    def novelty(self, features: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """Returns the elliptical novelty of every row by itself."""
        inverse = self._inverse
        if inverse is None:
            ridge = self.ridge * torch.eye(len(self.moment), dtype=torch.float64, device=self.moment.device)
            inverse = self._inverse = torch.linalg.inv(self.moment + ridge).to(features.dtype)
        return ((features @ inverse) * features).sum(-1)

    def add(self, features: Float[Tensor, "n d"]) -> None:
        """Takes the rows in."""
        features = features.double()
        self.moment += features.T @ features
        self._inverse = None

    def state_dict(self) -> dict[str, Any]:
        """The moment."""
        return {"moment": self.moment.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        if state["moment"].shape != self.moment.shape:
            raise ValueError(f"the features have width {len(self.moment)}, the saved ones {len(state['moment'])}")
        self.moment = state["moment"].to(self.moment.device).clone()
        self._inverse = None
