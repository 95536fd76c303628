"""The vocabulary: byte-level BPE, so that every text can be written, and four special tokens."""

from collections.abc import Iterable
from pathlib import Path

from corpus import ASSISTANT, END, START, USER
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer

SPECIAL = [START, END, USER, ASSISTANT]

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|assistant|>' if message['role'] == 'assistant' else '<|user|>' }}{{ message['content'] }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A system message is read as a user's turn: the texts have nothing like it."""


def train_vocabulary(texts: Iterable[str], size: int, file: Path) -> Tokenizer:
    """Train it unless it is there. As written, it adds no token by itself: documents carry theirs."""
    if not file.exists():
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
        tokenizer.decoder = ByteLevelDecoder()
        alphabet = ByteLevel.alphabet()
        trainer = BpeTrainer(vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer.save(str(file))
    return Tokenizer.from_file(str(file))


def with_start(tokenizer: Tokenizer) -> Tokenizer:
    """As it is bundled: a text begins with the start token."""
    served = Tokenizer.from_str(tokenizer.to_str())
    start = (START, served.token_to_id(START))
    served.post_processor = TemplateProcessing(single=f"{START} $A", pair=f"{START} $A $B", special_tokens=[start])
    return served
