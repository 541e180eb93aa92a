"""A checkpoint folder of every family loads without torchvision, in the layout of today and in that of the hub."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import PROMPTS, Subject
from tiny_listening import tekken_file
from tiny_models import FAMILIES

from regap.geometry.models.loading import load
from regap.geometry.prompts.batch import collate

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def folder(of: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp(of.family)
    of.bare.save_pretrained(made)
    processor = FAMILIES[of.family]().processor
    if of.family == "voxtral":  # as it is distributed
        tekken_file(made)
        processor = processor.feature_extractor
    processor.save_pretrained(made)
    return made


def as_on_the_hub(folder: Path) -> None:
    """Image settings and chat template in files of their own, under the names that need torchvision."""
    settings = json.loads((folder / "processor_config.json").read_text())
    images = settings.pop("image_processor") | {"processor_class": settings["processor_class"]}
    images["image_processor_type"] = images["image_processor_type"].removesuffix("Pil")
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    (folder / "processor_config.json").write_text(json.dumps(settings))
    template = folder / "chat_template.jinja"
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template.read_text()}))
    template.unlink()


@pytest.mark.parametrize("layout", ["now", "hub"])
@pytest.mark.parametrize(
    "of", [(family, "float32") for family in FAMILIES], indirect=True, ids=list(FAMILIES)
)
def test_a_folder_is_the_model_that_was_saved(
    layout: str, of: Subject, folder: Path, capfd: pytest.CaptureFixture
) -> None:
    if layout == "hub" and of.model.sees_images:
        as_on_the_hub(folder)
    capfd.readouterr()
    model = load(folder)
    assert capfd.readouterr() == ("", "")
    kind = of.kinds[-1]
    batch = collate(model, PROMPTS[kind], range(len(PROMPTS[kind])))
    expected: Any = of.batch(kind).inputs
    assert batch.inputs.keys() == expected.keys()
    assert all(torch.equal(batch.inputs[name], expected[name]) for name in expected)
    with torch.inference_mode():
        assert torch.equal(model.hf(**batch.inputs).logits, of.model.hf(**expected).logits)
