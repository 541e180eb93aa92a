"""regap: measure, explain and repair the collapse of safety geometry in vision-language models.

Every public name is here, and is imported when it is first used, so that `import regap` does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regap.analyses.ablation.ablate import ablate as ablate
    from regap.analyses.ablation.layer_sweep import sweep_layers as sweep_layers
    from regap.analyses.judges.judged_answers import judge as judge
    from regap.figures.opened_run import figure as figure
    from regap.figures.opened_run import open_run as open_run
    from regap.geometry.data.arm_synthesis import with_arms as with_arms
    from regap.geometry.data.benchmarks.loading import benchmark as benchmark
    from regap.geometry.data.benchmarks.loading import harmless as harmless
    from regap.geometry.data.pair_files import read_pairs as read_pairs
    from regap.geometry.data.pair_files import write_pairs as write_pairs
    from regap.geometry.data.pairs import Pair as Pair
    from regap.geometry.data.pairs import Pairs as Pairs
    from regap.geometry.data.pairs import Prompt as Prompt
    from regap.geometry.directions import load_direction as load_direction
    from regap.geometry.directions import refusal_direction as refusal_direction
    from regap.geometry.drift import load_drift as load_drift
    from regap.geometry.drift import modality_drift as modality_drift
    from regap.geometry.forward.capture import capture as capture
    from regap.geometry.forward.runner import Limits as Limits
    from regap.geometry.forward.runner import Runner as Runner
    from regap.geometry.frames import to_frame as to_frame
    from regap.geometry.models.loading import load as load
    from regap.geometry.prompts.batch import inputs as inputs
    from regap.geometry.separability import separability as separability
    from regap.geometry.states.index import read_activations as read_activations
    from regap.interventions.decoding import Sampling as Sampling
    from regap.interventions.edits.function import edit as edit
    from regap.interventions.edits.regap import calibrate_regap as calibrate_regap
    from regap.interventions.edits.shift import shift as shift
    from regap.interventions.edits.site import Site as Site
    from regap.interventions.edits.stored import load_edit as load_edit
    from regap.interventions.generation import generate as generate
    from regap.interventions.packs.protection import protect as protect
    from regap.interventions.packs.protection import protected as protected
    from regap.interventions.packs.protection import protection_record as protection_record
    from regap.interventions.packs.protection import unprotect as unprotect
    from regap.organism.prompts import organism_pairs as organism_pairs

__version__ = "0.2.0"

_HOMES = {
    "ablate": "analyses.ablation.ablate",
    "benchmark": "geometry.data.benchmarks.loading",
    "calibrate_regap": "interventions.edits.regap",
    "capture": "geometry.forward.capture",
    "edit": "interventions.edits.function",
    "figure": "figures.opened_run",
    "generate": "interventions.generation",
    "harmless": "geometry.data.benchmarks.loading",
    "inputs": "geometry.prompts.batch",
    "judge": "analyses.judges.judged_answers",
    "Limits": "geometry.forward.runner",
    "load": "geometry.models.loading",
    "load_direction": "geometry.directions",
    "load_drift": "geometry.drift",
    "load_edit": "interventions.edits.stored",
    "modality_drift": "geometry.drift",
    "open_run": "figures.opened_run",
    "organism_pairs": "organism.prompts",
    "Pair": "geometry.data.pairs",
    "Pairs": "geometry.data.pairs",
    "Prompt": "geometry.data.pairs",
    "protect": "interventions.packs.protection",
    "protected": "interventions.packs.protection",
    "protection_record": "interventions.packs.protection",
    "read_activations": "geometry.states.index",
    "read_pairs": "geometry.data.pair_files",
    "refusal_direction": "geometry.directions",
    "Runner": "geometry.forward.runner",
    "Sampling": "interventions.decoding",
    "separability": "geometry.separability",
    "shift": "interventions.edits.shift",
    "Site": "interventions.edits.site",
    "sweep_layers": "analyses.ablation.layer_sweep",
    "to_frame": "geometry.frames",
    "unprotect": "interventions.packs.protection",
    "with_arms": "geometry.data.arm_synthesis",
    "write_pairs": "geometry.data.pair_files",
}
"""The module of each public name."""
__all__ = [*_HOMES, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
