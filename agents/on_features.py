"""A bonus that runs on learned features in the place of observations."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from torch import Tensor

from agents.features import Features
from vime import Bonus, Transitions
from vime.errors import InvalidSettings
from vime.transitions import Observation, concatenate, map_observation


class OnFeatures:
    """Any bonus, on features that are learned from the agent's own observations; itself a bonus.

    Features that move under a model of the world make nonsense of what it has learned, of the rows in its pool and of
    every count. So they move in few leaps: they learn when the first transitions come, and again whenever twice as many
    have been seen, until there are `until`; from then on they stay. All transitions up to there are kept as they came.
    After each leap the bonus starts anew, with fresh networks, statistics and memories, and lives through all that was
    kept once more, in the new features. After the last leap what was kept is dropped.

    Args:
        features: learned from transitions; new, or trained before.
        build: makes the bonus on these features, always the same.
        until: transitions after which the features stay as they are; 0 leaves them as they come.
        before: transitions that `prepare` is to be given before the bonus is asked; 0 where it need not be called.

    Raises:
        InvalidSettings: `until` is negative.
    """

    def __init__(self, features: Features, build: Callable[[], Bonus], until: int = 16_384, before: int = 0) -> None:
        if until < 0:
            raise InvalidSettings(f"`until` is a number of transitions, 0 for none; got {until}.")
        self.features, self.build, self.until, self.before = features, build, until, before
        self.prepared = before == 0
        self.bonus = build()
        self.scaling = self.bonus.scaling
        self.kept: list[Transitions] = []
        self.seen = 0
        self.due = 1
        """Transitions at which the features learn next."""
        self._last: tuple[Transitions, Transitions] | None = None

    @property
    def settled(self) -> bool:
        """Whether the features stay as they are."""
        return self.seen >= self.until

    def _encoded(self, batch: Transitions) -> Transitions:
        if self._last is None or self._last[0] is not batch:
            encoded = replace(batch, obs=self._encode(batch.obs), next_obs=self._encode(batch.next_obs))
            self._last = (batch, encoded)
        return self._last[1]

    def _encode(self, obs: Observation) -> Tensor:
        first = next(iter(obs.values())) if isinstance(obs, dict) else obs
        t, b = first.shape[:2]
        features = self.features.encode(map_observation(lambda part: part.flatten(0, 1), obs))
        return features.cpu().reshape(t, b, -1)

    def reward(self, batch: Transitions) -> Tensor:
        """Returns the raw bonus of every transition, in the unit of the bonus beneath.

        Raises:
            InvalidSettings: the features are still to be prepared.
        """
        if not self.prepared:
            raise InvalidSettings(
                f"The encoder is to learn from {self.before} steps of play before the run. `agents.train` plays them; "
                "elsewhere hand transitions to `curiosity(model).bonus.bonus.prepare(...)`."
            )
        return self.bonus.reward(self._encoded(batch))

    def observe(self, batch: Transitions) -> None:
        """Hands the features to the memories of the bonus."""
        self.bonus.observe(self._encoded(batch))

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Updates features, where that is due, and bonus; returns the metrics of both."""
        if self.settled:
            metrics = self.bonus.learn(self._encoded(batch))
        else:
            self.kept.append(batch)
            self.seen += int(batch.valid.sum())
            metrics = self._leap() if self.seen >= min(self.due, self.until) else self.bonus.learn(self._encoded(batch))
        self._last = None
        return metrics

    def _leap(self) -> dict[str, float]:
        """Learns better features, and lets a fresh bonus live through all that was kept."""
        found = self.prepare(concatenate([_in_a_row(batch) for batch in self.kept]))
        metrics: dict[str, float] = {}
        for batch in self.kept:
            encoded = self._encoded(batch)
            self.bonus.observe(encoded)
            metrics = self.bonus.learn(encoded)
        self.due = 2 * self.seen
        if self.settled:
            self.kept.clear()
        return metrics | found

    def prepare(self, batch: Transitions) -> dict[str, float]:
        """Lets the features learn from transitions that earn nothing, and starts the bonus anew; returns metrics."""
        found = self.features.learn(batch)
        self.bonus, self.prepared = self.build(), True
        self._last = None
        return found

    def state_dict(self) -> dict[str, Any]:
        """Features, bonus, and what is kept."""
        return {
            "features": self.features.state_dict(),
            "bonus": self.bonus.state_dict(),
            "kept": [{f.name: getattr(batch, f.name) for f in fields(batch)} for batch in self.kept],
            "seen": self.seen,
            "due": self.due,
            "prepared": self.prepared,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.features.load_state_dict(state["features"])
        self.bonus.load_state_dict(state["bonus"])
        self.kept = [Transitions(**batch) for batch in state["kept"]]
        self.seen, self.due = int(state["seen"]), int(state["due"])
        self.prepared = bool(state["prepared"])
        self._last = None


def _in_a_row(batch: Transitions) -> Transitions:
    """Returns the same transitions as if of one environment, so that batches of any number of copies can be joined."""
    return batch.map_tensors(lambda part: part.flatten(0, 1).unsqueeze(1))
