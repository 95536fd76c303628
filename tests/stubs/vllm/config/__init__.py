from vllm.config.cache import CacheConfig
from vllm.config.lora import LoRAConfig
from vllm.config.model import ModelConfig
from vllm.config.scheduler import SchedulerConfig
from vllm.config.structured_outputs import StructuredOutputsConfig
from vllm.config.vllm import VllmConfig

__all__ = ["CacheConfig", "LoRAConfig", "ModelConfig", "SchedulerConfig", "StructuredOutputsConfig", "VllmConfig"]
