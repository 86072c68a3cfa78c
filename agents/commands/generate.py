"""Commands on generative models: `vime generate list | train | sample | evaluate`."""

import itertools
import json as text
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, Suppress, arg

from agents.commands.printing import print_json, print_line
from agents.commands.standing import names_one_of, standing
from agents.generate.config import ModelRun
from agents.generate.names import DATA, RECIPES


def generate() -> None:
    """Train, sample and evaluate generative models: GANs, InfoGAN, VAEs with flows, PixelCNN.

    Example: vime generate train infogan --data digits --out runs/infogan
    """


def commands(words: Sequence[str]) -> dict[str, Callable[..., None]]:
    """Returns the commands under `vime generate`, given the words after it."""
    named = any(word in RECIPES and before != "--out" for before, word in itertools.pairwise(words))
    begins = words[:1] == ["train"] and words[1:2] != [] and words[1].startswith("--")
    unnamed = begins and not named and not names_one_of(words, "--help", "-h")  # no model: it goes on
    found = standing(words, ModelRun, "name a model (`vime generate list`).") if unnamed else None
    return {"list": show_models, "train": train_from(found), "sample": sample, "evaluate": evaluate}


@dataclass(frozen=True, kw_only=True)
class _Options(ModelRun):
    """All of a run but its model."""

    model: Suppress[str] = ""


def show_models(json: bool = False) -> None:
    """Show the models and the data that can be named.

    Example: vime generate list --json

    Args:
        json: Print them as JSON.
    """

    if json:
        models = {
            name: {
                "summary": recipe.summary,
                "figures": recipe.figures,
                "steps": {data: recipe.plan(data).steps for data in DATA},
            }
            for name, recipe in RECIPES.items()
        }
        print_json({"models": models, "data": dict(DATA)})
        return
    for title, entries in (("Models", {name: recipe.summary for name, recipe in RECIPES.items()}), ("Data", DATA)):
        print(f"{title}:")
        width = max(map(len, entries))
        for name, line in entries.items():
            print(f"  {name:<{width}}  {line}")


def train_from(found: ModelRun | None) -> Callable[..., None]:
    """Returns the command `train`, whose defaults are those of the run `found`, where there is one."""
    plain = ModelRun(model="") if found is None else found
    values: dict[str, Any] = {field.name: getattr(plain, field.name) for field in fields(ModelRun)}
    values["model"] = ""
    defaults = _Options(**values)

    def train(
        out: Path,
        model: Positional[str] = tyro.MISSING if found is None else found.model,
        run: Annotated[_Options, arg(name="")] = defaults,
        json: bool = False,
    ) -> None:
        """Train a generative model, or go on with an unfinished run.

        The same command on the same folder continues a run that was stopped or killed, bit for bit; `--out DIR` alone
        does so too. Ctrl-C stops where the run can continue. The folder ends with figures, pictures and one page.

        Example: vime generate train infogan --data digits --out runs/infogan

        Args:
            out: Folder of the run.
            model: Name of the model; `vime generate list` shows all.
            run: the run.
            json: Print the figures as one line of JSON, the last one of the output.
        """
        from agents.live import Bar

        values: dict[str, Any] = {field.name: getattr(run, field.name) for field in fields(ModelRun)}
        values["model"] = model
        wanted = ModelRun(**values).check()
        import agents.generate.train

        with Bar(_terms) as bar:
            told = agents.generate.train.train_model(wanted, out, progress=bar)
        _tell(told, out, json)

    return train


def sample(
    out: Positional[Path], count: int = 100, seed: int = 0, file: Path | None = None, json: bool = False
) -> None:
    """Draw new samples from a trained model, as a picture or as numbers.

    Example: vime generate sample runs/infogan --count 64 --file samples.png

    Args:
        out: Folder of the run.
        count: How many.
        seed: From which they are drawn.
        file: A .png for a picture of all, or a .npy for the numbers; a picture in the folder unless given.
        json: Print where they lie as JSON.
    """
    from agents.generate.evaluate import sample_model

    path = sample_model(out, file, count=count, seed=seed)
    print(text.dumps({"file": str(path), "count": count, "seed": seed}) if json else f"{count:,} samples: {path}")


def evaluate(
    out: Positional[Path],
    samples: int | None = None,
    examples: int | None = None,
    seed: int | None = None,
    data_dir: str | None = None,
    json: bool = False,
) -> None:
    """Take the figures of a trained model on the test data, and make its pictures and its page anew.

    Example: vime generate evaluate runs/vae --samples 1000

    Args:
        out: Folder of the run.
        samples: Importance samples of each datum, where the likelihood is bounded; those of the recipe unless given.
        examples: Test data that the likelihood is taken of; those of the recipe unless given.
        seed: Of all draws for the figures; that of the run unless given, as for the pictures.
        data_dir: Where the data lie now, if it is not where they lay in training.
        json: Print the figures as one line of JSON.
    """
    from agents.generate.evaluate import evaluate_model

    told = evaluate_model(out, samples=samples, examples=examples, seed=seed, data_dir=data_dir)
    _tell(told, out, json)


def _tell(told: Mapping[str, Any], out: Path, json: bool) -> None:
    if json:
        print_line(told)
        return
    from agents.generate.wording import sentence

    print(f"{told['model']} of {told['data']}: {sentence(told)}")
    print(f"Page: {out / 'report.html'}")


def _terms(figures: dict[str, Any]) -> str:
    """Returns what the progress bar says: the losses, and what was measured on test data."""
    terms = figures["terms"]
    shown = [name for name in terms if name.startswith("test_") or name.endswith("loss")]
    return " · ".join(f"{name.removesuffix('/loss').replace('_', ' ')} {terms[name]:.4g}" for name in shown)
