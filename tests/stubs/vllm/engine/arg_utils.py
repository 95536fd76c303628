import json
from dataclasses import dataclass
from pathlib import Path

from vllm.config import CacheConfig, LoRAConfig, ModelConfig, SchedulerConfig, StructuredOutputsConfig, VllmConfig

_BYTES_PER_TOKEN = 1024


@dataclass
class EngineArgs:
    model: str
    load_format: str = "auto"
    trust_remote_code: bool = False
    dtype: str = "auto"
    max_model_len: int | None = None
    max_num_seqs: int = 16
    max_num_batched_tokens: int = 512
    block_size: int = 16
    kv_cache_memory_bytes: int = 0
    scheduling_policy: str = "fcfs"
    structured_outputs_config: StructuredOutputsConfig | None = None
    disable_log_stats: bool = False
    enable_lora: bool = False
    max_lora_rank: int = 16
    max_loras: int = 1
    max_cpu_loras: int = 1

    def create_engine_config(self) -> VllmConfig:
        described = json.loads((Path(self.model) / "config.json").read_text())
        length = self.max_model_len or described["max_position_embeddings"]
        blocks = self.kv_cache_memory_bytes // _BYTES_PER_TOKEN // self.block_size
        return VllmConfig(
            ModelConfig(self.model, length),
            CacheConfig(self.block_size, blocks),
            SchedulerConfig(self.max_num_seqs),
            LoRAConfig(self.max_lora_rank, self.max_loras, self.max_cpu_loras) if self.enable_lora else None,
        )


@dataclass
class AsyncEngineArgs(EngineArgs):
    enable_log_requests: bool = False
