"""Causal language models on torch: any that transformers knows, with a paged KV cache and mixed LoRA adapters.

loading     the model, in the precision asked for
attention   the KV cache in blocks, and attention over it
lora        adapters side by side in one batch
engine      a step
"""
