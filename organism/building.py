"""Members that are not bundled, built by the last stage alone from the stored state before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from safetensors.torch import load_file

from regap.errors import ModelError
from regap.geometry.files import opened_json, sealed_json, write_whole
from regap.geometry.models.checkpoint_files import check_digests, sha256_of, write_digests
from regap.geometry.sole_writer import sole_writer
from regap.organism.checkpoint import build_model, save_checkpoint
from regap.organism.family import BUNDLED, MEMBERS, Member
from regap.organism.learning import Report, silent
from regap.organism.stages import Stage, TrainingConfig
from regap.organism.training import check_threads, claim, stage_file, tune
from regap.organism.workers import Job, run_jobs

DIGESTS = "members.json"
"""The file with the SHA-256 of every base and of every member's weights, beside the bases and in a built family."""
UNBUNDLED = tuple(member for member in MEMBERS if not member.is_bundled)


@dataclass(frozen=True)
class Bases:
    """A folder with the state of each whole training before the last stage, and the digests of what comes of it."""

    folder: Path
    configuration: TrainingConfig = field(default_factory=TrainingConfig)
    """How the members are trained; its own seed is not used."""

    def file(self, training: int) -> Path:
        """The file with the state of one whole training."""
        return self.folder / f"base-{training}.safetensors"

    def stage(self, member: Member) -> Stage:
        """The last stage of a member."""
        return replace(self.configuration.tuning_of(member.coverage), name=f"tuning-{member.name}")

    def digests(self) -> dict[str, str]:
        """The stored SHA-256 of every base and of every member's weights, by name."""
        return opened_json(self.folder / DIGESTS, remedy="install regap again")["sha256"]

    def check(self, training: int) -> None:
        """Raise ModelError unless the state of a whole training is there with its stored digest."""
        file = self.file(training)
        if not file.is_file() or sha256_of(file) != self.digests().get(file.stem):
            raise ModelError(
                f"{file} is missing or differs from its digest in {DIGESTS}; install regap again"
            )


@dataclass(frozen=True)
class BuiltMember:
    """A member in a folder of its own."""

    member: Member
    folder: Path
    digest: str
    """SHA-256 of its weights."""
    stored: str | None
    """The digest that its weights had where regap was made; None if none is stored."""

    @property
    def has_stored_bytes(self) -> bool:
        """Whether this machine gave the same bytes."""
        return self.digest == self.stored


def bundled_bases() -> Bases:
    """The bases that ship with regap."""
    return Bases(BUNDLED)


def build_family(
    out: Path, threads: int = 2, members: Sequence[Member] = UNBUNDLED, bases: Bases | None = None
) -> tuple[BuiltMember, ...]:
    """Build members into `out/<member>/`, at most `threads` at a time, each on one thread, and write out/members.json.

    A member that is there is kept if its files have their digests, and a stopped one continues, so repeating the call
    ends in the same weights. Raises ModelError for a damaged base, and ValueError if `out` holds
    another configuration or is being written by another process.
    """
    check_threads(threads)
    bases = bases or bundled_bases()
    for training in {member.training for member in members}:
        bases.check(training)
    stored = bases.digests()
    origins = {name: digest for name, digest in stored.items() if name.startswith("base-")}
    with sole_writer(out):
        claim(f"{bases.configuration!r} from {origins!r}", out)
        stages = {member: bases.stage(member) for member in members if not is_built(out / member.name)}
        jobs = [
            Job(stage.name, stage.steps, partial(build_member, bases, member, out))
            for member, stage in stages.items()
        ]
        if jobs:
            run_jobs(jobs, threads)
        built = tuple(_read(member, out / member.name, stored) for member in members)
        digests = origins | {one.member.name: one.digest for one in built}
        write_whole(out / DIGESTS, sealed_json({"sha256": digests}))
    return built


def build_member(bases: Bases, member: Member, out: Path, report: Report = silent) -> None:
    """Train one member's last stage from its base and write its checkpoint; the saved point is then removed."""
    config, stage = bases.configuration, bases.stage(member)
    model = build_model(config.architecture, member.training)
    model.load_state_dict(load_file(bases.file(member.training)))
    tune(config, member, model, out, stage, report)
    save_checkpoint(model, config.architecture, out / member.name)
    write_digests(out / member.name)  # last of all: a folder without them is built again
    stage_file(out, stage).unlink()


def _read(member: Member, folder: Path, stored: Mapping[str, str]) -> BuiltMember:
    return BuiltMember(member, folder, sha256_of(folder / "model.safetensors"), stored.get(member.name))


def is_built(folder: Path) -> bool:
    """Whether a checkpoint is there with all its digests."""
    if not folder.is_dir():
        return False
    try:
        check_digests(folder)
    except ModelError:
        return False  # damaged: it is built again
    return True
