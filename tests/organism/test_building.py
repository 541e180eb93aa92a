"""A family is a function of its bases: built again it has the same bytes, and every digest is checked."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_organism import SMALL

from regap.errors import ConfigError, ModelError, StoreError
from regap.geometry.files import sealed_json, write_whole
from regap.geometry.models.checkpoint_files import sha256_of
from regap.geometry.models.loading import load
from regap.geometry.sole_writer import sole_writer
from regap.organism import training
from regap.organism.building import DIGESTS, UNBUNDLED, Bases, build_family, build_member, bundled_bases
from regap.organism.checkpoint import build_model, load_checkpoint
from regap.organism.family import FAMILY, MEMBERS, Coverage, Member, member_models
from regap.organism.learning import read_weights
from regap.organism.stages import TUNING, TrainingConfig

HALF = Coverage("half", 0.5)
TINY = (Member(HALF), Member(HALF, 0, 1), Member(HALF, 1, 0), Member(HALF, 1, 1))
WEIGHTS = "model.safetensors"


def _store(bases: Bases, **others: str) -> None:
    digests = {bases.file(training).stem: sha256_of(bases.file(training)) for training in (0, 1)}
    write_whole(bases.folder / DIGESTS, sealed_json({"sha256": digests | others}))


@pytest.fixture
def bases(tmp_path: Path) -> Bases:
    tuning = replace(TUNING, steps=4, batch=4, warmup=2)
    made = Bases(tmp_path / "bases", TrainingConfig(architecture=SMALL, tuning=tuning, save_every=2))
    made.folder.mkdir()
    for seed in (0, 1):
        save_file(build_model(SMALL, seed).state_dict(), made.file(seed))
    _store(made)
    return made


def _damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


class Stop(Exception):
    pass


def _stop_at_the_end(name: str, done: int, steps: int, loss: float) -> None:
    if done == steps:
        raise Stop


def test_a_family_built_twice_has_the_same_bytes_and_its_members_differ(bases: Bases, tmp_path: Path) -> None:
    first = build_family(tmp_path / "first", 1, TINY, bases)
    again = build_family(tmp_path / "again", 1, TINY, bases)
    for one, other in zip(first, again, strict=True):
        files = {path.name for path in one.folder.iterdir()}
        assert files == {path.name for path in other.folder.iterdir()} >= {"config.json", WEIGHTS}
        assert all((one.folder / name).read_bytes() == (other.folder / name).read_bytes() for name in files)
    assert len({one.digest for one in first}) == len(TINY)
    assert not list((tmp_path / "first" / training.STAGES_FOLDER).glob("*.safetensors"))


def test_two_processes_give_the_bytes_of_one(bases: Bases, tmp_path: Path) -> None:
    alone = build_family(tmp_path / "alone", 1, TINY[2:], bases)
    together = build_family(tmp_path / "together", 2, TINY[2:], bases)
    assert [one.digest for one in alone] == [one.digest for one in together]


def test_a_stopped_member_continues_to_the_same_bytes(bases: Bases, tmp_path: Path) -> None:
    [whole] = build_family(tmp_path / "whole", 1, TINY[3:], bases)
    out = tmp_path / "stopped"
    with pytest.raises(Stop):
        build_member(bases, TINY[3], out, _stop_at_the_end)
    assert not (out / TINY[3].name).exists()
    assert training.stage_file(out, bases.stage(TINY[3])).exists()
    assert build_family(out, 1, TINY[3:], bases)[0].digest == whole.digest


def test_what_is_built_is_kept_and_what_is_damaged_is_built_again(bases: Bases, tmp_path: Path) -> None:
    before = build_family(tmp_path / "out", 1, TINY[:2], bases)
    times = [(one.folder / WEIGHTS).stat().st_mtime_ns for one in before]
    damaged = before[1].folder / WEIGHTS
    _damage(damaged)
    with pytest.raises(ModelError, match=rf"{WEIGHTS} differs from its digest in digests.json; delete"):
        load(str(before[1].folder))
    after = build_family(tmp_path / "out", 1, TINY[:2], bases)
    assert [one.digest for one in after] == [one.digest for one in before]
    assert (after[0].folder / WEIGHTS).stat().st_mtime_ns == times[0]
    assert load(str(after[1].folder)).layers == SMALL.decoder_layers


def test_a_damaged_base_or_list_of_digests_is_refused(bases: Bases, tmp_path: Path) -> None:
    _damage(bases.file(1))
    build_family(tmp_path / "out", 1, TINY[:1], bases)  # this one needs another base
    with pytest.raises(ModelError, match=r"base-1.safetensors is missing or differs from its digest"):
        build_family(tmp_path / "out", 1, TINY[2:], bases)
    listed = bases.folder / DIGESTS
    listed.write_bytes(listed.read_bytes().replace(b"base-1", b"base-2"))
    with pytest.raises(StoreError, match=r"members.json is damaged"):
        build_family(tmp_path / "out", 1, TINY[:1], bases)


def test_a_member_knows_whether_it_has_the_stored_bytes(bases: Bases, tmp_path: Path) -> None:
    [built] = build_family(tmp_path / "out", 1, TINY[1:2], bases)
    assert built.stored is None and not built.has_stored_bytes
    for digest, same in ((built.digest, True), ("0" * 64, False)):
        _store(bases, **{built.member.name: digest})
        assert build_family(tmp_path / "out", 1, TINY[1:2], bases)[0].has_stored_bytes is same


def test_a_folder_holds_one_family(bases: Bases, tmp_path: Path) -> None:
    build_family(tmp_path / "out", 1, TINY[:1], bases)
    other = replace(bases, configuration=replace(bases.configuration, visual_refusals=0.2))
    with pytest.raises(ValueError, match="holds stages of another configuration"):
        build_family(tmp_path / "out", 1, TINY[:1], other)


def test_one_process_builds_in_a_folder(bases: Bases, tmp_path: Path) -> None:
    with sole_writer(tmp_path / "out"), ThreadPoolExecutor(1) as other:
        building = other.submit(build_family, tmp_path / "out", 1, TINY[:1], bases)
        with pytest.raises(ConfigError, match="is being written by another process"):
            building.result()
    assert build_family(tmp_path / "out", 1, TINY[:1], bases)


def test_the_first_tuning_seed_is_that_of_a_whole_training(bases: Bases, tmp_path: Path) -> None:
    """A member with tuning seed 0 is the one that `regap organism train` writes."""
    config = replace(bases.configuration, seed=1, safety=replace(TUNING, name="safety", steps=1))
    state = {f"weight/{name}": value for name, value in load_file(bases.file(1)).items()}
    stored = training.stage_file(tmp_path, config.safety)
    stored.parent.mkdir()
    save_file(state, stored, metadata={"progress": '{"step": 1, "seconds": 0.0, "losses": [1.0]}'})
    training.tuning_stage(config, tmp_path, HALF)
    trained = read_weights(training.stage_file(tmp_path, config.tuning_of(HALF)))
    for member, same in ((TINY[2], True), (TINY[3], False)):
        [built] = build_family(tmp_path / "out", 1, [member], bases)
        found = load_checkpoint(built.folder).state_dict()
        assert all(torch.equal(found[name].half(), trained[name].half()) for name in trained) is same


def test_the_family_has_sixteen_members_with_names_of_their_own() -> None:
    assert len(MEMBERS) == len({member.name for member in MEMBERS}) == 16
    assert [member.name for member in MEMBERS[:5]] == ["none", "narrow", "middle", "wide", "none-t0-s1"]
    assert {member.name for member in MEMBERS if member.is_bundled} < {coverage.name for coverage in FAMILY}
    with pytest.raises(ValueError, match="tuning is -1; give seeds of at least 0"):
        Member(HALF, 0, -1)


def test_a_member_that_is_not_built_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none-t0-s1 is not in .*; build it with `regap organism family"):
        member_models(tmp_path)


def test_the_bundled_bases_have_their_digests() -> None:
    bases = bundled_bases()
    for seed in (0, 1):
        bases.check(seed)
    assert {member.name for member in MEMBERS} <= set(bases.digests())
    for member in set(MEMBERS) - set(UNBUNDLED):
        assert sha256_of(bases.folder / member.name / WEIGHTS) == bases.digests()[member.name]
