"""The engine core of the stub: it steps, makes tokens of hashes, and does what tests tell it."""

import asyncio
import hashlib
import json
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer

STARTED: list["Core"] = []
"""All that were started, oldest first."""


@dataclass(eq=False)
class Request:
    prompt: list[int]
    params: Any
    lora: Any
    place: tuple[int, int]
    """Its priority, and its number among all."""
    matcher: LLMatcher | None
    cached: int
    tokens: list[int] = field(default_factory=list)
    waiting: Any = None
    """What has come and was not taken, merged; or an error."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def output(self) -> Any:
        while self.waiting is None:
            self.news.clear()
            await self.news.wait()
        taken, self.waiting = self.waiting, None
        if isinstance(taken, Exception):
            raise taken
        return taken

    def put(self, output: Any) -> None:
        if self.waiting is None or isinstance(output, Exception):
            self.waiting = output
        else:
            self.waiting.add(output, aggregate=True)
        self.news.set()


class Core:
    def __init__(self, args: Any, config: Any) -> None:
        self.args = args
        self.seconds = 0.0
        """Between two steps."""
        self.load_seconds = 0.0
        self.requests: dict[str, Request] = {}
        self.asked: list[Request] = []
        self.aborted: list[str] = []
        self.loras: OrderedDict[int, str] = OrderedDict()
        self.loads: list[int] = []
        self.dead = False
        self.closed = 0
        self._config = config
        self._numbers = count()
        self._prompts: list[tuple[str, list[int]]] = []
        self._stepping: asyncio.Task[None] | None = None
        STARTED.append(self)

    def add(self, request_id: str, prompt: dict[str, Any], params: Any, lora: Any, priority: int) -> Request:
        self._alive()
        from vllm.exceptions import VLLMValidationError

        size = self._config.model_config.get_vocab_size()
        if any(not 0 <= token < size for token in prompt["prompt_token_ids"]):
            raise VLLMValidationError(f"token ids are below {size}")
        ids, place = list(prompt["prompt_token_ids"]), (priority, next(self._numbers))
        request = Request(ids, params, lora, place, self._matcher(params), self._cached(ids, lora))
        self.requests[request_id] = request
        self.asked.append(request)
        if self._stepping is None or self._stepping.done():
            self._stepping = asyncio.get_running_loop().create_task(self._steps())
        return request

    def abort(self, request_id: str) -> None:
        if self.requests.pop(request_id, None):
            self.aborted.append(request_id)

    def load(self, lora: Any) -> bool:
        self._alive()
        described = json.loads((Path(lora.lora_path) / "adapter_config.json").read_text())
        if "lm_head" in described["target_modules"]:
            raise Exception("Call to add_lora method failed: lm_head is not supported")
        digest = hashlib.sha256((Path(lora.lora_path) / "adapter_model.safetensors").read_bytes()).hexdigest()
        self.loras[lora.lora_int_id] = digest
        self.loads.append(lora.lora_int_id)
        if len(self.loras) > self._config.lora_config.max_cpu_loras:
            self.loras.popitem(last=False)
        return True

    def unload(self, lora_id: int) -> bool:
        self._alive()
        return self.loras.pop(lora_id, None) is not None

    def die(self) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        self.dead = True
        for request in self.requests.values():
            request.put(EngineDeadError())
        self.requests.clear()

    def fail(self, error: Exception) -> None:
        """The requests there are, and nothing else."""
        for request in self.requests.values():
            request.put(error)
        self.requests.clear()

    def _alive(self) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        if self.dead:
            raise EngineDeadError

    async def _steps(self) -> None:
        while self.requests:
            await asyncio.sleep(self.seconds)
            for request_id, request in self._running():
                self._step(request_id, request)

    def _running(self) -> list[tuple[str, Request]]:
        """By priority, as many sequences and adapters as fit."""
        chosen, loras = [], set()
        for request_id, request in sorted(self.requests.items(), key=lambda pair: pair[1].place):
            number = request.lora.lora_int_id if request.lora else 0
            if number and number not in self.loras:
                self.load(request.lora)  # from its folder again, should it still be there
            if len(chosen) < self.args.max_num_seqs and len(loras | {number} - {0}) <= self.args.max_loras:
                chosen.append((request_id, request))
                loras |= {number} - {0}
        return chosen

    def _step(self, request_id: str, request: Request) -> None:
        from vllm.outputs import CompletionOutput, RequestOutput

        token, params = self._choose(request), request.params
        request.tokens.append(token)
        if request.matcher:
            request.matcher.consume_token(token)
        reason = "stop" if token in params.stop_token_ids else None
        reason = reason or ("length" if len(request.tokens) >= params.max_tokens else None)
        if reason:
            del self.requests[request_id]
        places = None if params.logprobs is None else [self._logprobs(token, params.logprobs)]
        output = CompletionOutput(0, "", [token], None, places, reason)
        request.put(RequestOutput(request_id, None, None, None, [output], bool(reason), request.cached))

    def _choose(self, request: Request) -> int:
        params, size = request.params, self._config.model_config.get_vocab_size()
        seed = params.seed if params.temperature else None
        lora = self.loras[request.lora.lora_int_id] if request.lora else ""
        said = repr((request.prompt, request.tokens, seed, lora))
        drawn = int.from_bytes(hashlib.sha256(said.encode()).digest()[:8], "big")
        allowed = np.arange(size)
        if request.matcher:
            mask = np.frombuffer(request.matcher.compute_bitmask(), np.uint8)
            allowed = np.flatnonzero(np.unpackbits(mask, bitorder="little")[:size])
        if len(request.tokens) < params.min_tokens:
            allowed = np.setdiff1d(allowed, params.stop_token_ids)
        return int(allowed[drawn % len(allowed)])

    def _logprobs(self, token: int, alternatives: int) -> dict[int, Any]:
        """The token is the second best; the last alternative cannot come."""
        from vllm.logprobs import Logprob

        size, others = self._config.model_config.get_vocab_size(), range(1, alternatives + 1)
        best = {(token + rank - 2) % size: Logprob(-rank / 2 if rank < 4 else -math.inf, rank) for rank in others}
        return {token: Logprob(-1.0, 2)} | best

    def _matcher(self, params: Any) -> LLMatcher | None:
        if params.structured_outputs is None:
            return None
        assert self.args.structured_outputs_config.backend == "guidance"
        folder = Path(self.args.model)
        (end,) = params.stop_token_ids
        tokens = LLTokenizer((folder / "tokenizer.json").read_text(), self._config.model_config.get_vocab_size(), end)
        schema, flexible = params.structured_outputs.json, {"whitespace_flexible": True}
        return LLMatcher(tokens, LLMatcher.grammar_from_json_schema(schema, defaults=flexible))

    def _cached(self, prompt: list[int], lora: Any) -> int:
        """Whole blocks that an earlier prompt began with, on an adapter of the same name."""
        name, size = lora.lora_name if lora else "", self.args.block_size
        found = [_common(prompt[:-1], other) for owner, other in self._prompts if owner == name]
        self._prompts.append((name, prompt))
        return max(found, default=0) // size * size


def _common(one: list[int], other: list[int]) -> int:
    return next(
        (n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )
