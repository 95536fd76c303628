"""Text generation: prompts and conversations continued by language models, plain or with adapters."""
