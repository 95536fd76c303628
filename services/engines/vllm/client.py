"""vLLM's own API, as far as it is used, with errors in our words."""

import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Self

from vllm.exceptions import RetryableRequestError, VLLMClientError
from vllm.inputs import tokens_input
from vllm.lora.request import LoRARequest
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from services.core.adapters import Adapter
from services.core.context import Priority
from services.core.engine import EngineOptions, GeneratorLimits
from services.core.errors import Code, ServingError
from services.core.generation.records import Generation, Progress
from services.engines.vllm.arguments import engine_args
from services.engines.vllm.sampling import progress, sampling_params

log = logging.getLogger(__name__)

_LONGEST_REASON = 200


class Client:
    """A running vLLM; it computes in a process of its own."""

    def __init__(self, llm: AsyncLLM) -> None:
        self._llm = llm

    @classmethod
    def start(cls, artefact: Path, options: EngineOptions) -> Self:
        """Start one, and wait until it is ready."""
        return cls(AsyncLLM.from_engine_args(engine_args(artefact, options)))

    @property
    def limits(self) -> GeneratorLimits:
        """What it can hold."""
        config = self._llm.vllm_config
        context, block_tokens = config.model_config.max_model_len, config.cache_config.block_size
        return GeneratorLimits(
            context=context,
            vocabulary=config.model_config.get_vocab_size(),
            sequences=config.scheduler_config.max_num_seqs,
            # It starts only if a whole context fits, however its blocks are counted.
            blocks=max(config.cache_config.num_gpu_blocks or 0, -(-context // block_tokens)),
            block_tokens=block_tokens,
        )

    @property
    def alive(self) -> bool:
        """Whether its process is."""
        return not self._llm.errored

    @property
    def adapters(self) -> int:
        """Most adapters that it holds."""
        lora = self._llm.vllm_config.lora_config
        return lora.max_cpu_loras if lora else 0

    async def add(self, number: int, adapter: Adapter) -> None:
        """Have it read an adapter from its folder; its place in the cache of prompts is by its digest."""
        try:
            await self._llm.add_lora(_lora_request(number, adapter))
        except EngineDeadError as error:
            raise _dead() from error
        except Exception as error:  # of any kind, told from its process as a text
            log.exception("vLLM refuses adapter %s", adapter.id)
            raise ServingError(
                Code.INVALID_ARGUMENT, f"vLLM cannot run {adapter.id}; use the base, or engine torch-lm.", "model"
            ) from error

    async def remove(self, number: int) -> None:
        """Have it forget an adapter."""
        with _our_errors():
            await self._llm.remove_lora(number)

    async def generate(
        self, sequence: int, work: Generation, priority: Priority, number: int | None
    ) -> AsyncGenerator[Progress]:
        """What comes of a sequence, on the adapter with this number."""
        with _our_errors():
            coming = self._llm.generate(
                tokens_input(list(work.prompt)),
                sampling_params(work),
                str(sequence),
                lora_request=_lora_request(number, work.adapter) if number and work.adapter else None,
                priority=int(priority),
            )
            async with aclosing(coming):
                async for output in coming:
                    yield progress(output, work.sampling.logprobs)

    def close(self) -> None:
        """End its process."""
        self._llm.shutdown()


def _lora_request(number: int, adapter: Adapter) -> LoRARequest:
    return LoRARequest(lora_name=adapter.digest, lora_int_id=number, lora_path=str(adapter.folder.absolute()))


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except EngineDeadError as error:
        raise _dead() from error
    except RetryableRequestError as error:
        raise ServingError(Code.UNAVAILABLE, "The engine could not do this now; try again.", retry_after=1.0) from error
    except VLLMClientError as error:
        raise ServingError(Code.INVALID_ARGUMENT, f"The engine refuses this: {str(error)[:_LONGEST_REASON]}") from error


def _dead() -> ServingError:
    return ServingError(Code.UNAVAILABLE, "The engine has stopped; retry elsewhere.", retry_after=1.0)
