"""Give every reader of outside files many changed files: each is read, or refused in one clear line, in short time.

A file that regap has stored itself must be refused or found damaged after any change. The script prints a table of
counts, with the first inputs that failed, and ends with 1 if any did.
"""

import argparse
import io
import json
import random
import signal
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import soundfile
import torch
from PIL import Image

from regap.analyses.judges.against_people import read_labelled
from regap.analyses.judges.endpoint_judge import Endpoint, EndpointError
from regap.analyses.runs.config import read_config
from regap.analyses.runs.records import Record
from regap.errors import ConfigError, ModelError, PackError, PairError, StoreError
from regap.geometry.data.benchmarks.loading import benchmark
from regap.geometry.data.pair_files import read_pairs
from regap.geometry.data.pictures import Picture
from regap.geometry.data.sounds import Sound
from regap.geometry.files import opened_json, sealed_json
from regap.geometry.states.store import ShardKey, Store, read_tensors, write_tensors
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.edits.stored import decoded
from regap.interventions.edits.stored import encoded as encoded_edit

OURS = (ConfigError, ModelError, PackError, PairError, StoreError, EndpointError)
LONGEST, SLOWEST = 600, 10.0
KEY = ShardKey("m", (), (0,), ("a", "b"))
SPECIAL = (
    b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r", b'"', b"'", b",", b";", b"[", b"{", b"}", b"]", b":", b"null",
    b"NaN", b"-1", b"1e999", b"9" * 400, b"[" * 2000, b"{\"a\":" * 500, b"<image>", b"../../x", b"\x1b[31m",
    b"\xe2\x80\xae", b"true", b"=1+1", b"\\ud800", b"data:image/png;base64,AAAA", b"x" * 5000,
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """A kind of file, whole ones, and how they are read."""

    name: str
    whole: tuple[bytes, ...] = field(repr=False)
    read: Callable[[bytes, Path], object] = field(repr=False)
    sealed: bool = False
    """True for files that must be refused after any change."""


def changed(content: bytes, chance: random.Random) -> bytes:
    """Return the content after one to four changes of its bytes or its structure."""
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randint(0, len(content)), chance.choice((1, 1, 2, 8, 64))
        kind = chance.randrange(7)
        if kind == 0:
            content = content[:at] + chance.choice(SPECIAL) + content[at:]
        elif kind == 1:
            content = content[:at] + content[at + length :]
        elif kind == 2:
            content = content[:at] + chance.choice(SPECIAL) + content[at + length :]
        elif kind == 3:
            content = content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]
        elif kind == 4:
            content = content[:at] + content[max(0, at - length) : at] * chance.choice((2, 9)) + content[at:]
        elif kind == 5:
            content = content[:at]
        else:
            content = restructured(content, chance)
    return content


def restructured(content: bytes, chance: random.Random) -> bytes:
    """Return JSON or JSONL with one value put in another's place; other content as it is."""
    try:
        lines = [json.loads(line) for line in content.decode().splitlines()]
    except (ValueError, RecursionError):
        return content
    if not lines or not isinstance(lines[0], dict):
        return content
    values: list[Any] = [
        None,
        True,
        3,
        -0.5,
        10**30,
        "",
        " ",
        [],
        {},
        [None],
        [["x"]],
        {"a": {}},
        "x" * 3000,
        "\u202e",
    ]
    row = chance.choice(lines)
    if isinstance(row, dict) and row:
        row[chance.choice(list(row))] = chance.choice(values)
    return "\n".join(json.dumps(line) for line in lines).encode()


