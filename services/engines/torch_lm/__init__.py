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

# Read by libgomp when torch loads it: how long a thread spins for the others of its team before it sleeps, in pauses
# of some 30 ns. Between two products they are soon there, and to sleep would make a step 1.2 to 2 times as long; but
# beside a busy process each wait may last until the scheduler's next turn, and the default of 300,000 makes steps 5 to
# 30 times as long (measured on 2 cores; this makes them 2 to 3 times as long).
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
