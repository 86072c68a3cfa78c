"""One torch thread, shapes checked at every call into our libraries, and no GPU tests where there is no GPU."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is first imported; two threads fight on a busy machine

from jaxtyping import install_import_hook

install_import_hook(["vime", "generative"], "beartype.beartype")  # before their first import

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
