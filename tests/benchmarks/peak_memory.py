"""Peak memory of one way to read last tokens, in a process of its own: `peak_memory.py full llava-8x256 ours`.

Prints the peak of the process and its rise over what the process held before the pass, in bytes.
"""

import sys
from dataclasses import replace
from pathlib import Path

import shapes

from regap.geometry.forward.pending_states import read
from regap.geometry.prompts.batch import Batch


def with_pictures(batch: Batch) -> Batch:
    """Return the batch with names for its pictures, each another one: what is seen of them may be kept."""
    return replace(batch, pictures=tuple(map(str, range(len(batch)))), kept={})


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def main(size: str, name: str, mode: str) -> None:
    """Build both models, so that both processes hold the same, and run one of them."""
    shape = {"full": shapes.FULL, "small": shapes.SMALL}[size][name]
    subject = shapes.subject(shape)
    batch, layers = with_pictures(subject.batch), range(shape.layers)
    run = {"bare": shapes.bare_forward(subject), "ours": lambda: read(subject.model, batch, layers)}[mode]
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _status("VmRSS")
    for _ in range(3):
        run()
    peak = _status("VmHWM")
    print(peak, max(0, peak - before))


if __name__ == "__main__":
    main(*sys.argv[1:])
