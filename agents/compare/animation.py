"""The first rewarded episode as a moving picture."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from agents.compare.records import RunRecord, read_arrays
from agents.compare.study import CONTROL

EPISODE_FILE = "first_reward.npz"
MAX_BYTES = 1_500_000
MAX_FRAMES = 125
MAX_SIDE = 400
"""Pixels of the longer side."""
FRAME_MILLISECONDS = 40
HOLD_MILLISECONDS = 1500
"""How long the last frame stands before it starts again."""
PALETTE_COLOURS = 64
BAR_PIXELS = 6
PAID, UNPAID, REST = (0, 158, 115), (95, 95, 95), (220, 220, 220)
"""Colours of the bar below, which fills with time: green from the first reward on."""


def first_rewarded(records: Iterable[RunRecord]) -> RunRecord | None:
    """Returns the curious run that was paid earliest among those that kept the episode; None where none did."""
    found = [
        record
        for record in records
        if record.config.bonus != CONTROL
        and record.number("first_reward_step") is not None
        and (record.folder / EPISODE_FILE).exists()
    ]
    return min(found, key=lambda record: record.result["first_reward_step"], default=None)


def animate(task: str, path: Path) -> bytes | None:
    """Returns a GIF of at most `MAX_BYTES` of the episode in `path`; None where the task cannot be drawn."""
    from envs.drawing import frame

    arrays = read_arrays(path)
    if arrays is None or not {"obs", "reward"} <= arrays.keys() or not 0 < len(arrays["obs"]) <= len(arrays["reward"]):
        return None  # cut short by a crash: the report does without
    observations, rewards = arrays["obs"], arrays["reward"]
    paid = np.cumsum(rewards > 0) > 0  # reward i was paid for coming to observation i
    for shrink in (1, 2, 4, 8):
        stride = max(1, -(-len(observations) // (MAX_FRAMES // shrink)))
        shown = sorted({*range(0, len(observations), stride), len(observations) - 1})
        pictures = []
        for i in shown:
            pixels = frame(task, observations[i])
            if pixels is None:
                return None
            pictures.append(_with_bar(pixels, (i + 1) / len(observations), bool(paid[i])))
        content = gif(pictures, FRAME_MILLISECONDS * shrink)
        if len(content) <= MAX_BYTES:
            return content
    return None


def _with_bar(pixels: np.ndarray, part: float, paid: bool) -> np.ndarray:
    """Returns the picture with a bar below that is filled up to `part`."""
    bar = np.full((BAR_PIXELS, pixels.shape[1], 3), REST, dtype=np.uint8)
    bar[:, : round(part * pixels.shape[1])] = PAID if paid else UNPAID
    return np.concatenate([pixels, bar])


def gif(pictures: list[np.ndarray], milliseconds: int) -> bytes:
    """Returns pictures of one size as a GIF that starts again and again."""
    from PIL import Image

    images = [Image.fromarray(pixels) for pixels in pictures]
    for image in images:
        image.thumbnail((MAX_SIDE, MAX_SIDE))
    # one palette for all, so that colours do not flicker and equal pixels are stored once: from first and last
    # frame, and with patches of the colours of the bar, which are too rare there to get a place
    width, height = images[0].size
    sample = Image.new("RGB", (width, 3 * height))
    sample.paste(images[0], (0, 0))
    sample.paste(images[-1], (0, height))
    for i, colour in enumerate((PAID, UNPAID, REST)):
        sample.paste(colour, (i * width // 3, 2 * height, (i + 1) * width // 3, 3 * height))
    palette = sample.quantize(PALETTE_COLOURS)
    flat = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [milliseconds] * (len(flat) - 1) + [HOLD_MILLISECONDS]
    buffer = io.BytesIO()
    flat[0].save(buffer, "GIF", save_all=True, append_images=flat[1:], duration=durations, loop=0, optimize=False)
    return buffer.getvalue()
