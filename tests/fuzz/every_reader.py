"""Every reader of outside files, with whole files for it."""

import io
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import soundfile
import torch
from changes import Reader, put
from layouts import LAYOUTS
from PIL import Image
from replies import BODIES, RESPONSES, judged_by_body, judged_by_response

from regap.analyses.judges.against_people import read_labelled
from regap.analyses.runs.config import read_config
from regap.analyses.runs.records import Record
from regap.errors import StoreError
from regap.geometry.data.benchmarks.loading import benchmark
from regap.geometry.data.pair_files import read_pairs
from regap.geometry.data.pictures import Picture
from regap.geometry.data.sounds import Sound
from regap.geometry.files import opened_json, sealed_json
from regap.geometry.models.identity import ModelIdentity
from regap.geometry.states.activations import Activations, StateRow
from regap.geometry.states.index import read_activations, write_index
from regap.geometry.states.shards import Shards
from regap.geometry.states.store import ShardKey, Store, read_tensors, write_tensors
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.edits.stored import decoded
from regap.interventions.edits.stored import encoded as encoded_edit
from regap.interventions.packs.pack import Outcome, Pack, PackSource, read_pack, write_pack

KEY = ShardKey("m", (), (0,), ("a", "b"))
EDIT = Shift(Site((0,)), torch.ones(1, 4), 1.0, "D")
UNCHANGED = (".png", ".jpg", ".wav", ".flac", ".mp3")
"""Pictures and sounds have readers of their own."""
DOWNLOAD = "download"
"""The folder of a benchmark."""


def readers(folder: Path) -> tuple[Reader, ...]:
    """Return every reader; the folder is for what is written on the way."""
    return (
        *outside(),
        *stored(folder),
        *packs(folder / "pack"),
        *indexes(folder / "states"),
        *benchmarks(folder),
    )


def outside() -> Iterator[Reader]:
    """Yield the readers of single files that others write."""
    labels = ("harmful", "harmless", "harmful")
    shared = {"cluster": "c", "arm": "text"}
    rows = [
        {"pair_id": f"p{place}", "label": label, "text": f"a text, {place}", "answer": place, **shared}
        for place, label in enumerate(labels)
    ]
    turns = {"pair_id": "p9", "label": "harmful", "text": [{"role": "user", "content": "Hi"}], "arm": "text"}
    table, png = pd.DataFrame(rows), encoded("PNG")
    pictured = pd.DataFrame([{**row, "arm": "picture", "image": png} for row in rows[:2]])
    labelled = (
        b"type,prompt,completion,final_label\ncontrast_x,Do,No.,2_full_refusal\nx,Say,Yes,1_full_compliance\n"
    )
    settings = b'model = "organism"\nseed = 3\nstrengths = [0.5, 1.0]\nlayers = [3, 4]\narms = ["text"]\n'
    jsonl = {"rows.jsonl": lines(rows), "turns.jsonl": lines([*rows, turns])}
    pictures = {f"a.{form.lower()}": encoded(form) for form in ("PNG", "JPEG", "GIF", "TIFF")}
    sounds = {f"a.{form.lower()}": sound(form) for form in ("WAV", "FLAC", "OGG", "MP3")}
    parquets = {"rows.parquet": parquet(table), "pictured.parquet": parquet(pictured)}
    yield Reader("pairs CSV", {"f.csv": table.to_csv(index=False).encode()}, read_pairs)
    yield Reader("pairs JSONL", jsonl, read_pairs)
    yield Reader("pairs parquet", parquets, read_pairs)
    yield Reader("settings TOML", {"run.toml": settings}, read_config)
    yield Reader("labelled CSV", {"labels.csv": labelled}, read_labelled)
    yield Reader("pictures", pictures, lambda path: Picture.read(path).open())
    yield Reader("sounds", sounds, heard)
    yield Reader("endpoint bodies", BODIES, judged_by_body)
    yield Reader("endpoint responses", RESPONSES, judged_by_response)


def stored(folder: Path) -> Iterator[Reader]:
    """Yield the readers of single files that regap writes."""
    outcome = {"model": "m", "condition": "baseline", "arm": "text", "measure": "refusal", "value": 0.5}
    outcomes = pd.DataFrame([{**outcome, "low": 0.4, "high": 0.6, "n": 3}])
    table = Record("outcomes", outcomes).save(folder / "whole").read_bytes()
    write_tensors(folder / "whole.safetensors", {"t": torch.arange(8.0)}, {"model": "m"})
    vectors = (folder / "whole.safetensors").read_bytes()
    shard = Store(folder / "whole").write(KEY, torch.randn(2, 1, 4))
    values, tensors = encoded_edit(EDIT)
    answer = {"text": "Yes", "tokens": 1, "finished": True, "first_token": 3}
    answers = sealed_json({"answers": [answer]}, "key")
    yield Reader("tables", {"run/tables/outcomes.parquet": table}, read_outcomes, sealed=True)
    yield Reader("stored vectors", {"d.safetensors": vectors}, read_tensors, sealed=True)
    yield Reader("stored answers", {"key.json": answers}, partial(opened_json, of="key"), sealed=True)
    yield Reader("shards", {shard.name: shard.read_bytes()}, read_shard, sealed=True)
    yield Reader(
        "stored edits", {"edit.json": values}, lambda path: decoded(path.read_bytes(), tensors), sealed=True
    )


