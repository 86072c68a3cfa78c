"""What a training step costs here and in `pythae`, for a VAE and one with inverse autoregressive flow, of equal sizes.

Both run in one process on one torch thread, taking turns block by block, each with its own trainer: minibatches, loss,
gradients, Adam, and whatever else it does at every step. Ours binarises anew and averages the weights, the peer does
neither. Also the bare step of the peer, without its loader and callbacks. The figure is the median over blocks of CPU
time a step; the ratio is of medians.

    python scripts/peer_generative.py --out results/generative/peer_speed.json

The peer is installed beside us, without what it brings along: `pip install --no-deps pythae==0.1.2 cloudpickle`.
"""

import argparse
import contextlib
import importlib.metadata
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from agents.versions import machine
from generative import FitSettings, dataset, make_model
from generative.data import Minibatches
from generative.training import Training

BATCH, LATENT, HIDDEN, FLOW = 128, 32, (400, 400), (320, 320)
SHAPE = (1, 28, 28)
Precision = Literal["float32", "bfloat16"]


def ours(
    name: str, x: torch.Tensor, *, compiled: bool = False, precision: Precision = "float32"
) -> Callable[[int], None]:
    """Returns what does a number of our rounds."""
    sizes: dict[str, Any] = {"latent": LATENT, "hidden": HIDDEN}
    sizes |= {"flow_hidden": FLOW, "steps": 2} if name == "iaf-vae" else {}
    model = make_model(name, SHAPE, **sizes)
    data = dataset(x).binarised("dynamic")
    training = Training(model, FitSettings(batch_size=BATCH, compile=compiled, precision=precision))
    minibatches = Minibatches(data, BATCH, 0)
    training.start(minibatches)

    def go(steps: int) -> None:
        for _ in range(steps):
            training.round(minibatches)

    return go


def peer(name: str, x: torch.Tensor, *, bare: bool) -> Callable[[int], None]:
    """Returns what does a number of the peer's steps: its training loop, or model and optimiser alone."""
    from pythae.data.datasets import BaseDataset  # type: ignore[import-not-found]
    from pythae.models import VAE, VAE_IAF, VAE_IAF_Config, VAEConfig  # type: ignore[import-not-found]
    from pythae.models.base.base_utils import ModelOutput  # type: ignore[import-not-found]
    from pythae.models.nn import BaseDecoder, BaseEncoder  # type: ignore[import-not-found]
    from pythae.trainers import BaseTrainer, BaseTrainerConfig  # type: ignore[import-not-found]

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            size = x[0].numel()
            self.net = nn.Sequential(nn.Linear(size, HIDDEN[0]), nn.ELU(), nn.Linear(HIDDEN[0], HIDDEN[1]), nn.ELU())
            self.mean, self.log_var = nn.Linear(HIDDEN[1], LATENT), nn.Linear(HIDDEN[1], LATENT)

        def forward(self, x: torch.Tensor) -> ModelOutput:
            h = self.net(x.flatten(1))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(LATENT, HIDDEN[1]), nn.ELU(), nn.Linear(HIDDEN[1], HIDDEN[0]), nn.ELU(),
                nn.Linear(HIDDEN[0], x[0].numel()), nn.Sigmoid(),
            )  # fmt: skip

        def forward(self, z: torch.Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.net(z).unflatten(1, SHAPE))

    common: dict[str, Any] = {"input_dim": SHAPE, "latent_dim": LATENT, "reconstruction_loss": "bce"}
    if name == "vae":
        model: Any = VAE(VAEConfig(**common), Encoder(), Decoder())
    else:
        config = VAE_IAF_Config(n_made_blocks=2, n_hidden_in_made=len(FLOW), hidden_size=FLOW[0], **common)
        model = VAE_IAF(config, Encoder(), Decoder())
    if bare:
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
        batches = [{"data": part} for part in x.split(BATCH)]

        def go(steps: int) -> None:
            for i in range(steps):
                optimiser.zero_grad()
                model(batches[i % len(batches)]).loss.backward()
                optimiser.step()

        return go
    settings = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(), num_epochs=1, per_device_train_batch_size=BATCH, learning_rate=1e-3, no_cuda=True
    )
    trainer = BaseTrainer(model=model, train_dataset=BaseDataset(x, torch.zeros(len(x))), training_config=settings)
    trainer.prepare_training()

    def epochs(steps: int) -> None:
        for epoch in range(steps * BATCH // len(x)):
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                trainer.train_step(epoch)

    return epochs


def main() -> None:
    """Prints, and with `--out` also writes, milliseconds a step and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=7, help="blocks of each contender, the first not counted")
    parser.add_argument("--steps", type=int, default=40, help="steps in a block")
    parser.add_argument("--compile", action="store_true", help="measure our losses compiled too")
    parser.add_argument("--bfloat16", action="store_true", help="and with products in bfloat16, which the peer has not")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.rand(args.steps * BATCH, *SHAPE, generator=torch.Generator().manual_seed(0)).round()
    rows = []
    for name in ("vae", "iaf-vae"):
        contenders = {
            "ours": ours(name, x), "peer": peer(name, x, bare=False), "peer, bare": peer(name, x, bare=True)
        }  # fmt: skip
        if args.bfloat16:
            contenders["ours, bfloat16"] = ours(name, x, precision="bfloat16")
        if args.compile:
            contenders["ours, compiled"] = ours(name, x, compiled=True)
        if args.bfloat16 and args.compile:
            contenders["ours, compiled, bfloat16"] = ours(name, x, compiled=True, precision="bfloat16")
        times: dict[str, list[float]] = {title: [] for title in contenders}
        for _ in range(args.blocks):
            for title, go in contenders.items():
                start = time.process_time()
                go(args.steps)
                times[title].append(1000 * (time.process_time() - start) / args.steps)
        found = {title: statistics.median(values[1:]) for title, values in times.items()}
        rows.append(
            {
                "model": name,
                "cpu_ms_a_step": {title: round(value, 3) for title, value in found.items()},
                "times_as_fast_as_the_peer": {title: round(found["peer"] / value, 3) for title, value in found.items()},
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    if args.out:
        told = {
            "rows": rows, "batch": BATCH, "latent": LATENT, "hidden": HIDDEN, "flow": FLOW, "shape": SHAPE,
            "blocks": args.blocks - 1, "steps_a_block": args.steps, "pythae": importlib.metadata.version("pythae"),
            "machine": machine(1, "cpu"),
        }  # fmt: skip
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
