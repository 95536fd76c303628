"""A live stream of raw PCM -> samples."""

from services.core.audio.converting import Converter
from services.core.audio.pcm import Unpacker
from services.core.audio.records import DEFAULT_LIMITS, SPEECH_RATE, AudioLimits, Pcm, Samples


class PcmStream:
    """Chunks as a network brings them, cut anywhere, also within a sample; any cutting gives the same samples.

    Each call takes CPU time for what it is fed (about a millisecond for a second of sound), and waits for nothing.

    Args:
        pcm: what the chunks hold; nothing tells if that is not so.
        rate: of the samples, in Hz.
        limits: on the whole stream.

    Raises:
        ServingError: INVALID_ARGUMENT for a declared rate or number of channels outside the limits.
    """

    def __init__(self, pcm: Pcm, rate: int = SPEECH_RATE, limits: AudioLimits = DEFAULT_LIMITS) -> None:
        limits.check(pcm.rate, pcm.channels)
        self._unpacker = Unpacker(pcm)
        self._converter = Converter(pcm.rate, rate, limits)

    @property
    def seconds(self) -> float:
        """Of sound that came."""
        return self._converter.seconds

    def feed(self, chunk: bytes) -> Samples:
        """Samples that are ready, maybe none: resampling holds some milliseconds back.

        Raises:
            ServingError: TOO_LARGE past the limit; INVALID_ARGUMENT for values that are no numbers.
        """
        return self._converter.feed(self._unpacker.frames(chunk))

    def flush(self) -> Samples:
        """The last samples, once the stream has ended; an incomplete frame at its end is left out."""
        return self._converter.flush()
