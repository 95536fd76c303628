import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.lora.request import LoRARequest
from vllm.outputs import RequestOutput
from vllm.sampling_params import SamplingParams
from vllm.stub import Core


class AsyncLLM:
    def __init__(self, vllm_config: Any) -> None:
        self.vllm_config = vllm_config

    @classmethod
    def from_engine_args(cls, engine_args: AsyncEngineArgs) -> "AsyncLLM":
        made = cls(engine_args.create_engine_config())
        made._core = Core(engine_args, made.vllm_config)
        return made

    @property
    def errored(self) -> bool:
        return self._core.dead

    async def generate(
        self,
        prompt: dict[str, Any],
        sampling_params: SamplingParams,
        request_id: str,
        *,
        lora_request: LoRARequest | None = None,
        priority: int = 0,
    ) -> AsyncGenerator[RequestOutput]:
        request = self._core.add(request_id, prompt, sampling_params, lora_request, priority)
        try:
            output = None
            while output is None or not output.finished:
                output = await request.output()
                yield output
        except (asyncio.CancelledError, GeneratorExit):
            await asyncio.sleep(0)  # as the message to the core takes
            self._core.abort(request_id)
            raise

    async def add_lora(self, lora_request: LoRARequest) -> bool:
        await asyncio.sleep(self._core.load_seconds)
        return self._core.load(lora_request)

    async def remove_lora(self, lora_id: int) -> bool:
        await asyncio.sleep(0)
        return self._core.unload(lora_id)

    def shutdown(self) -> None:
        self._core.closed += 1
