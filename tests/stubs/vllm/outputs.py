from dataclasses import dataclass

from vllm.logprobs import Logprob


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None = None


class RequestOutput:
    def __init__(
        self,
        request_id: str,
        prompt: str | None,
        prompt_token_ids: list[int] | None,
        prompt_logprobs: None,
        outputs: list[CompletionOutput],
        finished: bool,
        num_cached_tokens: int | None = None,
    ) -> None:
        self.request_id = request_id
        self.outputs = outputs
        self.finished = finished
        self.num_cached_tokens = num_cached_tokens

    def add(self, next_output: "RequestOutput", aggregate: bool) -> None:
        assert aggregate
        self.finished = next_output.finished
        (mine,), (other,) = self.outputs, next_output.outputs
        mine.token_ids += other.token_ids
        if mine.logprobs is not None and other.logprobs is not None:
            mine.logprobs += other.logprobs
