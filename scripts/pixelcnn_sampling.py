"""How much quicker a PixelCNN gives images when it keeps what does not change, and whether they are the same images.

Both ways draw from generators of the same seed; the CPU time of a process of one torch thread is counted. The weights
are random: the time does not depend on them.

    python scripts/pixelcnn_sampling.py --out results/pixelcnn_sampling.json
    python scripts/pixelcnn_sampling.py --filters 64 --blocks 7 --kernel 5 --images 4
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from generative.model import Batch
from generative.pixelcnn import PixelCNN, PixelCNNSettings


def measured(model: PixelCNN, images: int, cached: bool) -> tuple[torch.Tensor, float]:
    """Returns images and the CPU time that they took, in seconds."""
    generator = torch.Generator().manual_seed(0)
    start = time.process_time()
    found = model.sample(images, generator, cached=cached)
    return found, time.process_time() - start


def main() -> None:
    """Prints, and with `--out` also writes, times, their ratio and the share of equal values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=28, help="height and width of an image, in pixels")
    parser.add_argument("--images", type=int, default=4, help="images at once")
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--kernel", type=int, default=3)
    parser.add_argument("--likelihood", choices=("bernoulli", "discretised"), default="bernoulli")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = PixelCNNSettings(
        filters=args.filters, blocks=args.blocks, kernel=args.kernel, likelihood=args.likelihood
    )
    model = PixelCNN((1, args.side, args.side), settings, seed=0).eval()
    noise = torch.rand(16, *model.shape, generator=torch.Generator().manual_seed(1))
    model.initialise(Batch(x=noise.round(), step=torch.zeros(())), torch.Generator())
    measured(PixelCNN((1, 4, 4), settings, seed=0).eval(), 1, True)  # the first calls of torch are slow
    quick, cached = measured(model, args.images, True)
    slow, naive = measured(model, args.images, False)
    result: dict[str, Any] = {
        "images": args.images,
        "shape": list(model.shape),
        "filters": args.filters,
        "blocks": args.blocks,
        "kernel": args.kernel,
        "likelihood": args.likelihood,
        "cached_cpu_seconds": round(cached, 3),
        "naive_cpu_seconds": round(naive, 3),
        "ratio": round(naive / cached, 1),
        "equal_values": float((quick == slow).float().mean()),
        "torch": torch.__version__,
    }
    print(json.dumps(result))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
