"""Audio: bytes -> samples. Mono float32 in [-1, 1] at one rate, whatever came in; all times are seconds.

    records      samples, limits, raw PCM as declared, blocks
    header       which container bytes are, by how they start
    buffer       a file over bytes that are not in memory
    view         a file as libsndfile may read it
    sndfile      wav, flac, ogg and mp3, by libsndfile
    ffmpeg       m4a and webm, where the machine has ffmpeg
    pcm          raw PCM -> frames
    converting   frames -> mono samples at another rate, bounded
    decoding     files, whole or in blocks
    streaming    live streams of raw PCM

Everything here blocks and takes CPU time: on an event loop, call it in a thread. Knows no task and no model.
"""

from services.core.audio.decoding import blocks, decode
from services.core.audio.records import SPEECH_RATE, AudioLimits, Block, Encoding, Pcm, Samples, Source
from services.core.audio.streaming import PcmStream

__all__ = [
    "SPEECH_RATE",
    "AudioLimits",
    "Block",
    "Encoding",
    "Pcm",
    "PcmStream",
    "Samples",
    "Source",
    "blocks",
    "decode",
]
