"""Causal language models on torch: any that transformers knows, with a paged KV cache and mixed LoRA adapters.

loading     the model, in the precision asked for
attention   the KV cache in blocks, and attention over it
lora        adapters side by side in one batch
engine      a step
"""

import os

# Read by torch when it first allocates: tensors in huge pages. Each step reads all weights, and finding its way through
# pages of 4 KiB can cost a virtual machine more than the reading (measured: up to 1.5 times the tokens per second).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
