"""Imagination on CUDA without a launch for every operation: a whole unroll is captured once and replayed."""

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from agents.planning.imagination import Imagined, imagine
from agents.planning.objective import Objective
from vime.members import Members

WARM_UP = 3  # runs before a capture, in which libraries set themselves up


class Graphs:
    """Captured unrolls of one objective, one for every shape of the arguments that came.

    A graph reads and writes the memory that it was captured with. So starts, actions and weights are copied to where it
    looks for them, and where the objective asks for noise it is drawn there anew before every replay: nothing that is
    random is captured, or it would be the same for ever.

    Args:
        objective: what is added up; its functions must not wait for the device.
        generator: of the noise.
    """

    def __init__(self, objective: Objective, generator: torch.Generator) -> None:
        self.objective, self.generator = objective, generator
        self._members: Members | None = None  # those that the graphs read
        self._seen: Members | None = None  # those whose numbers they hold
        self._known: dict[tuple[torch.Size, torch.Size], _Unroll | None] = {}

    @torch.no_grad()
    def imagine(self, members: Members, start: Float[Tensor, "n d"], actions: Float[Tensor, "n h a"]) -> Imagined:
        """Returns what `agents.planning.imagine` does, the noise drawn from the generator."""
        self._take(members)
        shapes = start.shape, actions.shape
        if shapes not in self._known:
            self._known[shapes] = self._capture(start, actions)
        unroll = self._known[shapes]
        if unroll is None:
            return imagine(members, start, actions, self.objective, self._noise(start, actions))
        return unroll(start, actions, self.generator)

    def _take(self, members: Members) -> None:
        """Brings the numbers of `members` to where the graphs look for them; other shapes begin anew."""
        if members is self._seen:
            return
        fixed = None if self._members is None else tensors(self._members)
        given = tensors(members)
        if fixed is None or [_kind(part) for part in fixed] != [_kind(part) for part in given]:
            self._known.clear()
            self._members = copied(members)
        else:
            for mine, new in zip(fixed, given, strict=True):
                mine.copy_(new)
        self._seen = members

    def _noise(self, start: Tensor, actions: Tensor) -> Tensor | None:
        if not self.objective.noise:
            return None
        shape = (actions.shape[1], *start.shape)
        return torch.randn(shape, generator=self.generator, device=start.device)

    def _capture(self, start: Tensor, actions: Tensor) -> "_Unroll | None":
        state = self.generator.get_state()
        noise = self._noise(start, actions)  # only its shape counts
        self.generator.set_state(state)
        try:
            return _Unroll(self._members, start.clone(), actions.clone(), self.objective, noise)  # type: ignore[arg-type]
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            warnings.warn(
                f"This unroll cannot be captured as a graph, and runs operation by operation, more slowly: {reason}. "
                "A function of reward or termination must not wait for the device: no `.item()`, no masks as indices.",
                stacklevel=4,
            )
            return None


class _Unroll:
    """One captured unroll, and the memory that it works in."""

    def __init__(
        self, members: Members, start: Tensor, actions: Tensor, objective: Objective, noise: Tensor | None
    ) -> None:
        self.start, self.actions, self.noise = start, actions, noise
        self.replay, self.result = captured(lambda: imagine(members, start, actions, objective, noise))

    def __call__(self, start: Tensor, actions: Tensor, generator: torch.Generator) -> Imagined:
        self.start.copy_(start)
        self.actions.copy_(actions)
        if self.noise is not None:
            self.noise.normal_(generator=generator)
        self.replay()
        return Imagined(**{name: part.clone() for name, part in vars(self.result).items()})


def captured(function: Callable[[], Imagined]) -> tuple[Callable[[], object], Imagined]:
    """Returns what replays `function` on CUDA, and where its result then is."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()
    return graph.replay, result


def tensors(members: Members) -> list[Tensor]:
    """Returns every tensor that a prediction reads, in a fixed order."""
    parts = [members.input_centre, members.input_spread, members.target_centre, members.target_spread]
    scaled = [part for stack in members.scaled for part in stack]
    noise = [] if members.noise is None else [members.noise]
    return [*members.weights, *members.biases, *parts, *noise, *scaled, *members.bounds]


def copied(members: Members) -> Members:
    """Returns the same networks in memory of their own."""
    state = members.state_dict()
    own = {k: [p.clone() for p in v] if isinstance(v, list) else v for k, v in state.items()}
    return Members.from_state({k: v.clone() if isinstance(v, Tensor) else v for k, v in own.items()})


def _kind(tensor: Tensor) -> tuple[torch.Size, torch.dtype, torch.device]:
    return tensor.shape, tensor.dtype, tensor.device
