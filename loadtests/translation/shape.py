"""A checkpoint of the shape of opus-mt (Marian, 74 M parameters, 58,101 tokens) with random weights, and its sentences.

Its speed is that of a trained one; what it says means nothing. It stops by itself after about as many tokens as a
sentence has. Run as a module it writes both into a folder, so that no process under test imports torch.
"""

import json
import random
import sys
from itertools import islice, product
from pathlib import Path
from typing import Any

TOKENS = 24
"""Of each sentence, and about of each translation."""

SENTENCES = 32
VOCABULARY = 58_101
_SYLLABLES = [first + second for first, second in product("bdfgklmnprstvz", "aeiou")]


def words() -> list[str]:
    """As many different words as the vocabulary has room for; each is one token."""
    room = VOCABULARY - 4  # </s>, <unk>, the full stop, <pad>
    return ["".join(syllables) for syllables in islice(product(_SYLLABLES, repeat=3), room)]


def candidates(count: int) -> list[str]:
    """Random sentences."""
    rng, known = random.Random(1), words()  # noqa: S311  # the same ones each time
    return [" ".join(rng.choices(known, k=TOKENS - 1)) + "." for _ in range(count)]


def sentences(folder: Path) -> list[str]:
    """Those that were chosen for the model (see `direct`)."""
    return (folder / "sentences.txt").read_text(encoding="utf-8").splitlines()


def write(folder: Path) -> None:
    """``checkpoint/`` as a hub repository would have it."""
    target = folder / "checkpoint"
    target.mkdir(parents=True)
    _write_pieces(target)
    _write_network(target)


def _write_pieces(target: Path) -> None:
    from sentencepiece import sentencepiece_model_pb2 as pb2
    from transformers import MarianTokenizer

    model = pb2.ModelProto()  # type: ignore[attr-defined]
    model.normalizer_spec.name = "identity"
    for text, kind in [("<unk>", 2), ("<s>", 3), ("</s>", 3), *(("\u2581" + word, 1) for word in words()), (".", 1)]:
        model.pieces.add(piece=text, score=0.0 if kind > 1 else -1.0, type=kind)
    for name in ("source.spm", "target.spm"):
        (target / name).write_bytes(model.SerializeToString())
    tokens = ["</s>", "<unk>", ".", *("\u2581" + word for word in words()), "<pad>"]
    (target / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    MarianTokenizer.from_pretrained(target).save_pretrained(target)


def _write_network(target: Path) -> None:
    import torch
    from transformers import MarianConfig, MarianMTModel

    torch.manual_seed(1)
    config = MarianConfig(
        vocab_size=VOCABULARY,
        d_model=512,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=8,
        decoder_attention_heads=8,
        encoder_ffn_dim=2048,
        decoder_ffn_dim=2048,
        max_position_embeddings=512,
        pad_token_id=VOCABULARY - 1,
        eos_token_id=0,
        bos_token_id=None,
        decoder_start_token_id=VOCABULARY - 1,
        forced_eos_token_id=0,
        scale_embedding=True,
        tie_word_embeddings=False,  # else a random network says its last token again
        activation_function="swish",
    )
    model = MarianMTModel(config)
    model.generation_config.bad_words_ids = [[VOCABULARY - 1]]
    with torch.no_grad():
        model.lm_head.weight[0] = 0.0
        model.final_logits_bias[0, 0] = -100.0
        _learn_to_end(model, target)
    model.save_pretrained(target)


def _learn_to_end(model: Any, target: Path) -> None:
    """Fit the row of the end to the states of long translations: it wins once a translation has `TOKENS` tokens."""
    import torch
    from transformers import MarianTokenizer

    texts = MarianTokenizer.from_pretrained(target)(candidates(SENTENCES), return_tensors="pt", padding=True)
    said = model.generate(**texts, num_beams=1, do_sample=False, max_new_tokens=2 * TOKENS)
    states = model.model(**texts, decoder_input_ids=said).last_hidden_state.flatten(0, 1)
    rows = torch.cat([states, torch.ones(len(states), 1)], dim=1)
    others = model.lm_head(states)[:, 1:].amax(dim=1)
    over = torch.arange(said.shape[1]).repeat(len(said)) - TOKENS + 0.5
    fit = torch.linalg.lstsq(rows, (others.mean() + over)[:, None]).solution[:, 0]
    model.lm_head.weight[0], model.final_logits_bias[0, 0] = fit[:-1], fit[-1]


if __name__ == "__main__":
    write(Path(sys.argv[1]))
