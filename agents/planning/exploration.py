"""What an exploration gave, and how it is read again."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.checkpoint import read_checkpoint
from agents.encoding import decode
from agents.folder import KINDS, contents, read_object
from agents.planning.explorers import Explorer, PlannedExplorer, make_explorer
from agents.planning.recording import Recording, spaces_of
from agents.planning.settings import ExploreConfig
from vime.errors import CheckpointError, InvalidSettings
from vime.heads import TerminationHead
from vime.world import WorldModel

CHECKPOINT, CONFIG, RESULT, DATA = "checkpoint.pt", "config.json", "result.json", "data"
"""What lies in the folder of an exploration, beside its pictures."""


@dataclass(frozen=True, eq=False)
class Exploration:
    """What an exploration gave: every step, and who made them, with the model in its hands."""

    config: ExploreConfig
    recording: Recording
    explorer: Explorer
    figures: dict[str, Any]
    """`first_termination_step` (None where nothing ended), `steps`, `episodes`, `cpu_seconds`, `predicted_nats` and
    `realised_nats` (sums), `states_covered`, `calibration` (`slope`, `surprises`, `steps`), `task`, `model`, `seed`."""

    @property
    def model(self) -> Any:
        """The world model that was learnt; None where chance explored."""
        return getattr(self.explorer, "model", None)

    @property
    def network(self) -> WorldModel:
        """The model, to imagine with.

        Raises:
            InvalidSettings: what was learnt is none that can be imagined in.
        """
        if isinstance(self.model, WorldModel):
            return self.model
        raise InvalidSettings(
            f"{self.config.task} was explored by {'chance' if self.model is None else 'an exact table'}, which leaves "
            "no network to imagine in. Explore a task whose states or actions are numbers, with model='ensemble'."
        )

    def termination(self, updates: int = 500) -> TerminationHead | None:
        """Returns a head that tells from the steps made where episodes end.

        It is None where no episode ended by its own rules, and where the model is none of features: a table, or none.
        """
        if not isinstance(self.explorer, PlannedExplorer) or self.recording.first_termination is None:
            return None
        head = deepcopy(self.explorer.ends)
        head.fit(updates)
        return head


def load(out: Path | str) -> Exploration:
    """Returns the exploration that lies in a folder, with its model.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    out = Path(out)
    if not all((out / part).exists() for part in (CHECKPOINT, DATA, RESULT)):
        what = contents(out)
        if what == KINDS["how"]:
            what = f"an exploration that is not finished: `vime explore --out {out}` goes on with it"
        raise CheckpointError(
            f"{out} holds {what}." if what else f"{out} holds no exploration: run `vime explore --out {out}` first."
        )
    config = ExploreConfig.from_json(read_object(out / CONFIG))
    explorer = make_explorer(*spaces_of(out / DATA), config.how, config.seed)
    recording = restore(explorer, read_checkpoint(out / CHECKPOINT), out)
    explorer.ready()
    return Exploration(config, recording, explorer, read_object(out / RESULT))


def restore(explorer: Explorer, state: dict[str, Any], out: Path) -> Recording:
    """Gives an explorer its saved state, and returns the steps that it had made.

    Raises:
        CheckpointError: it is the state of something else.
    """
    recording = Recording()
    try:
        explorer.load_state_dict(decode(state["explorer"]))
        recording.load_state_dict(state["recording"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint in {out} does not fit: {error}. Delete the folder to begin anew."
        ) from error
    return recording
