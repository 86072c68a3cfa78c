"""What each bonus costs PPO here and in `rllte-core`, the toolkit most used with Stable-Baselines3, in one run.

Two processes, one an interpreter, each train a plain PPO and one with every shared bonus on 16 copies of CartPole-v1 on
one torch thread. They take turns, rollout by rollout: plain here, a bonus here, plain there, the bonus there, and in
every other round the bonus first. The overhead is the median of what a rollout with the bonus takes more than the plain
one beside it, in CPU time. PPO goes over each rollout once, not ten times: the bonus costs the same, and is then no
longer lost in what PPO takes.

    python scripts/peer_overhead.py --peer /tmp/peer/bin/python --out results/peer_overhead.json

The peer needs an environment of its own, for it does not start on Gymnasium 1.0:

    python3.11 -m venv /tmp/peer
    /tmp/peer/bin/pip install torch==2.13.0 numpy==1.26.4 gymnasium==0.29.1 stable-baselines3==2.3.2
    /tmp/peer/bin/pip install --no-deps rllte-core==1.0.1
    /tmp/peer/bin/pip install termcolor scipy seaborn matplotlib huggingface_hub pynvml

It comes with no class for Stable-Baselines3, so it is driven as its documentation says: `watch` after every step,
`compute` (which also updates) at the end of a rollout, and the result added to advantages and returns. Its bonuses run
at their defaults, as ours do. Its released NGU reads a field that it never sets; we set it to the default that its
documentation states.
"""

import argparse
import importlib.metadata
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

TASK, COPIES, N_STEPS, MINIBATCH, EPOCHS = "CartPole-v1", 16, 128, 256, 1
STEPS = COPIES * N_STEPS  # of a rollout
SHARED = {
    "rnd": "RND",
    "icm": "ICM",
    "disagreement": "Disagreement",
    "ngu": "NGU",
    "ride": "RIDE",
    "re3": "RE3",
    "e3b": "E3B",
    "pseudo-counts": "PseudoCounts",
}
"""Ours, and the peer's name of the same."""
SEEN = {
    "ours": ("torch", "gymnasium", "stable-baselines3"),
    "peer": ("torch", "gymnasium", "stable-baselines3", "rllte-core"),
}


def plain_model(seed: int = 0) -> Any:
    """Returns a new PPO on copies of the task; its settings are the same on both sides."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    env = make_vec_env(TASK, n_envs=COPIES, seed=seed)
    return PPO("MlpPolicy", env, n_steps=N_STEPS, batch_size=MINIBATCH, n_epochs=EPOCHS, seed=seed, device="cpu")


def our_learner(name: str) -> Callable[[], None]:
    """Returns what trains a curious model of this project for one more rollout."""
    from agents import attach

    model = attach(plain_model(), name)
    return lambda: model.learn(STEPS, reset_num_timesteps=False)  # type: ignore[return-value]


def their_learner(name: str) -> Callable[[], None]:
    """Returns what trains a model with the peer's bonus for one more rollout."""
    import rllte.xplore.reward as rewards  # pyright: ignore[reportMissingImports] - in the peer's environment alone
    import torch
    from stable_baselines3.common.callbacks import BaseCallback

    model = plain_model()
    bonus = getattr(rewards, SHARED[name])(model.env, device="cpu")
    if name == "ngu" and not hasattr(bonus, "mrs"):
        bonus.mrs = 5.0

    class Paying(BaseCallback):
        """Shows the bonus every step, and adds what it pays for a rollout to advantages and returns."""

        def _on_step(self) -> bool:
            seen = self.locals
            ended = torch.as_tensor(seen["dones"]).float()
            bonus.watch(
                observations=seen["obs_tensor"],
                actions=torch.as_tensor(seen["actions"]),
                rewards=torch.as_tensor(seen["rewards"]),
                terminateds=ended,
                truncateds=ended,
                next_observations=torch.as_tensor(seen["new_obs"]),
            )
            return True

        def _on_rollout_end(self) -> None:
            buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
            observations = torch.as_tensor(buffer.observations)
            following = torch.cat([observations[1:], torch.as_tensor(self.locals["new_obs"])[None]])
            ends = torch.as_tensor(buffer.episode_starts)
            actions = torch.as_tensor(buffer.actions)
            paid = bonus.compute(
                samples={
                    "observations": observations,
                    "actions": actions[..., 0],
                    "rewards": torch.as_tensor(buffer.rewards),
                    "terminateds": ends,
                    "truncateds": ends,
                    "next_observations": following,
                },
                sync=True,
            )
            buffer.advantages += paid.cpu().numpy()
            buffer.returns += paid.cpu().numpy()

    callback = Paying()
    return lambda: model.learn(STEPS, callback=callback, reset_num_timesteps=False)  # type: ignore[return-value]


