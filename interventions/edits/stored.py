"""Save edits to folders: edit.json holds plain values and a digest, edit.safetensors the tensors."""

import hashlib
import json
import math
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from regap.errors import ModelError, PackError, PairError, first_line
from regap.geometry.files import is_whole, sealed_json, write_whole
from regap.geometry.models.model import PLAIN, Model, weights_in
from regap.geometry.states.store import encoded_tensors

FORMAT = "regap edit 1"
VALUES, TENSORS = "edit.json", "edit.safetensors"
LARGEST = 2**20
"""Most bytes of edit.json."""
AGAIN = "fetch it again, or run the command that made it"


class StoredEdit:
    """A frozen dataclass of plain values, tensors and other such dataclasses; it can be saved, loaded and packed."""

    kinds: ClassVar[dict[str, type]] = {}
    """The classes that can be saved, by their name in edit.json."""
    kind: ClassVar[str]
    """Name of this class in edit.json."""

    def __init_subclass__(cls, kind: str, **options: Any) -> None:
        super().__init_subclass__(**options)
        StoredEdit.kinds[kind], cls.kind = cls, kind

    def save(self, folder: str | Path, model: str = "") -> Path:
        """Write edit.json and edit.safetensors, and return the folder; equal edits give equal bytes.

        `model` is the fingerprint of the model that the edit was made on, by default the one that the edit knows;
        `load_edit` can check it.
        """
        values, tensors = encoded(self, model)
        write_whole(Path(folder) / TENSORS, tensors)
        write_whole(Path(folder) / VALUES, values)
        return Path(folder)

    @property
    def made_on(self) -> str:
        """Fingerprint of the model that the edit was made on; empty if it is not known."""
        return ""

    def on(self, model: Any) -> Any:
        """Return a context manager, inside which the prompts of the plain Hugging Face model are edited.

        The model's weights are not compared with those of the model that the edit was made on; `protect` does that,
        with a pack. Raises ModelError for a model that is edited already, or that the edit does not fit.
        """
        from regap.interventions.plain_models.attached import edited

        return edited(model, self)  # type: ignore[arg-type]


def load_edit(folder: str | Path, model: str | Model = "") -> Any:
    """Return the edit that `save` wrote, equal in every number.

    Raises PackError if a file is missing, incomplete or changed, if a value is not valid, or if the edit was made on
    another model than `model`, a model or its fingerprint.
    """
    folder, known = Path(folder), model.fingerprint if isinstance(model, Model) else model
    values, tensors = content_of(folder / VALUES), content_of(folder / TENSORS)
    try:
        return decoded(values, tensors, known)
    except PackError as error:
        raise PackError(f"{folder}: {error}") from None


def check_made_on(made_on: str, model: Model, what: str) -> None:
    """Raise ModelError if both models are known and have other weights, or the same in another number format."""
    if made_on and model.fingerprint != PLAIN and weights_in(made_on) != weights_in(model.fingerprint):
        raise ModelError(
            f"{what} was made on another model than {model.name}; make it on this one, or set its model to '' with "
            "dataclasses.replace to use it anyway"
        )


def encoded(edit: StoredEdit, model: str = "") -> tuple[bytes, bytes]:
    """Return the contents of edit.json and edit.safetensors."""
    found: dict[str, Tensor] = {}
    values = _encoded(edit, "", found)
    tensors = encoded_tensors(found, {"format": FORMAT})
    told = {
        "format": FORMAT,
        "kind": edit.kind,
        "model": model or edit.made_on,
        "tensors_sha256": digest(tensors),
        "values": values,
    }
    return sealed_json(told), tensors


