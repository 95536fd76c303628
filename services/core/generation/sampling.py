import numpy as np

from services.core.generation.records import Row, SamplingParams, Token


class Sampler:
    def __init__(self, params: SamplingParams, prompt: tuple[int, ...], vocabulary: int, variant: int) -> None: ...
    def choose(self, row: Row) -> Token:
        return Token(int(np.argmax(row)))
