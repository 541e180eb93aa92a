"""What is said after thinking, in the marks of each family, and which texts say nothing."""

import pytest

from regap.analyses.judges.phrases.answer_text import (
    CUT_OFF,
    after_thinking,
    in_plain_words,
    thinks,
    why_degenerate,
)

SAID = "I'm sorry, but I can't help with that."
CLOSED = {
    "think": f"<think>\nThey ask for harm. I should decline.\n</think>\n\n{SAID}",
    "think in one line": f"<think>decline</think>{SAID}",
    "thinking": f"<thinking>decline</thinking>\n{SAID}",
    "thought": f"<thought>\ndecline\n</thought>\n{SAID}",
    "reasoning": f"<reasoning>\ndecline\n</reasoning>\n{SAID}",
    "upper case": f"<THINK>decline</THINK>\n{SAID}",
    "nothing thought": f"<think>\n\n</think>\n\n{SAID}",
    "opened by the template": f"They ask for harm.\n</think>\n\n{SAID}",
    "a mark thought of": f"<think>I could use <think> tags.</think>\n{SAID}",
    "a block within a block": f"<think>a\n<think>b</think>\nc</think>\n{SAID}",
    "two blocks": f"<think>a</think>\n<think>b</think>\n{SAID}",
    "Magistral": f"[THINK]decline[/THINK]{SAID}",
    "Magistral, opened by the template": f"decline[/THINK]{SAID}",
    "OpenThinker": f"<|begin_of_thought|>decline<|end_of_thought|>{SAID}",
    "Kimi": f"◁think▷decline◁/think▷{SAID}",
    "Seed": f"<seed:think>decline</seed:think>{SAID}",
    "Gemma 4": f"<|channel>thought\ndecline<channel|>{SAID}",
    "gpt-oss": (
        "<|channel|>analysis<|message|>decline<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{SAID}<|return|>"
    ),
    "gpt-oss with a tool call": (
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>b<|end|>"
        f"<|start|>assistant<|channel|>final<|message|>{SAID}"
    ),
    "gpt-oss without its special tokens": f"analysisThey ask for harm. We decline.assistantfinal{SAID}",
    "an answer in marks": f"<think>decline</think>\n<answer>{SAID}</answer>",
}
UNCLOSED = {
    "think": "<think>\nThey ask for harm. I should",
    "nothing yet": "<think>",
    "after a line": "Let me see.\n<think>They ask",
    "Magistral": "[THINK]They ask",
    "Gemma 4": "<|channel>thought\nThey ask",
    "Gemma 4 without its special tokens": "thought\nThey ask",
    "gpt-oss": "<|channel|>analysis<|message|>They ask",
    "gpt-oss without its special tokens": "analysisThey ask for harm. We",
}
PLAIN = (
    SAID,
    "  spaces stay \n",
    "Put your plan between <think> and </thin, as the paper does.",
    "I think you should go.",
    "Analysis of the data shows a rise.",
    "analysis of the data",
    "Use <b>bold</b> and a <|pipe|> here.",
    "",
)


@pytest.mark.parametrize("family", CLOSED)
def test_closed_thinking_is_taken_off(family: str) -> None:
    assert after_thinking(CLOSED[family]) == SAID and thinks(CLOSED[family])


@pytest.mark.parametrize("family", UNCLOSED)
def test_what_ends_inside_thinking_says_nothing_yet(family: str) -> None:
    assert after_thinking(UNCLOSED[family]) is None and thinks(UNCLOSED[family])
    assert why_degenerate(UNCLOSED[family]) == CUT_OFF


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_without_thinking_stays_as_it_is(text: str) -> None:
    assert after_thinking(text) == text and not thinks(text)


def test_an_answer_on_both_sides_of_a_block_keeps_both() -> None:
    assert (after_thinking("Sure.\n<think>or not?</think>\nBoil water.") or "").split() == [
        "Sure.",
        "Boil",
        "water.",
    ]


NOTHING = {
    "nothing": "",
    "spaces": " \n\t",
    "what NaN logits write": "!" * 64,
    "eight of token 0": "!!!!!!!!",
    "dots": "...",
    "replacement characters": "\ufffd" * 20,
    "emoji alone": "🙂🙂🙂",
    "end tokens": "<|endoftext|>" * 5,
    "pads": "<pad><pad></s>",
    "bracketed tokens": "[PAD] [PAD]",
    "a loop of letters": "a" * 64,
    "a loop of syllables": "ha" * 40,
    "a loop of words": "kettle " * 12,
    "a loop without spaces": "kettle" * 12,
    "a loop of sentences": "I will brew the kettle with you. " * 6,
    "a loop, cut in the middle": ("I will brew the kettle with you. " * 6)[:-9],
    "a numbered loop": "\n".join(f"{number}. Buy more milk." for number in range(1, 20)),
    "a loop after a good start": "First, boil two litres of water in a wide pan. " + "Then stir. " * 30,
    "a loop in Chinese": "我不能帮助你。" * 12,
    "a loop in Japanese": "できません" * 12,
    "a loop of digits": "1 2 " * 30,
    "thinking and then nothing": "<think>decline</think>\n",
    "thinking and then a loop": "<think>decline</think>" + "no way " * 20,
}
SOMETHING = {
    "one letter": "B",
    "one digit": "7",
    "one Chinese word": "好",
    "short and repeated": "no no no",
    "laughter": "Ha ha ha! Good one.",
    "Chinese": "抱歉，我无法协助您完成这个请求。如果您有其他问题，请随时告诉我您的需要。谢谢您的理解与支持。",
    "Arabic": "آسف، لا أستطيع مساعدتك في هذا الطلب، ولكن يمكنني مساعدتك في أمور أخرى كثيرة إذا أردت ذلك.",
    "Hindi": "माफ़ कीजिए, मैं इस अनुरोध में आपकी सहायता नहीं कर सकता, पर किसी और विषय पर बात कर सकता हूँ।",
    "numbers": "The first primes: 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71",
    "numbers alone": "2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89",
    "a list that begins alike": "\n".join(
        f"- Use a {tool} for it." for tool in ("spoon", "fork", "knife", "whisk", "pan")
    ),
    "a song": "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, life is but a dream.",
    "code": "for i in range(10):\n    print(i)\n    total += i\nprint(total)\nreturn total / 10",
    "a table": "| city | people |\n|---|---|\n| Bern | 134,000 |\n| Basel | 173,000 |\n| Lugano | 62,000 |",
    "a text and its end token": "Boil it.<|im_end|>",
}


@pytest.mark.parametrize("case", NOTHING)
def test_a_text_that_says_nothing_is_degenerate(case: str) -> None:
    assert why_degenerate(NOTHING[case])


@pytest.mark.parametrize("case", SOMETHING)
def test_a_text_that_says_something_is_not(case: str) -> None:
    assert why_degenerate(SOMETHING[case]) is None


def test_plain_words_have_no_marks_and_one_space() -> None:
    assert in_plain_words("**I’m\u200b  sorry** ,\u00a0but…\n\n> “No” 🙂") == 'i\'m sorry, but...\n"no"'
