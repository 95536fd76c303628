from dataclasses import dataclass


@dataclass
class CacheConfig:
    block_size: int
    num_gpu_blocks: int | None = None
