"""Commands that plan in a learned model: `explore` and `transfer`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from tyro.conf import OmitArgPrefixes, Positional

from agents.commands.printing import print_line
from agents.live import Bar, number
from agents.planning.settings import AHEAD, ExploreConfig, PlannerSettings


def explore_from(standing: ExploreConfig) -> Callable[..., None]:
    """Returns the command `explore`, whose defaults are those of the exploration `standing`."""

    def explore(out: Path, config: OmitArgPrefixes[ExploreConfig] = standing, json: bool = False) -> None:
        """Explore a task without its reward: plan for information in a model that is learnt on the way.

        The folder ends with a data set that Minari reads (`data`), the model, a map of where it went, an animation, and
        what it learnt beside what it had hoped to learn. Ctrl-C keeps what there is; the same command goes on, and so
        does `--out DIR` alone.

        Example: vime explore --task MountainCarContinuous-v0 --steps 300 --out runs/explored

        Args:
            out: Folder of the exploration.
            config: what is explored, and how.
            json: Print the figures as one line of JSON, the last one of the output.
        """
        import torch

        from agents.planning.explore import explore as run

        torch.set_num_threads(1)  # networks this small are slower on more
        with Bar(_progress) as bar:
            found = run(
                config.task,
                config.steps,
                seed=config.seed,
                out=out,
                settings=config.how,
                task_settings=config.task_settings,
                progress=bar,
            )
        _tell(found.figures, out, json)

    return explore


def transfer(
    out: Positional[Path],
    reward: str,
    how: Literal["planner", "sac", "ppo", "dqn"] = "planner",
    task: str | None = None,
    episodes: int = 5,
    steps: int | None = None,
    imagined_steps: int = 50_000,
    imagined_horizon: int = 50,
    end_cost: float = 0.0,
    planner: OmitArgPrefixes[PlannerSettings] = AHEAD,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Pursue a reward that the exploration never saw, with its model alone, and score it in the task: zero-shot.

    Example: vime transfer runs/explored --reward agents.planning.rewards:flag

    Args:
        out: Folder of an exploration.
        reward: MODULE:FUNCTION, from state, encoded action and next state (tensors of rows) to one number a row.
        how: planner: plan at every step; sac, ppo, dqn: train that policy on imagined steps first.
        task: Where it is scored; where it was explored unless given.
        episodes: How many are played.
        steps: After which an episode is cut; the task's own limit unless given.
        imagined_steps: On which a policy is trained.
        imagined_horizon: Steps of an episode that it is trained on.
        end_cost: What the end of an episode costs a plan, in reward, where ends were seen and are bad.
        planner: how plans are found.
        seed: Of everything random.
        json: Print the figures as one line of JSON, the last one of the output.
    """
    import torch

    from agents.planning import rewards
    from agents.planning.exploration import DATA, load
    from agents.planning.recording import spaces_of
    from agents.planning.transfer import transfer as run
    from agents.tasks import make_environment
    from vime.errors import InvalidSettings

    torch.set_num_threads(1)
    wanted = rewards.find(reward)
    found = load(out)
    there = found.config.task
    task = task or there
    env = make_environment(task, found.config.task_settings if task == there else {})
    spaces = spaces_of(out / DATA)
    if (env.observation_space, env.action_space) != spaces:
        raise InvalidSettings(
            f"{task} has other spaces than {there}, which the model knows: {env.observation_space} and "
            f"{env.action_space}, there {spaces[0]} and {spaces[1]}."
        )
    with Bar(_episodes) as bar:
        figures = run(
            found,
            env,
            wanted,
            how=how,
            end_cost=end_cost,
            planner=None if planner == AHEAD else planner,
            imagined_steps=imagined_steps,
            imagined_horizon=imagined_horizon,
            episodes=episodes,
            steps=steps,
            seed=seed,
            progress=bar,
        )
    if json:
        print_line(figures | {"reward": reward})
        return
    print(f"{reward} by {how}: {number(figures['score'])} an episode, over {episodes} episodes")
    print(f"  the task's own reward   {number(sum(figures['returns']) / episodes)}")
    print(f"  processor time          {figures['cpu_seconds']:.1f} s")


def _progress(figures: dict[str, Any]) -> str:
    nats = f"{figures['predicted_nats']:,.0f} nats predicted, {figures['realised_nats']:,.0f} realised"
    ended = figures["first_termination_step"]
    return f"{figures['states_covered']:,} states · {nats}" + (f" · first end at {ended:,}" if ended else "")


def _episodes(figures: dict[str, Any]) -> str:
    if "score" not in figures:
        return "imagined steps"
    return f"score of the last episode {number(figures['score'])}"


def _tell(figures: dict[str, Any], out: Path, json: bool) -> None:
    if json:
        print_line(figures)
        return
    ended = figures["first_termination_step"]
    print(f"{figures['task']}, {figures['steps']:,} steps")
    print(f"  states covered       {figures['states_covered']:,}")
    print(f"  first end by itself  {'never' if ended is None else f'at step {ended:,}'}")
    print(
        f"  nats about the model {figures['predicted_nats']:,.1f} predicted, {figures['realised_nats']:,.1f} realised"
    )
    print(f"  processor time       {figures['cpu_seconds']:.1f} s")
    print(f"All of it lies in {out}")