def decoded(values: bytes, tensors: bytes, model: str = "") -> Any:
    """Return the edit of these two contents; raises PackError as `load_edit` does."""
    # Imported to register their kinds; ReGap registers Shift's.
    from regap.interventions.edits.alignment import Alignment  # noqa: F401
    from regap.interventions.edits.indexed_shift import IndexedShift  # noqa: F401
    from regap.interventions.edits.regap import ReGap  # noqa: F401

    if len(values) > LARGEST:
        raise PackError(f"{VALUES} is {len(values)} bytes long, and at most {LARGEST} are read; {AGAIN}")
    try:
        told = json.loads(values, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PackError(f"{VALUES}: invalid JSON ({first_line(error)}); {AGAIN}") from None
    if not isinstance(told, dict):
        raise PackError(f"{VALUES}: it must be an object; {AGAIN}")
    if told.get("format") != FORMAT:
        raise PackError(
            f"{VALUES}: format is {str(told.get('format'))[:40]!r}, and this version of regap reads {FORMAT!r}; "
            "save the edit again"
        )
    if not is_whole(values):
        raise PackError(f"{VALUES} is damaged: its digest does not match its content; {AGAIN}")
    _check_keys(told, ("digest", "format", "kind", "model", "tensors_sha256", "values"), "")
    if not isinstance(told["model"], str):
        raise _wrong("model", "a text", told["model"])
    if told["kind"] not in StoredEdit.kinds:
        raise PackError(
            f"{VALUES}: kind is {told['kind']!r}, not one of {', '.join(StoredEdit.kinds)}; {AGAIN}"
        )
    if model and told["model"] and told["model"] != model:
        raise PackError(f"{VALUES}: the edit was made on another model than {model!r}; {AGAIN}")
    if digest(tensors) != told["tensors_sha256"]:
        raise PackError(f"{TENSORS} is incomplete, or was not written together with {VALUES}; {AGAIN}")
    try:
        found = load(tensors)
    except (SafetensorError, ValueError, KeyError) as error:
        raise PackError(f"{TENSORS} is not a safetensors file ({error}); {AGAIN}") from None
    edit = _decoded(StoredEdit.kinds[told["kind"]], told["values"], "", found)
    if found:
        raise PackError(f"{TENSORS} has {', '.join(sorted(found))}, which the edit does not use; {AGAIN}")
    return _of_model(edit, told["model"])


def _of_model(edit: Any, model: str) -> Any:
    """The edit, and those that it holds, with the model that they were made on."""
    held = {each.name: getattr(edit, each.name) for each in fields(edit)}
    known = {name: _of_model(each, model) for name, each in held.items() if isinstance(each, StoredEdit)}
    return replace(edit, **known, **({"model": model} if "model" in held else {}))


def content_of(path: Path) -> bytes:
    """Return a file's content; raises PackError if it is missing."""
    if not path.is_file():
        raise PackError(f"{path.parent}: {path.name} is missing; name a folder that an edit was saved to")
    return path.read_bytes()


def digest(content: bytes) -> str:
    """Return the sha256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def _encoded(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value
        return path
    if is_dataclass(value):
        below = f"{path}." if path else ""
        return {
            each.name: _encoded(getattr(value, each.name), below + each.name, tensors)
            for each in fields(value)
            if each.metadata.get("stored", True)
        }
    return list(value) if isinstance(value, tuple) else value


def _decoded(kind: Any, value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return the value converted to this type, strictly; tensors that are used are removed from `tensors`."""
    if get_origin(kind) in (Union, UnionType):
        (inner,) = (each for each in get_args(kind) if each is not NoneType)
        return None if value is None else _decoded(inner, value, path, tensors)
    if is_dataclass(kind) and isinstance(kind, type):
        return _decoded_object(kind, value, path, tensors)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise _wrong(path, "a list", value)
        return tuple(
            _decoded(get_args(kind)[0], each, f"{path}[{i}]", tensors) for i, each in enumerate(value)
        )
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise _wrong(path, f"one of {', '.join(map(str, get_args(kind)))}", value)
        return value
    if kind is float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise _wrong(path, "a finite number", value)
        return float(value)
    if kind in (int, str, bool):
        if type(value) is not kind:
            raise _wrong(path, {int: "a whole number", str: "a text", bool: "true or false"}[kind], value)
        return value
    return _decoded_tensor(kind, value, path, tensors)


def _decoded_object(kind: Any, value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        raise _wrong(path, "an object", value)
    hints, below = get_type_hints(kind), f"{path}." if path else ""
    _check_keys(value, tuple(each.name for each in fields(kind) if each.metadata.get("stored", True)), below)
    given = {name: _decoded(hints[name], each, below + name, tensors) for name, each in value.items()}
    try:
        return kind(**given)
    except PackError:
        raise
    except (ValueError, PairError) as error:
        raise PackError(f"{VALUES}: {below[:-1] + ': ' if below else ''}{error}; {AGAIN}") from None


def _decoded_tensor(kind: Any, value: Any, path: str, tensors: dict[str, Tensor]) -> Tensor:
    if value != path:
        raise _wrong(path, f"the name of the tensor {path}", value)
    if path not in tensors:
        raise PackError(f"{TENSORS} has no tensor {path}; {AGAIN}")
    tensor, dimensions = tensors.pop(path), kind.dim_str.split()
    if tensor.ndim != len(dimensions) or not tensor.is_floating_point():
        raise PackError(
            f"{path} has shape {list(tensor.shape)} and dtype {tensor.dtype}; it must be real numbers of "
            f"shape [{', '.join(dimensions)}]; {AGAIN}"
        )
    if not bool(torch.isfinite(tensor).all()):
        raise PackError(f"{path} holds NaN or infinity; make it again from finite states")
    return tensor


def _check_keys(found: dict[str, Any], expected: tuple[str, ...], below: str) -> None:
    for name in found:
        if name not in expected:
            raise PackError(f"{VALUES}: {below}{name} is not known; {AGAIN}")
    for name in expected:
        if name not in found:
            raise PackError(f"{VALUES}: {below}{name} is missing; {AGAIN}")


def _wrong(path: str, expected: str, found: object) -> PackError:
    return PackError(f"{VALUES}: {path} must be {expected}, and is {str(found)[:60]!r}; {AGAIN}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")
