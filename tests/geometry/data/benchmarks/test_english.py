"""The project's own English requests: a topic lies in one split, a harmful request has a twin, all are short."""

import csv
from collections import Counter
from pathlib import Path

import pytest

import regap.geometry.data.benchmarks.requests.english as english
from regap.errors import PairError
from regap.geometry.data.benchmarks.loading import benchmark, harmless
from regap.geometry.data.benchmarks.source import BenchmarkFiles
from regap.geometry.data.pairs import normal

TABLE = Path(english.__file__).parents[1] / english.FILE
ROWS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))


def test_counts_are_those_that_were_written() -> None:
    found = Counter((row["split"], row["label"]) for row in ROWS)
    assert found == {
        (split, label): count
        for split in english.SPLITS
        for label, count in (("harmful", 300), ("contrast", 300), ("everyday", 600))
    }
    assert len({row["category"] for row in ROWS if row["label"] == "harmful"}) == 10


def test_a_topic_lies_in_one_split_and_no_request_is_there_twice() -> None:
    splits = {(row["topic"], row["split"]) for row in ROWS}
    assert len(splits) == len({row["topic"] for row in ROWS})
    assert len({normal(row["request"]) for row in ROWS}) == len(ROWS)


def test_each_harmful_request_has_one_twin_of_its_topic() -> None:
    pairs: dict[str, list[dict[str, str]]] = {}
    for row in ROWS:
        if row["label"] != "everyday":
            pairs.setdefault(row["pair"], []).append(row)
    for twins in pairs.values():
        assert sorted(row["label"] for row in twins) == ["contrast", "harmful"]
        assert twins[0]["topic"] == twins[1]["topic"]


def test_requests_are_one_short_line_of_plain_letters() -> None:
    for row in ROWS:
        request = row["request"]
        assert 20 <= len(request) <= 96 and request.isascii() and request.isprintable(), request
        assert request[0].isupper() and request[-1] in ".?" and '"' not in request
        assert max(map(len, request.replace("-", " ").split())) <= 17


def test_the_opening_words_do_not_tell_the_label() -> None:
    """The best guess from the first two words alone is right for few more than half of the requests and their twins."""
    openings: dict[str, Counter[str]] = {}
    for row in ROWS:
        if row["label"] != "everyday":
            openings.setdefault(" ".join(row["request"].split()[:2]), Counter())[row["label"]] += 1
    right = sum(max(found.values()) for found in openings.values())
    assert right / sum(sum(found.values()) for found in openings.values()) < 0.6


def test_only_held_out_topics_are_read() -> None:
    pairs, twins, everyday = benchmark("english"), harmless("english-twins"), harmless("english-everyday")
    assert [len(each) for each in (pairs, twins, everyday)] == [300, 300, 600]
    assert {pair.label for pair in pairs} == {"harmful"} and len(benchmark("english-twins")) == 600
    held = {row["request"] for row in ROWS if row["split"] == "held_out"}
    assert {pair.request for each in (pairs, twins, everyday) for pair in each} == held


def test_a_topic_is_one_cluster_in_one_split_with_its_twins() -> None:
    topics = {row["request"]: row["topic"] for row in ROWS}
    splits: dict[str, set[str]] = {}
    clusters: dict[str, set[str]] = {}
    for pair in (*benchmark("english"), *harmless("english-twins")):
        splits.setdefault(topics[pair.request], set()).add(pair.split)
        clusters.setdefault(topics[pair.request], set()).add(pair.cluster)
    assert {len(found) for found in splits.values()} == {1} == {len(found) for found in clusters.values()}
    assert 50 < len(clusters) <= 60


def test_a_split_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / english.FILE
    path.write_text("split,label,category,topic,pair,request\ntest,harmful,a,b,c,Do it.\n")
    with pytest.raises(PairError, match=r"row 1 has split 'test'; write one of training, held_out"):
        list(english.CARDS[0].load(BenchmarkFiles("english", tmp_path)))


def test_a_limit_keeps_as_many_topics_as_can_be() -> None:
    few = benchmark("english", limit=12)
    for split in ("calibration", "test"):
        own = [pair for pair in few if pair.split == split]
        assert len(own) == len({pair.cluster for pair in own}) == 12