def serve(side: str) -> None:
    """Answers each name on standard input with the CPU seconds of one more rollout; `plain` is one too."""
    warnings.filterwarnings("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr
    model = plain_model()
    make = our_learner if side == "ours" else their_learner
    learners: dict[str, Callable[[], Any]] = {"plain": lambda: model.learn(STEPS, reset_num_timesteps=False)}
    for line in sys.stdin:
        name = line.strip()
        if name == "versions":
            answer: Any = {package: importlib.metadata.version(package) for package in SEEN[side]}
        else:
            if name not in learners:
                learners[name] = make(name)
            start = time.process_time()
            learners[name]()
            answer = time.process_time() - start
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Side:
    """A process that trains for us."""

    def __init__(self, python: str, side: str) -> None:
        command = [python, str(Path(__file__).resolve()), "--serve", side]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def ask(self, name: str) -> Any:
        """Returns what it answers to `name`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{' '.join(map(str, self.process.args))} died over {name!r}; run it by hand to see why.")  # type: ignore[arg-type]
        return json.loads(answer)


def measure(sides: dict[str, Side], names: list[str], rounds: int) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Returns for every bonus and side the CPU seconds of its rollouts, and of the plain ones beside them."""
    table: dict[str, dict[str, dict[str, list[float]]]] = {
        name: {side: {"plain": [], "curious": []} for side in sides} for name in names
    }
    for turn in range(rounds + 1):
        for name in names:
            sys.stderr.write(f"\rround {turn} of {rounds}: {name:<16}")
            for side, process in sides.items():
                order = (("plain", "plain"), ("curious", name))[:: 1 if turn % 2 else -1]
                spent = {kind: process.ask(what) for kind, what in order}
                if turn:  # the first one builds and warms up
                    for kind, seconds in spent.items():
                        table[name][side][kind].append(seconds)
    sys.stderr.write("\n")
    return table


def overhead(seconds: dict[str, list[float]]) -> float:
    """Returns what a bonus adds to 1,000 steps in CPU milliseconds: the median over pairs of rollouts.

    Both of a pair meet the same machine, or nearly; whatever else runs there disturbs some pairs, either way.
    """
    pairs = zip(seconds["plain"], seconds["curious"], strict=True)
    return 1e6 * statistics.median(curious - plain for plain, curious in pairs) / STEPS


def main() -> None:
    """Measures both sides, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="interpreter of the peer's environment")
    parser.add_argument("--bonuses", nargs="+", choices=tuple(SHARED), default=list(SHARED))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("results/peer_overhead.json"))
    parser.add_argument("--serve", choices=("ours", "peer"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    if not arguments.peer:
        parser.error("--peer is missing: the interpreter of the environment that holds rllte-core")
    sides = {"ours": Side(sys.executable, "ours"), "peer": Side(arguments.peer, "peer")}
    versions = {side: process.ask("versions") for side, process in sides.items()}
    settings = {"task": TASK, "copies": COPIES, "n_steps": N_STEPS, "batch_size": MINIBATCH, "n_epochs": EPOCHS}
    result = {"unit": "CPU ms per 1,000 steps", "settings": settings, "versions": versions}
    rows = standing(arguments.out, result)
    for name, seconds in measure(sides, arguments.bonuses, arguments.rounds).items():
        ours, theirs = overhead(seconds["ours"]), overhead(seconds["peer"])
        rows[name] = {"bonus": name, "rounds": arguments.rounds, "ours": ours, "peer": theirs, "share": ours / theirs}
        rows[name]["seconds"] = seconds
        print(f"{name:14} ours {ours:7.1f}  peer {theirs:7.1f} ms of CPU per 1,000 steps  share {ours / theirs:.2f}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result | {"rows": list(rows.values())}, indent=2) + "\n")


def standing(out: Path, result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the rows by bonus that `out` holds of the same settings and versions; those not asked for now stay."""
    before = json.loads(out.read_text()) if out.exists() else {}
    same = all(before.get(name) == value for name, value in result.items())
    return {row["bonus"]: row for row in before["rows"]} if same else {}


if __name__ == "__main__":
    main()
