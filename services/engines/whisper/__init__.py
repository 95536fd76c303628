"""Whisper (Radford et al. 2022, arXiv:2212.04356) on CTranslate2 and, on CPUs, onnxruntime.

    settings    what it has to know of a checkpoint
    features    samples -> log-mel spectrograms
    encoder     spectrograms -> what is heard in them
    text        tokens <-> text; what a decoder is told before it begins
    decoding    what is heard -> tokens, tried again at higher temperatures where they are no good
    segments    tokens with times -> segments
    words       the decoder's attention -> times of words
    engine      all of it, for a batch

Never share a serving process with torch: both set the threads of one OpenMP runtime.
"""

from services.engines.whisper.engine import WhisperRecognizer

__all__ = ["WhisperRecognizer"]
