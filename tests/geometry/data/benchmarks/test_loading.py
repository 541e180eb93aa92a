"""Benchmarks by name: counts, downloads, harmless sources, and twins across benchmarks."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regap.errors import PairError
from regap.geometry.data.benchmarks.catalogue import card_of
from regap.geometry.data.benchmarks.loading import benchmark, harmless
from regap.geometry.data.benchmarks.source import BenchmarkFiles, decoded
from regap.geometry.data.benchmarks.twins import twins_together
from regap.geometry.data.pairs import Pair, Pairs, Prompt, split_of

Distributed = Callable[[str], Path]
DATA = Path(__file__).parents[5] / "shared" / "data"
given = pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' own files are not beside the project")


def pair(name: str, request: str, label: Any = "harmful", cluster: str = "", text: bool = True) -> Pair:
    prompts = {"text": Prompt(request)} if text else {"caption": Prompt(request)}
    return Pair(name, label, "all", request, "test", prompts, cluster=cluster)


@given
@pytest.mark.parametrize(
    ("name", "count", "arms"),
    [("figstep-tiny", 50, 3), ("jailbreakbench", 200, 1), ("xstest", 450, 1)],
)
def test_the_real_files_are_read_whole(name: str, count: int, arms: int) -> None:
    pairs = benchmark(name, DATA)
    assert len(pairs) == count and len(pairs.arms) == arms and pairs.notes == ()
    assert all(pair.split == split_of(pair.cluster) for pair in pairs)


def test_a_name_that_is_not_known_is_answered_with_the_nearest() -> None:
    with pytest.raises(PairError, match="benchmark 'figstep_tiny' is not known; did you mean figstep-tiny"):
        card_of("figstep_tiny")
    with pytest.raises(PairError, match="benchmark 'zzzz' is not known; choose one of figstep, "):
        card_of("zzzz")


def test_a_benchmark_that_is_not_on_the_hub_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        PairError, match=r"figstep cannot be fetched from the hub.*get it from https://github.com/ThuCCSLab"
    ):
        benchmark("figstep", tmp_path, download=True)


def test_nothing_is_fetched_unless_asked_and_what_is_there_is_not_fetched_again(
    monkeypatch: pytest.MonkeyPatch, distributed: Distributed, tmp_path: Path
) -> None:
    asked = []

    def fetched(repository: str, *, repo_type: str, local_dir: Path, allow_patterns: list[str]) -> None:
        asked.append((repository, repo_type, allow_patterns))
        distributed("jailbreakbench").rename(local_dir)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    with pytest.raises(PairError, match="name the folder that was downloaded"):
        benchmark("jailbreakbench", tmp_path, allow_partial=True)
    assert asked == []
    for _ in range(2):
        assert len(benchmark("jailbreakbench", tmp_path, download=True, allow_partial=True)) == 12
    assert asked == [("JailbreakBench/JBB-Behaviors", "dataset", ["data/*-behaviors.csv"])]


def test_an_interrupted_download_goes_on(
    monkeypatch: pytest.MonkeyPatch, distributed: Distributed, tmp_path: Path
) -> None:
    whole, tried = distributed("mossbench"), []

    def fetched(*_: object, local_dir: Path, **__: object) -> None:
        tried.append(local_dir)
        if len(tried) == 1:
            for part in ("data", "data_contrast"):
                (local_dir / part).mkdir(parents=True)
                (local_dir / part / "information.json").write_bytes(
                    (whole / part / "information.json").read_bytes()
                )
            raise OSError("the line broke")
        shutil.copytree(whole, local_dir, dirs_exist_ok=True)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    monkeypatch.setitem(vars(card_of("mossbench")), "hub", "AIcell/MOSSBench")
    home = tmp_path / "data"
    with pytest.raises(PairError, match=r"could not be downloaded \(the line broke\)"):
        benchmark("mossbench", home, download=True)
    assert len(benchmark("mossbench", home, download=True, allow_partial=True)) == 4
    assert len(benchmark("mossbench", home, download=True, allow_partial=True)) == 4
    assert tried == [home / "mossbench"] * 2


def test_offline_nothing_is_fetched_and_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(PairError, match=r"sinwang/SIUO could not be downloaded .*check the network"):
        benchmark("siuo", tmp_path, download=True)


def test_missing_images_come_with_what_to_do_about_them(distributed: Distributed) -> None:
    folder = distributed("pope")
    shutil.rmtree(folder / "val2014")
    with pytest.raises(PairError, match=r"2 of 2 files are missing .*put the COCO val2014 images"):
        benchmark("pope", folder)


def test_a_download_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError("no network\nat all")

    monkeypatch.setattr("huggingface_hub.snapshot_download", failing)
    with pytest.raises(PairError) as caught:
        benchmark("siuo", tmp_path, download=True)
    assert "sinwang/SIUO could not be downloaded (no network); check the network" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_harmless_pairs_are_drawn_by_their_words_and_not_by_their_order() -> None:
    few = harmless(count=40)
    assert len(few) == 40 and "40 of 200 harmless pairs were drawn" in few.notes[0]
    assert {pair.pair_id for pair in few} < {pair.pair_id for pair in harmless(count=80)}
    assert len({pair.category for pair in few}) > 5
    assert len(harmless(count=500)) == 200


def test_the_harmless_half_of_a_benchmark_will_do(distributed: Distributed) -> None:
    found = harmless("jailbreakbench", distributed("jailbreakbench"), allow_partial=True)
    assert {pair.label for pair in found} == {"harmless"} and len(found) == 6
    with pytest.raises(PairError, match="no pair has label=harmless"):
        harmless("advbench", distributed("advbench"), allow_partial=True)


def test_equal_requests_of_two_benchmarks_are_twins() -> None:
    together = twins_together(
        Pairs((pair("a/1", "Do  the thing!"), pair("b/9", "do the thing"), pair("c", "else")))
    )
    first, second, third = together
    assert first.cluster == second.cluster == "do the thing" and third.cluster == "else"
    assert first.split == second.split == split_of("do the thing")


def test_twins_of_twins_belong_together_and_follow_the_first_harmful_request() -> None:
    chain = (
        pair("1", "harmless b", "harmless", "x"),
        pair("2", "harmful z", "harmful", "x"),
        pair("3", "harmless b", "harmless", "y"),
        pair("4", "harmful m", "harmful", "y"),
    )
    for order in (chain, chain[::-1]):
        assert {each.cluster for each in twins_together(Pairs(order))} == {"harmful m"}
        assert {each.split for each in twins_together(Pairs(order))} == {split_of("harmful m")}


def test_the_same_words_about_two_images_are_no_twins() -> None:
    """The positive control: with a text arm, the same two would be."""
    words = "Is there a dog?"
    shown = (pair("1", words, cluster="i", text=False), pair("2", words, cluster="j", text=False))
    apart = twins_together(Pairs(shown))
    assert [each.cluster for each in apart] == ["i", "j"]
    joined = twins_together(Pairs((pair("1", words, cluster="i"), pair("2", words, cluster="j"))))
    assert len({each.cluster for each in joined}) == 1


def test_many_groups_of_twins_are_told_apart() -> None:
    many = twins_together(
        Pairs(tuple(pair(f"{n}", f"request {n}", cluster=f"c{n // 3}") for n in range(3000)))
    )
    assert len({each.cluster for each in many}) == 1000


@pytest.mark.parametrize("text", ["plain\nwords", "naïve café\n日本語", ""])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_read_with_and_without_a_mark(text: str, encoding: str) -> None:
    assert decoded(text.encode(encoding)) == (text, 0)


def test_lines_in_another_encoding_are_read_and_counted_and_garble_no_other() -> None:
    data = "naïve\n".encode() + "café “so”\n".encode("cp1252") + "日本語\n".encode() + b"\x81\xff"
    text, odd = decoded(data)
    assert text == "naïve\ncafé “so”\n日本語\n\x81ÿ" and odd == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_benchmark_saved_by_another_program_is_read_alike(encoding: str, distributed: Distributed) -> None:
    folder = distributed("strongreject")
    path = folder / "strongreject_dataset/strongreject_dataset.csv"
    path.write_text(path.read_text().replace("Do thing 1", "Do thing “é”").replace("\n", "\r\n"), encoding)
    pairs = benchmark("strongreject", folder, allow_partial=True)
    assert pairs.pairs[1].request == "Do thing “é”"
    assert any("are not UTF-8 and were read as Windows-1252" in note for note in pairs.notes) == (
        encoding == "cp1252"
    )


def test_a_name_that_stands_twice_in_a_json_object_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"1": {"a": 1}, "1": {"a": 2}}')
    with pytest.raises(PairError, match=r"is not valid JSON \(the name '1' occurs twice\)"):
        list(BenchmarkFiles("set", tmp_path).entries(tmp_path / "a.json"))


@pytest.mark.parametrize("content", ["[]", "{}", "3", '{"1": 2}', "[" * 100_000])
def test_json_of_another_shape_is_an_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(PairError, match=r"a.json"):
        list(BenchmarkFiles("set", tmp_path).entries(tmp_path / "a.json"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(distributed: Distributed) -> None:
    folder = distributed("advbench")
    path = folder / "data/advbench/harmful_behaviors.csv"
    path.chmod(0)
    with pytest.raises(PairError, match="Permission denied; check the file"):
        benchmark("advbench", folder)


def test_an_empty_request_is_named(distributed: Distributed) -> None:
    folder = distributed("advbench")
    path = folder / "data/advbench/harmful_behaviors.csv"
    path.write_text("goal,target\n  ,Sure\n")
    with pytest.raises(PairError, match=r"harmful_behaviors.csv, row 1: goal is empty; fill it in"):
        benchmark("advbench", folder)


def test_no_picture_is_looked_at_but_those_of_the_pairs_asked_for(distributed: Distributed) -> None:
    whole = benchmark("mm-safetybench", distributed("mm-safetybench"), allow_partial=True)
    few = benchmark("mm-safetybench", distributed("mm-safetybench"), limit=1, allow_partial=True)
    assert [pair.pair_id for pair in few] == [pair.pair_id for pair in whole.first(1)]
    assert [(pair.split, pair.cluster) for pair in few] == [
        (pair.split, pair.cluster) for pair in whole.first(1)
    ]
    assert few.pairs == whole.first(1).pairs and len(few) < len(whole)


def test_a_missing_picture_of_a_pair_that_is_not_asked_for_is_no_error(distributed: Distributed) -> None:
    folder = distributed("pope")
    pictures = sorted((folder / "val2014").iterdir())
    first = benchmark("pope", folder, limit=1, allow_partial=True)
    asked = {prompt.picture.data for pair in first for prompt in pair.prompts.values() if prompt.picture}
    others = [path for path in pictures if path not in asked]
    assert others
    for path in others:
        path.write_bytes(b"damaged")
    assert benchmark("pope", folder, limit=1, allow_partial=True).pairs == first.pairs
    for path in pictures:
        path.write_bytes(b"damaged")
    with pytest.raises(PairError, match="cannot be decoded"):
        benchmark("pope", folder, limit=1)
