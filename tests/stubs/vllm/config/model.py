from dataclasses import dataclass


@dataclass
class ModelConfig:
    model: str
    max_model_len: int

    def get_vocab_size(self) -> int:
        import json
        from pathlib import Path

        size: int = json.loads((Path(self.model) / "config.json").read_text())["vocab_size"]
        return size
