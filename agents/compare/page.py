"""The page of a study: one HTML file that needs nothing else, on any screen, light or dark."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from agents.compare.wording import markdown

SCRIPTS = ("chart.js", "parts.js", "ranking.js", "curves.js", "tables.js", "page.js")
"""In the order in which the page runs them, as one."""


def html(content: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], *, live: bool = False) -> str:
    """Returns the page that shows `content`; `rows` stand in its place where a browser runs no scripts.

    A `live` page asks the server that it came from for `data.json` again and again; any other page asks for nothing.
    """
    folder = files("agents.compare").joinpath("web")
    script = "\n".join(folder.joinpath(name).read_text("utf-8") for name in SCRIPTS)
    words = "".join(f"<p>{escape(text)}</p>" for text in [*content["headline"], *content["gaps"]])
    parts = {
        "POLICY": policy(script, live),
        "TITLE": escape(content["title"]),
        "STYLE": folder.joinpath("page.css").read_text("utf-8"),
        "PLAIN": f"{words}<pre>{escape(markdown(rows))}</pre>",
        "DATA": embedded(content),
        "SCRIPT": script,
    }
    page = folder.joinpath("page.html").read_text("utf-8")
    pieces = page.split("%%")  # text and names in turn: what is put in is not searched again
    return "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def policy(script: str, live: bool) -> str:
    """Returns what a browser may load for the page: what is in it, and the server's data where it is `live`."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    connect = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def policy_of(page: str) -> str:
    """Returns what a browser may load for `page`, as the page itself says."""
    return page.partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[0]


def embedded(content: Mapping[str, Any]) -> str:
    """Returns the content as JSON that no text in it can end the element that it stands in."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
