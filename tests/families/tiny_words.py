"""Tokenizers and chat templates for the tiny models: byte-level, trained in memory, with each family's own marks."""

from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PAD, BEGIN, END = "<pad>", "<s>", "</s>"
SENTENCES = (
    "please describe this picture for me in one short sentence",
    "what is written here and what does it mean for the people who read it",
    "tell me how the colours of the two pictures differ, and why",
    "you are a careful assistant who answers every question in few words",
    "USER: ASSISTANT: system user assistant model",
)

BLOCKS = (
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<IMAGE>' }}"
    "{% elif part['type'] == 'audio' %}{{ '<AUDIO>' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
)
NO_SYSTEM = (
    "{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
)
LAYOUTS = {
    "chatml": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}BLOCKS{{ '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "vicuna": "{{ bos_token }}{% for message in messages %}{{ message['role'].upper() + ': ' }}BLOCKS{{ ' ' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    "gemma": "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' }}BLOCKS"
    "{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    "mistral": "{{ bos_token }}{% for message in messages %}NO_SYSTEM{{ '[INST]' }}BLOCKS{{ '[/INST]' }}{% endfor %}",
    "llama": "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] }}"
    "{{ '<|end_header_id|>\n\n' }}BLOCKS{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "glm": "{{ '[gMASK]<sop>' }}{% for message in messages %}{{ '<|' + message['role'] + '|>\n' }}BLOCKS{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "idefics": "{{ '<|im_start|>' }}{% for message in messages %}{{ message['role'].capitalize() + ':' }}BLOCKS"
    "{{ '<end_of_utterance>\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
    "bare": "{% for message in messages %}NO_SYSTEMBLOCKS{% endfor %}",
}
MARKS = {
    "chatml": ["<|im_start|>", "<|im_end|>"],
    "gemma": ["<start_of_turn>", "<end_of_turn>"],
    "mistral": ["[INST]", "[/INST]"],
    "llama": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "glm": ["[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>"],
    "idefics": ["<|im_start|>", "<end_of_utterance>"],
}


def chat_template(layout: str, image: str, audio: str = "") -> str:
    """The template of a layout, images and sounds standing in it as the family writes them."""
    filled = LAYOUTS[layout].replace("BLOCKS", BLOCKS).replace("NO_SYSTEM", NO_SYSTEM)
    return filled.replace("<IMAGE>", image).replace("<AUDIO>", audio)


def tokenizer(
    layout: str, marks: Sequence[str] = (), named: Mapping[str, str] | None = None
) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that knows the marks of the layout, and others, as one token each."""
    special = [PAD, BEGIN, END, *MARKS.get(layout, []), *marks, *(named or {}).values()]
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(set(special)) + len(alphabet) + 60,
        special_tokens=list(dict.fromkeys(special)),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    words.train_from_iterator(SENTENCES, trainer)
    words.post_processor = processors.ByteLevel(trim_offsets=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        extra_special_tokens=dict(named or {}),
        padding_side="left",
    )
