"""Commands on one run: `train` and `evaluate`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from agents.commands.printing import print_json
from agents.config import RunConfig
from agents.live import Bar, number


def train_from(standing: RunConfig) -> Callable[..., None]:
    """Returns the command `train`, whose defaults are those of the configuration `standing`."""

    def train(
        out: Path,
        config: Annotated[RunConfig, arg(name="")] = standing,
        checkpoint_seconds: float = 30.0,
        json: bool = False,
    ) -> None:
        """Train one curious agent, or go on with an unfinished run.

        The same command on the same folder continues a run that was stopped or killed, bit for bit; `--out DIR` alone
        does so too. Ctrl-C stops where the run can continue.

        Example: vime train --task vime/SparseMountainCar-v0 --bonus vime --steps 60000 --out runs/car

        Args:
            out: Folder of the run.
            config: the run.
            checkpoint_seconds: Seconds between checkpoints.
            json: Print the result as JSON.
        """
        import agents.train

        with Bar() as bar:
            result = agents.train.train(config, out, progress=bar, checkpoint_seconds=checkpoint_seconds)
        print_json(result) if json else _print_result(result, out)

    return train


def evaluate(out: Positional[Path], episodes: int = 10, seed: int | None = None, json: bool = False) -> None:
    """Let a trained agent play without exploring; the task's own reward is counted, and nothing else.

    Example: vime evaluate runs/car --episodes 20

    Args:
        out: Folder of the run.
        episodes: How many, each with a seed that training never used.
        seed: From which the episodes' seeds are drawn; that of the run unless given.
        json: Print the result as JSON.
    """
    import agents.evaluate

    result = agents.evaluate.evaluate(out, episodes, seed=seed)
    if json:
        print_json(result)
        return
    print(
        f"{result['task']} after {result['step']:,} steps: return {number(result['mean'])} "
        f"(deviation {number(result['std'])}) over {result['episodes']} episodes"
    )


def _print_result(result: dict[str, Any], out: Path) -> None:
    first = result["first_reward_step"]
    print(f"{result['task']}, {result['algorithm']} with bonus {result['bonus']}, {result['steps']:,} steps")
    print(f"  return over the last tenth   {number(result['final_return'])}")
    print(f"  return without exploration   {number(result['evaluation_return'])}")
    print(f"  first reward                 {'never' if first is None else f'at step {first:,}'}")
    print(f"  processor time               {result['cpu_seconds']:.1f} s")
    print(f"All of it lies in {out}")
