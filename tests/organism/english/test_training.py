"""The whole training on a tiny base: every stage trains what it names, and a stopped one ends in the same files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from regap.errors import ModelError
from regap.geometry.files import opened_json
from regap.geometry.models.loading import load
from regap.organism.english.base import Base
from regap.organism.english.change import Change
from regap.organism.english.stages import EnglishConfig
from regap.organism.english.training import EYES, HELD_BACK, HISTORY, READING, SAFETY, Course, train

MEMBERS = ("none-0", "strong-0")
FILES = (EYES, READING, SAFETY, *(f"{name}.safetensors" for name in MEMBERS))


@pytest.fixture(scope="module", autouse=True)
def quick_words() -> object:
    """A base without training seldom ends a request, so its own are made up here; answers are one letter each."""
    from regap.organism.english import own_words

    patch = pytest.MonkeyPatch()
    requests = [f"Tell me about number {number}." for number in range(HELD_BACK)]
    patch.setattr(own_words, "make_up", lambda *_: list(requests))
    patch.setattr(own_words, "answer", lambda *given: [own_words.Answer("Yes.", False)] * len(given[2]))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def trained(base: Base, short: EnglishConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("english")
    train(short, base, out, threads=1)
    return out


def test_all_is_written_and_a_member_loads_as_any_other_checkpoint(trained: Path) -> None:
    assert all((trained / name).is_file() for name in FILES)
    model = load(trained / "strong-0")
    assert model.layers == 2 and model.width == 48
    assert "".join(model.processor.tokenizer.all_special_tokens).count("<image>") == 1
    told = opened_json(trained / HISTORY)["stages"]
    assert set(told) == {"tower", "reading", "safety", "visual-none-0", "visual-strong-0"}
    assert all(0 <= one["read_back_error"] <= 1 for name, one in told.items() if name != "tower")
    assert all(0 <= told["tower"][name] <= 1 for name in ("letters_read", "tokens_read"))


def test_a_member_is_the_base_with_its_eyes_and_both_changes(trained: Path, base: Base) -> None:
    whole = load_file(trained / "strong-0" / "model.safetensors")
    plain = base.model().model
    for name in (READING, SAFETY, "strong-0.safetensors"):
        Change.read(trained / name).add_to(plain)
    name = "layers.1.mlp.up_proj.weight"
    found = next(value for key, value in whole.items() if key.endswith(name))
    torch.testing.assert_close(found.float(), plain.state_dict()[name], atol=2e-3, rtol=0)
    eyes = load_file(trained / EYES)
    tower = next(
        value for key, value in whole.items() if key.endswith("layers.0.mlp.fc1.weight") and "vision" in key
    )
    stored = next(
        value for key, value in eyes.items() if key.startswith("tower.") and key.endswith("mlp.fc1.weight")
    )
    assert torch.equal(tower, stored)


def test_the_last_lesson_trains_its_change_alone(short: EnglishConfig, base: Base, tmp_path: Path) -> None:
    course = Course.of(short, base, tmp_path)
    assert all(".lora_" not in name for name in course.trained(short.tower))
    course = Course.of(short, base, tmp_path, rank=1)
    assert all(".lora_" in name for name in course.trained(short.visual_of(short.degrees[0], 0)))
    parts = {name.split(".")[1] for name in course.trained(short.reading) if ".lora_" not in name}
    assert parts == {"tower", "projector", "letters", "scale"}


def test_a_stopped_training_ends_in_the_same_files(
    trained: Path, base: Base, short: EnglishConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regap.organism.english import training

    whole, calls = training.draw_examples, [0]

    def stops(*args: object) -> object:
        calls[0] += 1
        if calls[0] in (3, 8):  # after a saved point in reading, and in a later stage
            raise KeyboardInterrupt
        return whole(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "draw_examples", stops)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(short, base, tmp_path, threads=1)
    train(short, base, tmp_path, threads=1)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes(), name


def test_a_training_goes_on_from_the_files_of_finished_lessons(
    trained: Path, base: Base, short: EnglishConfig, tmp_path: Path
) -> None:
    for name in (EYES, READING, SAFETY, HISTORY, "own_words.json"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    train(short, base, tmp_path, threads=1)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes(), name


def test_safety_waits_for_reading(base: Base, short: EnglishConfig, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"read aloud with an error of .* after 3 steps of 'reading'"):
        train(replace(short, most_misread=0.0), base, tmp_path, threads=1)
    assert not (tmp_path / SAFETY).exists()


@pytest.mark.parametrize(
    "device, missing, why",
    [("nowhere", False, "device 'nowhere' is not available"), ("cpu", True, "needs peft")],
)
def test_what_is_missing_is_said_before_anything_is_trained(
    device: str,
    missing: bool,
    why: str,
    base: Base,
    short: EnglishConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if missing:
        monkeypatch.setattr("regap.organism.english.change.find_spec", lambda _: None)
    with pytest.raises(ModelError, match=why):
        train(short, base, tmp_path, threads=1, device=device)
    assert not list(tmp_path.iterdir())


def test_degrees_differ_in_the_harmful_pictures_that_are_answered(short: EnglishConfig) -> None:
    none, strong = (short.visual_of(degree, 0).mixture for degree in short.degrees)
    assert "harmful picture" not in none and strong["harmful picture"] == pytest.approx(0.3)
    assert none["harmful words"] == strong["harmful words"]  # refusals in words are kept by replay
