"""The page of a generative model: figures and pictures in one HTML file that needs nothing else and runs no script."""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from agents.compare.page import policy
from agents.compare.study import write
from agents.folder import write_json
from agents.generate.config import ModelRun
from agents.generate.names import RECIPES
from agents.generate.pictures import Picture, pictures
from agents.generate.wording import command, sentence
from generative import Dataset, Model

PAGE_FILE = "report.html"
SIDE_BY_SIDE = "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr));column-gap:1rem"
FIGURES_FILE = "evaluation.json"
BESIDE = ("training", "out")  # what of the figures the table leaves out


def show(out: Path, run: ModelRun, model: Model, data: Dataset, told: Mapping[str, Any]) -> Path:
    """Returns the path of the page, after writing it, pictures and the figures `told` into the run's folder."""
    found = list(pictures(model, data, run.seed, out / "metrics.csv"))
    for picture in found:
        write(out / picture.name, picture.content)
    write_json(out / FIGURES_FILE, dict(told))
    write(out / PAGE_FILE, html(run, told, found, out))
    return out / PAGE_FILE


def html(run: ModelRun, told: Mapping[str, Any], found: Sequence[Picture], out: Path) -> str:
    """Returns the page."""
    style = files("agents.compare").joinpath("web", "page.css").read_text("utf-8")
    recipe = RECIPES[run.model]
    rows = "".join(
        f"<tr><th scope='row'>{escape(name.replace('_', ' '))}</th><td class='num'>{escape(_cell(value))}</td></tr>"
        for name, value in told.items()
        if name not in BESIDE and value is not None
    )
    shown = "".join(
        f"<section><h2>{escape(picture.title)}</h2><figure><img alt='{escape(picture.title)}' style='max-width:100%' "
        f"src='data:image/png;base64,{base64.b64encode(picture.content).decode()}'>"
        f"<figcaption class='soft'>{escape(picture.caption)}</figcaption></figure></section>"
        for picture in found
    )
    settings = escape(json.dumps({**run.to_json(), "plan": run.plan.settings}, indent=2))
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy("", False)}">'
        "<meta name='color-scheme' content='light dark'><link rel='icon' href='data:,'>"
        f"<title>{escape(run.model)} of {escape(run.data)}</title><style>{style}</style></head><body><main>"
        f"<header><p class='brand'>vime <span>generate</span></p><h1>{escape(run.model)} of {escape(run.data)}</h1>"
        f"<p class='facts'>{escape(recipe.summary)}</p><p class='headline'>{escape(sentence(told))}</p></header>"
        f"<div style='{SIDE_BY_SIDE}'>{shown}</div>"
        f"<section><h2>Figures</h2><div class='wide'><table class='figures'><tbody>{rows}</tbody></table></div>"
        f"</section><section><h2>Again</h2><div class='command'><code>{escape(command(run, out))}</code></div>"
        f"<details><summary>All settings</summary><pre>{settings}</pre></details></section></main></body></html>\n"
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000 else str(value)
