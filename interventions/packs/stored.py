"""The corrections of a run, kept in its folder with the vectors they really used."""

from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from regap.errors import PackError
from regap.geometry.states.store import write_tensors
from regap.interventions.packs.correction import Correction
from regap.interventions.packs.settings import Settings

FOLDER = "corrections"


def store_correction(correction: Correction, run: Path, condition: str, model: str) -> None:
    """Write RUN/corrections/CONDITION.safetensors, the settings and the model's fingerprint in its header."""
    header = {"settings": correction.settings.model_dump_json(), "model": model}
    write_tensors(run / FOLDER / f"{condition}.safetensors", correction.tensors, header)


def stored_correction(run: Path, condition: str, model: str) -> Correction:
    """Return the correction of a condition; raises PackError unless the run keeps it, for this model."""
    path = run / FOLDER / f"{condition}.safetensors"
    if not path.is_file():
        raise PackError(
            f"run folder {run} keeps no correction {condition!r} ({FOLDER}/{path.name}); give the command of the run "
            "again (what is finished is used again)"
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        settings = Settings.model_validate_json(header.get("settings", ""))
    except (SafetensorError, ValidationError, OSError) as error:
        said = str(error).splitlines()[0]
        raise PackError(
            f"{path} is damaged, or of another version ({said}); give the command of the run again"
        ) from None
    if header.get("model") != model:
        raise PackError(f"{path} is of another model than the run; give the command of the run again")
    return Correction.of(settings, tensors)
