from vllm.inputs.engine import tokens_input

__all__ = ["tokens_input"]
