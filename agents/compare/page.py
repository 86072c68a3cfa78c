"""The page of a study: one HTML file that needs nothing else, on any screen, light or dark."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from agents.compare.launch import peek
from agents.compare.scores import RunRecord, differences
from agents.compare.statistics import REPETITIONS
from agents.compare.study import Study
from agents.compare.wording import HEADERS, cells, gaps, headline, score

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --page: #fff; --line: #d0d7de; --card: #f6f8fa;
  --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9ba5b0; --page: #0f1318; --line: #343c46;
  --card: #181d24; --bad: #ff8a80; } }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
.headline { font-size: 1.1rem; border-left: 4px solid #0072b2; padding-left: .8rem; }
.gap { color: var(--bad); } .soft { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
th.text, td.text, th.group { text-align: left; } th { color: var(--soft); font-weight: 600; }
th.group { color: var(--ink); padding-top: .8rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; flex: 1 1 20rem; max-width: 29rem; } figcaption { color: var(--soft); font-size: .85rem; }
img { width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: 4px; }
pre { overflow-x: auto; background: var(--card); padding: .8rem; font-size: .8rem; border-radius: 4px; }
pre.command { white-space: pre-wrap; overflow-wrap: anywhere; } summary { cursor: pointer; }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser may load for the page: nothing but what is in it."""


@dataclass(frozen=True)
class Picture:
    """One picture of the page."""

    task: str
    name: str
    """File name; its ending gives the kind."""
    content: bytes
    caption: str


@dataclass(frozen=True, kw_only=True)
class Content:
    """All that the page shows."""

    study: Study
    out: Path
    rows: Sequence[Mapping[str, Any]]
    records: Sequence[RunRecord]
    pictures: Sequence[Picture] = field(default_factory=tuple)


def html(content: Content) -> str:
    """Returns the page."""
    title = escape(content.study.question)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        f"<title>{title}</title><style>{STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
        *(f'<p class="headline">{escape(text)}</p>' for text in headline(content.rows)),
        *(f'<p class="gap">{escape(text)}</p>' for text in [*gaps(content.records), *_mixed(content.records)]),
        "<h2>Table</h2>",
        _table(content.rows),
        _explanation(content.study),
        *_pictures(content),
        "<h2>Runs</h2>",
        _runs(content),
        *_failures(content),
        "<h2>Settings</h2>",
        *_settings(content),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    headers = {name: header for name, header in HEADERS.items() if name != "task"}
    groups: dict[str, list[list[str]]] = {}
    for row in rows:
        text = cells(row)
        groups.setdefault(row["task"], []).append([text[name] for name in headers])
    return _grid(list(headers.values()), groups, texts=1)


def _grid(headers: Sequence[str], groups: Mapping[str, Sequence[Sequence[str]]], *, texts: int) -> str:
    """Returns a table, each group under its name, that scrolls by itself where the screen is narrow.

    Its first `texts` columns are words.
    """

    def line(tag: str, values: Sequence[str]) -> str:
        kinds = [' class="text"' if i < texts else "" for i in range(len(values))]
        marked = (f"<{tag}{kind}>{escape(value)}</{tag}>" for kind, value in zip(kinds, values, strict=True))
        return f"<tr>{''.join(marked)}</tr>"

    body = ""
    for name, lines in groups.items():
        body += f'<tr><th class="group" colspan="{len(headers)}">{escape(name)}</th></tr>'
        body += "".join(line("td", values) for values in lines)
    return f'<div class="wide"><table><thead>{line("th", headers)}</thead><tbody>{body}</tbody></table></div>'


def _explanation(study: Study) -> str:
    return (
        '<p class="soft">Return: the reward of the task itself per episode, bonus left out, as the mean over the '
        f"training episodes that ended in the last tenth of {study.base.steps:,} steps; IQM: mean of the middle half "
        f"of the seeds; interval: 95 % bootstrap over seeds ({REPETITIONS} draws); area under curve: mean return over "
        "all of the training; beats control: how probably a random run ends above a random run of the bonus none, "
        "ties half; first reward: median over the seeds, where never counts as infinitely late. Steps count all "
        "copies of the task.</p>"
    )


