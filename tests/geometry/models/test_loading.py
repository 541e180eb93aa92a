"""A model is loaded offline, installs nothing, says nothing, and is known by all that its numbers depend on."""

import shutil
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPVisionConfig
from transformers.utils import logging

from regap.errors import ModelError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.prefix import run
from regap.geometry.models.bridge import bridge
from regap.geometry.models.checkpoints import quantization
from regap.geometry.models.decoder import Decoder, find_decoder
from regap.geometry.models.loading import Model, load
from regap.geometry.prompts.batch import collate, describe
from regap.organism.checkpoint import build_processor, save_checkpoint


@pytest.fixture(scope="module")
def folder(plain: Any, tiny_architecture: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("checkpoint") / "tiny"
    save_checkpoint(plain, tiny_architecture, made)
    return made


def refused(source: Any, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        load(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_checkpoint_folder_loads_without_network_installer_or_noise(
    folder: Path, plain: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    def forbidden(*arguments: Any, **options: Any) -> None:
        raise AssertionError(f"called with {arguments}")

    for name in ("run", "Popen", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, forbidden)
    monkeypatch.setattr("socket.socket.connect", forbidden)
    model = load(folder)
    seen = capfd.readouterr()
    assert (seen.out, seen.err) == ("", "")
    assert (model.layers, model.width, model.name) == (4, 32, folder.name)
    assert model.hf.dtype == torch.float32 and not model.hf.training
    stored = plain.lm_head.weight.half().float()
    assert torch.equal(dict(model.hf.named_parameters())["lm_head._original_component.weight"], stored)


@pytest.mark.parametrize("was_on", [True, False])
def test_loading_leaves_the_progress_bars_of_others_as_they_were(was_on: bool, folder: Path) -> None:
    before = logging.is_progress_bar_enabled()
    (logging.enable_progress_bar if was_on else logging.disable_progress_bar)()
    load(folder)
    assert logging.is_progress_bar_enabled() == was_on
    (logging.enable_progress_bar if before else logging.disable_progress_bar)()


def test_what_is_no_model_is_refused(folder: Path, tmp_path: Path) -> None:
    assert "has no config.json, so it is not a checkpoint; check the path" in refused(tmp_path)
    assert "is neither a folder nor a hub id of the form OWNER/NAME" in refused(str(tmp_path / "absent"))
    assert "is neither a folder nor a hub id of the form OWNER/NAME" in refused("organisms")
    assert "if it is a hub id that is not cached yet, allow the download" in refused("owner/absent")
    (tmp_path / "config.json").write_text("{")
    assert f"model {tmp_path}: " in refused(tmp_path)


def test_an_organism_that_is_not_bundled_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("half", "none"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("regap.organism.family.BUNDLED", tmp_path)
    assert refused("organism:quarter") == "organism 'quarter' is not bundled; choose one of half, none"


def test_a_model_already_built_needs_its_processor(plain: Any) -> None:
    assert "processor is missing; give the processor that belongs to the model" in refused(plain)


def test_without_a_chat_template_there_is_no_prompt(folder: Path, plain: Any, tiny_architecture: Any) -> None:
    processor = build_processor(tiny_architecture)
    processor.chat_template = None
    for source in (folder, deepcopy(plain)):
        assert "its processor has no chat template; add chat_template.jinja" in refused(
            source, processor=processor
        )


def renamed(plain: Any, names: dict[str, str]) -> Any:
    """The model with parts of its decoder under other names, as a layout nobody has seen has them."""
    odd = deepcopy(plain)
    decoder = odd.model.language_model
    for old, new in names.items():
        setattr(decoder, new, getattr(decoder, old))
        delattr(decoder, old)
        vars(decoder)[old] = getattr(
            decoder, new
        )  # its forward still finds it, the search for modules does not
    odd.get_input_embeddings = lambda: getattr(decoder, names.get("embed_tokens", "embed_tokens"))
    return odd


def test_a_layout_nobody_has_seen_is_found(plain: Any, tiny: Model, tiny_architecture: Any) -> None:
    odd = renamed(plain, {"layers": "stages", "embed_tokens": "words", "norm": "last_norm"})
    assert find_decoder(odd) == Decoder(
        "model.language_model.words",
        "model.language_model.stages",
        "model.language_model.last_norm",
        "lm_head",
    )


def test_what_is_not_found_is_said(plain: Any, tiny_architecture: Any) -> None:
    odd = deepcopy(plain)
    odd.model.language_model.layers = torch.nn.ModuleList([torch.nn.Linear(32, 32)])
    assert (
        "no lists of blocks that take hidden_states are beside its embedding model.language_model.embed_tokens "
        "(there: embed_tokens, layers, norm, rotary_emb)"
    ) in refused(odd, processor=build_processor(tiny_architecture))
    odd.get_input_embeddings = lambda: None
    assert "it names no input embedding; give the model itself" in refused(
        odd, processor=build_processor(tiny_architecture)
    )


def test_a_model_is_wrapped_once(plain: Any, tiny_architecture: Any) -> None:
    model = load(deepcopy(plain), processor=build_processor(tiny_architecture))
    assert "is under hooks already; use what load() returned, or a fresh copy" in refused(
        model.hf, processor=model.processor
    )


@pytest.mark.parametrize("chosen", ["eager", "sdpa"])
def test_attention_stays_as_it_was_chosen(chosen: str, folder: Path, plain: Any) -> None:
    assert load(folder, attention=chosen).hf.config.get_text_config()._attn_implementation == chosen
    mixed = deepcopy(plain)
    mixed.set_attn_implementation({"text_config": chosen, "vision_config": "eager"})
    bridge(mixed)
    parts = (mixed.config.text_config, mixed.config.vision_config)
    assert [part._attn_implementation for part in parts] == [chosen, "eager"]


def test_a_model_is_laid_out_over_devices(folder: Path) -> None:
    model = load(folder, device_map={"": "cpu"})
    assert model.device == torch.device("cpu") and model.fingerprint == load(folder).fingerprint
    assert "meta" not in {str(parameter.device) for parameter in model.hf.parameters()}


def test_a_part_that_lies_elsewhere_between_passes_changes_nothing(folder: Path) -> None:
    parts = ("model.vision_tower", "model.multi_modal_projector", "lm_head")
    split = load(folder, device_map={**dict.fromkeys(parts, "cpu"), "model.language_model": "disk"})
    assert {str(parameter.device) for parameter in split.hf.parameters()} == {"cpu", "meta"}
    whole, prompts = load(folder), [pair.prompts["blank"] for pair in _pairs()]
    assert split.device == torch.device("cpu")
    found = [run(model, collate(model, prompts, range(len(prompts))), range(4)) for model in (split, whole)]
    assert torch.equal(found[0].states, found[1].states) and torch.equal(found[0].logits, found[1].logits)


def test_fewer_bits_need_their_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert refused(folder, quantize="4bit") == (
        "quantize=4bit needs bitsandbytes, which is not installed; pip install 'regap[quantized]'"
    )


def test_fewer_bits_are_asked_of_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    assert quantization("8bit", "float32").load_in_8bit
    four = quantization("4bit", "bfloat16")
    assert (four.load_in_4bit, four.bnb_4bit_compute_dtype) == (True, torch.bfloat16)


@pytest.mark.usefixtures("unchecked")
def test_a_setting_that_cannot_be_used_is_refused(folder: Path) -> None:
    odd: Any = "2bit"
    assert "quantize is '2bit'; write 8bit or 4bit" in refused(folder, quantize=odd)
    assert "dtype 'float31' is not a floating-point dtype of torch" in refused(folder, dtype="float31")
    assert f"model {folder}: " in refused(folder, attention="unheard_of")


def test_a_model_that_answers_no_prompt_is_refused(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "tower")
    CLIPVisionConfig().save_pretrained(other)
    assert "a 'clip_vision_model' model does not generate text; give a vision-language model" in refused(
        other
    )


def test_a_layer_beyond_the_last_is_named(tiny: Model) -> None:
    assert tiny.hook_name(3) == "blocks.3.hook_out"
    for layer in (-1, 4):
        with pytest.raises(ModelError, match=f"layer {layer} is not in model .*; its blocks are 0 to 3"):
            tiny.hook_name(layer)


def test_equal_models_have_equal_fingerprints(
    plain: Any, tiny: Model, tiny_architecture: Any, folder: Path
) -> None:
    again = load(deepcopy(plain), processor=build_processor(tiny_architecture))
    assert again.fingerprint == tiny.fingerprint
    describe(again, next(iter(_pairs())).prompts["text"])  # using a tokenizer leaves padding settings in it
    assert load(deepcopy(plain), processor=again.processor).fingerprint == tiny.fingerprint
    assert load(folder).fingerprint == load(folder).fingerprint != tiny.fingerprint


def _pairs() -> Pairs:
    from regap.organism.prompts import HeldOut, held_out_pairs

    return held_out_pairs(HeldOut(1, 1, 1, arms=("blank",)))


def test_another_weight_template_image_setting_or_word_gives_another_fingerprint(
    plain: Any, tiny: Model, tiny_architecture: Any
) -> None:
    def changed(what: str) -> str:
        model, processor = deepcopy(plain), build_processor(tiny_architecture)
        if what == "weight":
            with torch.no_grad():
                model.model.language_model.layers[2].mlp.down_proj.weight[0, 0] += 1e-6
        elif what == "template":
            processor.chat_template = f"{processor.chat_template} "
        elif what == "image":
            processor.image_processor.image_mean = [0.4, 0.5, 0.5]
        elif what == "word":
            processor.tokenizer.add_tokens(["sesquipedalian"])
        elif what == "format":
            model = model.to(torch.bfloat16)
        return load(model, processor=processor).fingerprint

    kinds = ("nothing", "weight", "template", "image", "word", "format")
    found = {kind: changed(kind) for kind in kinds}
    assert found["nothing"] == tiny.fingerprint
    assert len(set(found.values())) == len(kinds)


def test_a_hub_id_that_is_cached_loads_offline_and_is_known_by_its_commit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--owner--tiny"
    for number, commit in enumerate(("a" * 40, "b" * 40)):
        shutil.copytree(folder, repository / "snapshots" / commit)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / ("main" if number == 0 else "later")).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", None)
    model, later = load("owner/tiny"), load("owner/tiny", revision="later")
    assert (model.name, model.layers) == ("owner/tiny", 4)
    assert model.fingerprint.startswith(f"owner/tiny@{'a' * 40}:")
    assert later.fingerprint.startswith(f"owner/tiny@{'b' * 40}:")
    assert "allow the download" in refused("owner/tiny", revision="absent")


@pytest.mark.parametrize("file", ["chat_template.jinja", "config.json", "model.safetensors"])
def test_a_changed_file_gives_another_fingerprint(file: str, folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "copy")
    assert load(other).fingerprint == load(folder).fingerprint
    data = (other / file).read_bytes()
    (other / file).write_bytes(data[:-1] + b"\x01" if file.endswith("safetensors") else data + b" \n")
    assert load(other).fingerprint != load(folder).fingerprint


def test_padding_goes_to_the_left(plain: Any, tiny_architecture: Any) -> None:
    processor = build_processor(tiny_architecture)
    processor.tokenizer.padding_side = "right"
    assert load(deepcopy(plain), processor=processor).tokenizer.padding_side == "left"


@pytest.mark.parametrize("device", ["cuda", "bogus", "cuda:99"])
def test_a_device_that_is_not_here_is_named_before_weights_are_read(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("it is here")
    monkeypatch.setattr("regap.geometry.models.loading.read_weights", None)
    with pytest.raises(ModelError, match=f"device '{device}' is not available; write cpu"):
        load("organism", device=device)
