"""Generative models from the command line: runs that resume, figures, pictures, and one page.

- `names`: every model with a line about it and its recipe for each data set; imports no torch;
- `config`: `ModelRun`, what one run is;
- `train`: `train_model`, a run folder from beginning to end;
- `assess`: the figures of a trained model; `evaluate`: those of a run folder, again;
- `pictures`, `page`: what it makes, as PNG and as one HTML file.
"""
