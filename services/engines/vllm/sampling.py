"""How vLLM is asked for a sequence, and what its answers say. Texts are none of its business: it gets ids, and sends
them.
"""

import math
from collections.abc import Mapping
from itertools import repeat

from vllm.logprobs import Logprob
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

from services.core.generation.records import Generation, Progress, Token

_SEEDS = 2**63
"""vLLM's seeds are smaller, and not negative: it takes -1 for none."""


def sampling_params(work: Generation) -> SamplingParams:
    """What a sequence is to become; it ends where its reader does, which need not be where the model would."""
    asked, form = work.sampling, work.form
    return SamplingParams(
        temperature=asked.temperature,
        top_k=asked.top_k,
        top_p=asked.top_p,
        min_p=asked.min_p,
        repetition_penalty=asked.repetition_penalty,
        presence_penalty=asked.presence_penalty,
        frequency_penalty=asked.frequency_penalty,
        logit_bias=dict(asked.logit_bias) or None,
        seed=None if asked.seed is None else asked.seed % _SEEDS,
        logprobs=asked.logprobs,
        max_tokens=work.max_tokens,
        min_tokens=form.min_tokens,
        stop_token_ids=sorted(form.ends),
        ignore_eos=True,
        structured_outputs=None if form.json_schema is None else StructuredOutputsParams(json=form.json_schema),
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )


def progress(output: RequestOutput, logprobs: int | None) -> Progress:
    """What is new of a sequence; ``logprobs``: how many alternatives were asked for."""
    (completion,) = output.outputs
    places = repeat(None) if logprobs is None else completion.logprobs
    tokens = (_token(id_, place, logprobs or 0) for id_, place in zip(completion.token_ids, places, strict=False))
    return Progress(tuple(tokens), output.num_cached_tokens or 0)


def _token(id_: int, place: Mapping[int, Logprob] | None, count: int) -> Token:
    """Of the one mapping in which vLLM tells the token that was chosen and the best ones."""
    if place is None:
        return Token(id_)
    best = sorted((one.rank, other) for other, one in place.items() if one.rank <= count)
    # What a grammar rules out has no probability to tell.
    top = tuple((other, place[other].logprob) for _, other in best if place[other].logprob > -math.inf)
    return Token(id_, place[id_].logprob, top)
