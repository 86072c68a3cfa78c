"""The peer's side of `agents.bench.imagination`, run by an interpreter that has `mbrl-lib` and need not have us.

Every word on standard input names a task; the answer is the CPU seconds that it took.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch


def tasks(sizes: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """Returns what is measured, built with the classes of `mbrl-lib` at the sizes given."""
    import mbrl.models  # pyright: ignore[reportMissingImports] - in the peer's environment alone
    import mbrl.planning  # pyright: ignore[reportMissingImports]
    from mbrl.types import TransitionBatch  # pyright: ignore[reportMissingImports]
    from mbrl.util.replay_buffer import BootstrapIterator  # pyright: ignore[reportMissingImports]

    observation, action = sizes["observation"], sizes["action"]

    def network(members: int) -> Any:
        """Returns an ensemble; its last output is the reward, as in the peer's own examples."""
        settings = {"num_layers": sizes["layers"], "ensemble_size": members, "hid_size": sizes["hidden"]}
        silu = {"_target_": "torch.nn.SiLU"}
        net = mbrl.models.GaussianMLP(observation + action, observation + 1, "cpu", **settings, activation_fn_cfg=silu)
        net.set_propagation_method("random_model")
        return net

    net = network(sizes["members"])
    rows = torch.randn(sizes["rows"], observation + action)
    spaces = SimpleNamespace(observation_space=None, action_space=None)

    def no_end(_: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(following), 1, dtype=torch.bool)

    planner = sizes["plan"]
    planned = mbrl.models.OneDTransitionRewardModel(network(sizes["members"]), normalize=True)
    planned.update_normalizer(_batch(TransitionBatch, 1000, observation, action))
    imagined = mbrl.models.ModelEnv(spaces, planned, no_end)
    shape = (planner["horizon"], action)
    search = mbrl.planning.CEMOptimizer(
        planner["iterations"],
        planner["elites"] / planner["candidates"],
        planner["candidates"],
        (-np.ones(shape)).tolist(),
        np.ones(shape).tolist(),
        0.1,
        torch.device("cpu"),
    )

    def step() -> None:
        with torch.no_grad():
            net(rows)

    start = np.zeros(observation, np.float32)

    def plan() -> None:
        def value(sequences: torch.Tensor) -> torch.Tensor:
            return imagined.evaluate_action_sequences(sequences, start, planner["particles"])

        search.optimize(value, torch.zeros(shape))

    fit = sizes["fit"]
    fitted = mbrl.models.OneDTransitionRewardModel(network(fit["members"]), normalize=True)
    data = _batch(TransitionBatch, fit["rows"], observation, action)
    fitted.update_normalizer(data)
    trainer = mbrl.models.ModelTrainer(fitted, optim_lr=1e-3, weight_decay=1e-4)
    batches = BootstrapIterator(data, fit["minibatch"], fit["members"], shuffle_each_epoch=True)

    def epoch() -> None:
        trainer.train(batches, num_epochs=1, evaluate=False, silent=True)

    return {"step": step, "plan": plan, "epoch": epoch}


def _batch(kind: Any, n: int, observation: int, action: int) -> Any:
    draw = np.random.default_rng(0)
    state, following = (draw.standard_normal((n, observation), np.float32) for _ in range(2))
    actions, reward = draw.standard_normal((n, action), np.float32), draw.standard_normal(n, np.float32)
    ends = np.zeros(n, bool)
    return kind(state, actions, following, reward, ends, ends)


def main() -> None:
    """Serves."""
    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    sys.stdout = sys.stderr
    known = tasks(json.loads(sys.argv[1]))
    for line in sys.stdin:
        start = time.process_time()
        known[line.strip()]()
        answers.write(f"{time.process_time() - start}\n")
        answers.flush()


if __name__ == "__main__":
    main()
