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
# of some 30 ns. Between two products they are soon there, and to sleep would make a step 1.2 to 2 times as long. Beside
# a busy process each wait may last until the scheduler's next turn, though: the default of 300,000 makes steps 3 to
# 15 times as long then, this 2 to 4 times (measured on 2 cores; quiet, the two are equal).
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
