"""What is written to a model: fixed corrections, ReGap, controls, and generation under them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regap.interventions.controls import random_orthogonal as random_orthogonal
    from regap.interventions.controls import shuffled_pairs as shuffled_pairs
    from regap.interventions.controls import towards_refusal as towards_refusal
    from regap.interventions.fixed import Shift as Shift
    from regap.interventions.fixed import fixed_correction as fixed_correction
    from regap.interventions.generation import Completion as Completion
    from regap.interventions.generation import generate as generate
    from regap.interventions.packs import Pack as Pack
    from regap.interventions.packs import read_pack as read_pack
    from regap.interventions.packs import write_pack as write_pack
    from regap.interventions.protection import protect as protect
    from regap.interventions.protection import protected as protected
    from regap.interventions.protection import unprotect as unprotect
    from regap.interventions.regap import ReGap as ReGap
    from regap.interventions.regap import calibrate_regap as calibrate_regap
    from regap.interventions.sites import Site as Site

_HOMES = {
    "random_orthogonal": "controls",
    "shuffled_pairs": "controls",
    "towards_refusal": "controls",
    "Shift": "fixed",
    "fixed_correction": "fixed",
    "Completion": "generation",
    "generate": "generation",
    "Pack": "packs",
    "read_pack": "packs",
    "write_pack": "packs",
    "protect": "protection",
    "protected": "protection",
    "unprotect": "protection",
    "ReGap": "regap",
    "calibrate_regap": "regap",
    "Site": "sites",
}
__all__ = [
    "Completion",
    "Pack",
    "ReGap",
    "Shift",
    "Site",
    "calibrate_regap",
    "fixed_correction",
    "generate",
    "protect",
    "protected",
    "random_orthogonal",
    "read_pack",
    "shuffled_pairs",
    "towards_refusal",
    "unprotect",
    "write_pack",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: pairs and tables need no model library."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
