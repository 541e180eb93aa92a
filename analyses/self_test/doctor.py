"""Whether a model can be trusted under our hooks: self-tests on the user's own model and machine."""

import importlib.util
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version

import torch

from regap.analyses.self_test.checks import prompts_of, self_tests
from regap.analyses.self_test.comparison import Check
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import describe


def check_environment() -> list[Check]:
    """Return what is installed, and whether a torchvision that does not fit torch would break transformers."""
    packages = ("torch", "transformers", "transformer-lens", "plotly")
    found = ", ".join(f"{name} {version(name)}" for name in packages)
    checks = [Check("Python 3.11 or newer", sys.version_info >= (3, 11), platform.python_version())]
    checks.append(Check("packages", True, found))
    if importlib.util.find_spec("torchvision") is not None:
        try:
            importlib.import_module("torchvision")
            checks.append(Check("torchvision fits torch", True, version("torchvision")))
        except Exception as error:
            detail = f"{str(error).splitlines()[0]}; uninstall torchvision, regap does not need it"
            checks.append(Check("torchvision fits torch", False, detail))
    device = "a GPU is available" if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return [*checks, Check("device", True, device)]


def check_model(model: Model) -> list[Check]:
    """Return the outcome of every self-test, on prompts with small images and without."""
    return list(self_tests(model))


def in_one_line(checks: Sequence[Check]) -> str:
    """Return how many checks passed, which failed, and which hooks the model can be loaded with."""
    failed = [check.name for check in checks if not check.passed]
    hooks = next((check.detail.partition(";")[0] for check in checks if check.name == "hooks"), "unknown")
    found = (
        "all checks passed"
        if not failed
        else f"{len(failed)} of {len(checks)} checks failed: {'; '.join(failed)}"
    )
    return f"{found}; hooks available: {hooks}"


def shown_prompt(model: Model) -> str:
    """Return one prompt as the model reads it, with an image if it sees any, and the tail of its tokens."""
    return describe(model, prompts_of("image" if model.sees_images else "text")[0])
