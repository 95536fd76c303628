"""Encoder-decoders on torch and transformers: the reference that other engines are compared with.

Reads ``checkpoint/`` (safetensors only, no code of its own) and ``decoder.json`` of an artefact. The search is
transformers'; scores and attention come from one more pass over what it found, so they mean the same for every beam.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM, GenerationConfig, PreTrainedModel

from services.core.engine import Decoding, EngineOptions, Hypothesis, Seq2SeqInput
from services.engines.decoder import DecoderSettings
from services.engines.search import ranked

Found = tuple[Seq2SeqInput, tuple[int, ...]]
"""An input and one target, its end included if it has one."""


class TorchSeq2Seq:
    """One model, shared by all lanes (inference changes nothing in it)."""

    def __init__(self, model: PreTrainedModel, decoder: DecoderSettings) -> None:
        self._model: PreTrainedModel | None = model
        self._decoder = decoder

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open ``checkpoint/``, on the first GPU if options ask for one."""
        torch.set_num_threads(options.threads)
        model = AutoModelForSeq2SeqLM.from_pretrained(
            artefact / "checkpoint",
            dtype="float32",
            attn_implementation="eager",  # the only one that tells what was attended to
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
        ).eval()
        # What a checkpoint asks of generation (beams, lengths, a first token) is not asked here.
        model.generation_config = GenerationConfig()
        device = "cuda" if options.providers[0].startswith("CUDA") else "cpu"
        return cls(model.to(device), DecoderSettings.load(artefact))

    def run(self, batch: Sequence[Seq2SeqInput], decoding: Decoding) -> list[tuple[Hypothesis, ...]]:
        """Search up to the largest ``max_tokens``; each item is then cut to its own. Prefixes go one after another."""
        if self._model is None:
            raise RuntimeError("the engine is closed")
        answers: dict[int, tuple[Hypothesis, ...]] = {}
        with torch.inference_mode():
            for prefix in dict.fromkeys(item.prefix for item in batch):
                rows = [row for row, item in enumerate(batch) if item.prefix == prefix]
                found = self._search(self._model, [batch[row] for row in rows], decoding)
                answers |= dict(zip(rows, found, strict=True))
        return [answers[row] for row in range(len(batch))]

    def close(self) -> None:
        """Drop the model. Pipelines may share an engine, so it may be closed more than once."""
        self._model = None

    def _search(
        self, model: PreTrainedModel, batch: Sequence[Seq2SeqInput], decoding: Decoding
    ) -> list[tuple[Hypothesis, ...]]:
        opening = self._opening(batch[0])
        ids, mask = self._padded([item.source for item in batch], model.device)
        config = GenerationConfig(
            num_beams=decoding.beam_size,
            num_return_sequences=decoding.hypotheses,
            # The end is none of the tokens allowed.
            max_new_tokens=1 + max(item.max_tokens for item in self._decoder.within(batch)),
            no_repeat_ngram_size=decoding.no_repeat_ngram,
            suppress_tokens=list(self._decoder.never) or None,
            decoder_start_token_id=opening[0],
            eos_token_id=self._decoder.end,
            pad_token_id=self._decoder.pad,
            do_sample=False,
        )
        written = model.generate(
            input_ids=ids,
            attention_mask=mask,
            decoder_input_ids=torch.tensor([opening] * len(batch), device=model.device),
            generation_config=config,
        )
        items = [item for item in batch for _ in range(decoding.hypotheses)]
        found = [self._kept(item, row[len(opening) :].tolist()) for item, row in zip(items, written, strict=True)]
        scored = self._scored(model, list(zip(items, found, strict=True)), decoding)
        return [ranked(scored[row : row + decoding.hypotheses]) for row in range(0, len(scored), decoding.hypotheses)]

    def _opening(self, item: Seq2SeqInput) -> tuple[int, ...]:
        """What the decoder is given before it chooses."""
        return item.prefix if self._decoder.start is None else (self._decoder.start, *item.prefix)

    def _kept(self, item: Seq2SeqInput, written: list[int]) -> tuple[int, ...]:
        """The tokens of one row that count: up to its end and with it, or to the item's limit."""
        end = written.index(self._decoder.end) if self._decoder.end in written else len(written)
        ends = end < len(written) and end <= item.max_tokens
        return tuple(written[: end + 1] if ends else written[: item.max_tokens])

    def _scored(self, model: PreTrainedModel, found: Sequence[Found], decoding: Decoding) -> list[Hypothesis]:
        """What the model thinks of each target, given all of it at once."""
        sources, mask = self._padded([item.source for item, _ in found], model.device)
        targets, _ = self._padded([self._opening(item) + tokens for item, tokens in found], model.device)
        answer = model(
            input_ids=sources, attention_mask=mask, decoder_input_ids=targets, output_attentions=decoding.attention
        )
        answer.logits[..., list(self._decoder.never)] = -torch.inf
        chances = answer.logits.log_softmax(dim=-1)
        seen = answer.cross_attentions[self._decoder.attention_layer].mean(dim=1) if decoding.attention else None
        return [
            self._hypothesis(item, tokens, chances[row], None if seen is None else seen[row])
            for row, (item, tokens) in enumerate(found)
        ]

    def _hypothesis(
        self, item: Seq2SeqInput, tokens: tuple[int, ...], chances: Tensor, seen: Tensor | None
    ) -> Hypothesis:
        first = len(self._opening(item)) - 1  # where the first of them is foretold
        finished = tokens[-1:] == (self._decoder.end,)
        kept = tokens[:-1] if finished else tokens
        own = chances[range(first, first + len(tokens)), list(tokens)]
        attention = None if seen is None else seen[first : first + len(kept), : len(item.source)].cpu().numpy()
        return Hypothesis(kept, min(0.0, float(own.mean())) if tokens else 0.0, finished, attention)

    def _padded(self, rows: Sequence[tuple[int, ...]], device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows of ids to the length of the longest, and where there are any."""
        ids = torch.full((len(rows), max(map(len, rows))), self._decoder.pad)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        return ids.to(device), mask.to(device)