def packs(folder: Path) -> Iterator[Reader]:
    """Yield the readers of a pack's folder: changed, and changed by someone who makes the digest anew."""
    source = PackSource(
        run="r",
        pairs=6,
        pairs_sha256="p",
        image_arm="a",
        false_refusals=0.05,
        seed=0,
        versions={"torch": "2"},
    )
    model = ModelIdentity(
        architecture="A", blocks=2, width=4, revision=None, dtype="float32", configuration="c", weights="w"
    )
    outcome = Outcome(condition="baseline", arm="a", measure="refusal", value=0.5, low=None, high=0.9, n=3)
    write_pack(Pack.of("a name", model, EDIT, source, (outcome,)), folder)
    whole = contents(folder)
    readme = {"README.md": whole.pop("README.md")}  # nothing reads it
    yield Reader("packs", dict(whole), lambda path: read_pack(path.parent), True, partial(written, readme))
    card, others = (
        {"card.json": whole["card.json"]},
        {name: whole[name] for name in whole if name != "card.json"},
    )
    yield Reader(
        "packs, sealed again",
        card,
        lambda path: read_pack(resealed(path).parent),
        False,
        partial(written, others),
    )


def indexes(folder: Path) -> Iterator[Reader]:
    """Yield the readers of a folder of shards by its index: changed, and changed and sealed again."""
    path = Store(folder).write(KEY, torch.randn(2, 1, 4))
    rows = tuple(StateRow(name, "harmful", "all", "test", name) for name in KEY.prompts)
    shards = Shards.of([path], [[0, 1]], 1, 4)
    write_index(Activations(shards, rows, "text", (0,), "m"), shards)
    whole = contents(folder)
    index, others = {"index.json": whole.pop("index.json")}, whole
    yield Reader("store", {**index, **others}, read_states, True)
    yield Reader(
        "store, index sealed again",
        index,
        lambda path: read_states(resealed(path)),
        False,
        partial(written, others),
    )


def benchmarks(folder: Path) -> Iterator[Reader]:
    """Yield a reader of each benchmark, in the layout in which it is distributed."""
    for name, layout in LAYOUTS.items():
        layout(folder / name / DOWNLOAD)
        whole = contents(folder / name)
        changing = {file: content for file, content in whole.items() if not file.endswith(UNCHANGED)}
        others = {file: content for file, content in whole.items() if file not in changing}
        yield Reader(
            f"benchmark {name}", changing, partial(read_benchmark, name), False, partial(written, others)
        )


def contents(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def written(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        put(folder / name, content)


def resealed(path: Path) -> Path:
    """Seal a changed JSON object as regap does, so that only its values are wrong."""
    with suppress(ValueError, AttributeError, RecursionError):
        put(path, sealed_json(json.loads(path.read_bytes())))
    return path


def read_benchmark(name: str, path: Path) -> object:
    folder = next(above for above in path.parents if above.name == DOWNLOAD)
    return benchmark(name, folder, allow_partial=True)


def read_states(path: Path) -> object:
    states = read_activations(path.parent)
    return states.residuals, states.rows


def read_shard(path: Path) -> object:
    found = Store(path.parent).read(KEY)
    if found is None:
        raise StoreError("not found or damaged, so it is computed again")
    return found


def read_outcomes(path: Path) -> object:
    return Record.load(path.parents[1], "outcomes")


def heard(path: Path) -> object:
    found = Sound.read(path)
    return found.samples(16_000), found.excerpt()


def sound(form: str) -> bytes:
    kept = io.BytesIO()
    times = torch.arange(6000) / 8000
    both = torch.stack([(times * 900).sin(), (times * 300).cos()], 1).numpy() / 2
    soundfile.write(kept, both, 8000, format=form)
    return kept.getvalue()


def encoded(form: str) -> bytes:
    kept = io.BytesIO()
    Image.linear_gradient("L").resize((24, 16)).convert("RGB").save(kept, form)
    return kept.getvalue()


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(table: pd.DataFrame) -> bytes:
    kept = io.BytesIO()
    table.to_parquet(kept, index=False)
    return kept.getvalue()