def _pictures(content: Content) -> list[str]:
    parts = []
    for task in dict.fromkeys(picture.task for picture in content.pictures):
        parts.append(f'<h2>{escape(task)}</h2><div class="pictures">')
        for picture in content.pictures:
            if picture.task != task:
                continue
            kind = picture.name.rsplit(".", 1)[-1]
            data = base64.b64encode(picture.content).decode()
            caption = escape(picture.caption)
            parts.append(
                f'<figure><img alt="{caption}" src="data:image/{kind};base64,{data}">'
                f"<figcaption>{caption}</figcaption></figure>"
            )
        parts.append("</div>")
    return parts


def _runs(content: Content) -> str:
    groups: dict[str, list[list[str]]] = {}
    for record in content.records:
        config, finished = record.config, record.status == "finished"
        first = record.result.get("first_reward_step")
        never = "never" if finished else "-"
        steps = record.result.get("step")
        status = f"{record.status} at step {steps:,}" if not finished and isinstance(steps, int) else record.status
        groups.setdefault(config.task, []).append(
            [
                config.bonus,
                status,
                str(config.seed),
                score(record.number("final_return") if finished else None),
                score(record.number("evaluation_return") if finished else None),
                never if first is None else f"{first:,}",
                score(record.area),
                _figure(record.number("cpu_seconds"), ".1f"),
                _figure(record.number("resumed"), ".0f"),
            ]
        )
    headers = ["bonus", "status", "seed", "final return", "evaluation", "first reward at step"]
    headers += ["area under curve", "CPU s", "resumed"]
    note = (
        '<p class="soft">Evaluation: the policy without its exploration noise, on fresh episodes. Resumed: how often '
        "the run was taken up again after a stop. The same figures stand in scores.csv.</p>"
    )
    return f"<details><summary>{len(content.records)} runs</summary>{_grid(headers, groups, texts=2)}{note}</details>"


def _failures(content: Content) -> list[str]:
    return [
        f'<details><summary class="gap">{escape(record.config.task)} {escape(record.config.bonus)} seed '
        f"{record.config.seed} failed: {escape((record.error.strip().splitlines() or [''])[-1])}</summary>"
        f"<pre>{escape(record.error)}</pre></details>"
        for record in content.records
        if record.status == "failed"
    ]


def _settings(content: Content) -> list[str]:
    study = content.study
    parts = ["<p>Run it again, or go on with it:</p>"]
    parts.append(f'<pre class="command">{escape(study.command(content.out))}</pre>')
    parts.append(_details("All settings of the study", study.to_json()))
    versions: dict[str, list[dict[str, Any]]] = {}
    for record in content.records:
        told = peek(record.folder / "versions.json")
        if told is not None:
            versions.setdefault(json.dumps(told, sort_keys=True), []).append(told)
    if len(versions) > 1:
        parts.append('<p class="gap">The runs were made with different versions or on different machines.</p>')
    texts = (_details(f"Versions and machine of {len(group)} runs", group[0]) for group in versions.values())
    return [*parts, *texts]


def _details(title: str, values: Mapping[str, Any]) -> str:
    return f"<details><summary>{escape(title)}</summary><pre>{escape(json.dumps(values, indent=2))}</pre></details>"


def _mixed(records: Sequence[RunRecord]) -> list[str]:
    """Returns a warning where runs that stand side by side were not run alike."""
    found = differences(records)
    found.pop("algorithm", None)  # these stand in rows of their own
    return [
        f"The runs differ in `{name}` ({', '.join(map(str, values))}), so their rows cannot be compared without care."
        for name, values in found.items()
    ]


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
