"""Sentences about images name none where speech is corrected, and stay as they are elsewhere."""

import pytest

from regap.analyses.spoken import in_words_of

TOLD = "Images collapse; a probe fitted on images; the image arm; removed from image prompts; a blank image"


@pytest.mark.parametrize("arm", ["typographic", "picture-2", None, ""])
def test_other_arms_keep_their_words(arm: str | None) -> None:
    assert in_words_of(arm, TOLD) == TOLD


@pytest.mark.parametrize("arm", ["speech", "speech_noise", "speech-full"])
def test_speech_is_named(arm: str) -> None:
    assert in_words_of(arm, TOLD) == (
        "Spoken requests collapse; a probe fitted on spoken requests; the speech arm; removed from spoken prompts; "
        "a blank image"
    )


def test_names_in_tables_are_no_words() -> None:
    assert in_words_of("speech", "probe_image patch-image") == "probe_image patch-image"
