"""`regap organism family` says which models it built, and in one line whether they have the stored weights."""

from pathlib import Path

import pytest

from regap.organism import building
from regap.organism.building import UNBUNDLED, BuiltMember
from regap.organism.family import Member


@pytest.mark.parametrize(
    ("digests", "told"),
    [
        (("a", "a"), "All 2 members have the weights whose digests are stored."),
        (("b", "a"), "note: 1 of 2 members have other weights here than the stored digests (none-t0-s1)"),
    ],
)
def test_a_family_with_other_weights_is_told_in_one_line(
    regap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digests: tuple[str, str], told: str
) -> None:
    def build(out: Path, threads: int, members: tuple[Member, ...]) -> tuple[BuiltMember, ...]:
        assert members == UNBUNDLED
        pairs = zip(members, digests, strict=False)
        return tuple(BuiltMember(member, out / member.name, digest, "a") for member, digest in pairs)

    monkeypatch.setattr(building, "build_family", build)
    code, said, shown = regap("organism", "family", "--out", tmp_path)
    assert code == 0 and f"--model {tmp_path / 'narrow-t0-s1'}" in shown
    assert told in " ".join(shown.split()) + said


def test_a_member_that_is_not_in_the_family_is_wrong_use(regap, tmp_path: Path) -> None:
    code, said, _ = regap("organism", "family", "--out", tmp_path / "out", "--member", "huge-t0-s1")
    assert code == 2 and "member is 'huge-t0-s1'; choose among none, narrow, middle, wide, none-t0-s1" in said
    assert not (tmp_path / "out").exists()


def test_the_card_of_a_family_that_is_not_built_says_how_to_build_it(regap, tmp_path: Path) -> None:
    code, said, _ = regap("organism", "card", "--family", tmp_path / "none", "--out", tmp_path / "card")
    assert code == 2 and "build it with `regap organism family --out" in said
