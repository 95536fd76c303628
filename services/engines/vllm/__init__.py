"""Language models on vLLM, for GPUs: it plans its steps, keeps its cache and chooses tokens by itself.

engine      the engine: sequences, each on its adapter
adapters    which adapters vLLM holds
client      vLLM's own API: the only modules that import it are this one and the two below
arguments   what it is started with
sampling    how a sequence is asked for, and what comes of it

vLLM is imported when a model is loaded, and not before. Written for vLLM 0.33.
"""

import os

# vLLM reports what it runs on to its makers unless this is set, in the process that it starts, too.
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
