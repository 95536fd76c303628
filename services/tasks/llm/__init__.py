"""Text generation: prompts and conversations continued by language models, plain or with adapters."""

from services.core.task import Kind, Method, Task
from services.tasks.llm.adapter_schema import (
    LoadAdapterRequest,
    LoadAdapterResponse,
    UnloadAdapterRequest,
    UnloadAdapterResponse,
)
from services.tasks.llm.schema import GeneratePart, GenerateRequest, GenerateResponse, Message

__all__ = [
    "GENERATE",
    "LOAD_ADAPTER",
    "STREAM_GENERATE",
    "TASK",
    "UNLOAD_ADAPTER",
    "GeneratePart",
    "GenerateRequest",
    "GenerateResponse",
    "LoadAdapterRequest",
    "LoadAdapterResponse",
    "Message",
    "UnloadAdapterRequest",
    "UnloadAdapterResponse",
]

_PIPELINE = "services.tasks.llm.pipeline:GeneratePipeline"

GENERATE = Method(
    verb="Generate",
    request=GenerateRequest,
    response=GenerateResponse,
    pipeline=_PIPELINE,
)

STREAM_GENERATE = Method(
    verb="StreamGenerate",
    request=GenerateRequest,
    response=GeneratePart,
    pipeline=_PIPELINE,
    kind=Kind.SERVER_STREAM,
)

LOAD_ADAPTER = Method(
    verb="LoadAdapter",
    request=LoadAdapterRequest,
    response=LoadAdapterResponse,
    pipeline="services.tasks.llm.adapters:LoadAdapterPipeline",
)

UNLOAD_ADAPTER = Method(
    verb="UnloadAdapter",
    request=UnloadAdapterRequest,
    response=UnloadAdapterResponse,
    pipeline="services.tasks.llm.adapters:UnloadAdapterPipeline",
    idempotent=False,
)

TASK = Task(
    name="llm",
    methods=(GENERATE, STREAM_GENERATE, LOAD_ADAPTER, UNLOAD_ADAPTER),
    examples=(
        GenerateRequest(
            messages=(Message(role="user", content="Tell me a story about a cat."),), max_tokens=48, temperature=0.0
        ),
        GenerateRequest(prompt="Once upon a time", max_tokens=16, temperature=0.0),
    ),
    grpc_port=9007,
    dialects=(
        "services.tasks.llm.openai.chat:DIALECT",
        "services.tasks.llm.openai.completions:DIALECT",
        "services.tasks.llm.vllm:LOAD",
        "services.tasks.llm.vllm:UNLOAD",
    ),
)