def why_wrong(reader: Reader, content: bytes, folder: Path) -> str | None:
    """Return what is wrong with how the reader takes a content; None if nothing is."""
    start = time.monotonic()
    try:
        with at_most(2 * SLOWEST):
            reader.read(content, folder)
        refused = None
    except OURS as error:
        refused = error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {str(error)[:200]!r}"
    if time.monotonic() - start > SLOWEST:
        return f"it took {time.monotonic() - start:.0f} s"
    if refused is None:
        return "a changed file was believed" if reader.sealed and content not in reader.whole else None
    told = str(refused)
    if len(told) > LONGEST or not told.strip():
        return f"a message of {len(told)} letters"
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in told):
        return f"control characters in {told[:200]!r}"
    return None


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError inside after these seconds."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"it hung for {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    """Return a reader of a file of this name in the folder."""

    def taken(content: bytes, folder: Path) -> object:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return read(path)

    return taken


def readers(folder: Path) -> tuple[Reader, ...]:
    """Return every reader with whole files for it."""
    rows = [
        {
            "pair_id": f"p{place}",
            "label": label,
            "text": f"a text, {place}",
            "answer": place,
            "cluster": "c",
            "arm": "text",
        }
        for place, label in enumerate(("harmful", "harmless", "harmful"))
    ]
    turns = {"pair_id": "p9", "label": "harmful", "text": [{"role": "user", "content": "Hi"}], "arm": "text"}
    table = pd.DataFrame(rows)
    png = encoded("PNG")
    pictured = [{**rows[0], "arm": "picture", "image": png}, {**rows[1], "arm": "picture", "image": png}]
    labelled = (
        b"type,prompt,completion,final_label\ncontrast_x,Do,No.,2_full_refusal\nx,Say,Yes,1_full_compliance\n"
    )
    requests = b"id,prompt,type,label,focus,note\n1,How do I kill a process?,homonyms,safe,kill,\n"
    requests += b"2,How do I kill a man?,contrast_homonyms,unsafe,kill,\n"
    settings = b'model = "organism"\nseed = 3\nstrengths = [0.5, 1.0]\nlayers = [3, 4]\narms = ["text"]\n'
    outcomes = {
        "model": "m",
        "condition": "baseline",
        "arm": "text",
        "measure": "refusal",
        "value": 0.5,
        "low": 0.4,
    }
    stored = Record("outcomes", pd.DataFrame([{**outcomes, "high": 0.6, "n": 3}])).save(folder / "whole")
    write_tensors(folder / "whole.safetensors", {"t": torch.arange(8.0)}, {"model": "m"})
    vectors = (folder / "whole.safetensors").read_bytes()
    shard = Store(folder / "whole").write(KEY, torch.randn(2, 1, 4))
    values, tensors = encoded_edit(Shift(Site((0,)), torch.ones(1, 4), 1.0, "D"))
    answers = sealed_json(
        {"answers": [{"text": "Yes", "tokens": 1, "finished": True, "first_token": 3}]}, "key"
    )
    return (
        Reader("pairs CSV", (table.to_csv(index=False).encode(),), from_file("f.csv", read_pairs)),
        Reader("pairs JSONL", (lines(rows), lines([*rows, turns])), from_file("f.jsonl", read_pairs)),
        Reader("pairs parquet", (parquet(table), parquet(pd.DataFrame(pictured))), from_file("f.parquet", read_pairs)),
        Reader("settings TOML", (settings,), from_file("run.toml", read_config)),
        Reader("labelled CSV", (labelled,), from_file("labels.csv", read_labelled)),
        Reader("pictures", (png, encoded("JPEG"), encoded("GIF"), encoded("TIFF")), from_file("a.png", opened)),
        Reader("sounds", tuple(map(sound, ("WAV", "FLAC", "OGG", "MP3"))), from_file("a.wav", heard)),
        Reader(
            "benchmark (XSTest)",
            (requests,),
            from_file("xstest_prompts.csv", read_xstest),
        ),
        Reader("endpoint replies", (reply("refused"), reply("yes")), answered),
        Reader(
            "tables",
            (stored.read_bytes(),),
            from_file("run/tables/outcomes.parquet", read_outcomes),
            sealed=True,
        ),
        Reader("stored vectors", (vectors,), from_file("d.safetensors", read_tensors), sealed=True),
        Reader("stored answers", (answers,), from_file("key.json", read_answers), sealed=True),
        Reader("shards", (shard.read_bytes(),), from_file(f"store/{shard.name}", read_shard), sealed=True),
        Reader("stored edits", (values,), lambda content, _: decoded(content, tensors), sealed=True),
    )  # fmt: skip


def read_shard(path: Path) -> object:
    found = Store(path.parent).read(KEY)
    if found is None:
        raise StoreError("not found or damaged, so it is computed again")
    return found


def read_answers(path: Path) -> object:
    return opened_json(path, "key")


def read_outcomes(path: Path) -> object:
    return Record.load(path.parents[1], "outcomes")


def read_xstest(path: Path) -> object:
    return benchmark("xstest", path.parent, allow_partial=True)


def opened(path: Path) -> object:
    return Picture.read(path).open()


def heard(path: Path) -> object:
    found = Sound.read(path)
    return found.samples(16_000), found.excerpt()


def sound(form: str) -> bytes:
    kept = io.BytesIO()
    times = torch.arange(6000) / 8000
    soundfile.write(
        kept, torch.stack([(times * 900).sin(), (times * 300).cos()], 1).numpy() / 2, 8000, format=form
    )
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


def reply(said: str) -> bytes:
    choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": {"total_tokens": 3}}).encode()


class Serving(BaseHTTPRequestHandler):
    """Sends the content that is to be tried, whatever is asked."""

    content = b""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@lru_cache
def endpoint() -> Endpoint:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Serving)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return Endpoint(f"http://127.0.0.1:{server.server_port}/v1", "m", attempts=1)


def answered(content: bytes, _: Path) -> object:
    Serving.content = content
    return endpoint().ask([{"role": "user", "content": "x"}], 3)


def tried(reader: Reader, count: int, seed: int = 0) -> tuple[int, list[str]]:
    """Return how many changed files failed, and what the first of them did."""
    chance, failed, told = random.Random(f"{reader.name} {seed}"), 0, []
    with tempfile.TemporaryDirectory() as folder:
        for content in reader.whole:
            if wrong := why_wrong(reader, content, Path(folder)):
                raise SystemExit(f"{reader.name}: a whole file is not read: {wrong}")
        for place in range(count):
            content = changed(chance.choice(reader.whole), chance)
            if wrong := why_wrong(reader, content, Path(folder)):
                failed += 1
                told += [f"  input {place}: {wrong}"] if len(told) < 5 else []
    return failed, told


def main(count: int, only: str = "") -> int:
    """Print a table of counts and return how many inputs failed."""
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'reader':22}{'inputs':>8}{'failed':>8}{'seconds':>9}")
        for reader in readers(Path(folder)):
            if only in reader.name:
                start = time.monotonic()
                failed, told = tried(reader, count)
                total += failed
                print(
                    f"{reader.name:22}{count:8}{failed:8}{time.monotonic() - start:9.0f}",
                    *told,
                    sep="\n",
                    flush=True,
                )
    return total


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--count", type=int, default=20_000, help="changed files for each reader")
    asked.add_argument("--only", default="", help="only readers whose name holds this")
    given = asked.parse_args()
    raise SystemExit(bool(main(given.count, given.only)))
