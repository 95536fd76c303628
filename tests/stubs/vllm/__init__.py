"""A stand-in for vLLM 0.33: its names and arguments as far as the engine uses them, with a model made of hashes.

Files lie where vLLM has them, so that a test can hold the one against the other; `stub` is what tests steer it with.
"""
