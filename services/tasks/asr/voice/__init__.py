"""Where somebody speaks: samples -> stretches of speech, in a stream.

    detector     frames of sound -> probabilities that somebody speaks (Silero VAD)
    endpoints    probabilities -> where stretches begin and end
    tape         the last seconds of sound
    listener     samples -> stretches of speech, cut out

Knows no recogniser and no request. All of it takes CPU time, and none waits.
"""

from services.tasks.asr.voice.detector import VoiceDetector
from services.tasks.asr.voice.endpoints import Endpointing
from services.tasks.asr.voice.listener import Listener, Stretch, speech_of

__all__ = ["Endpointing", "Listener", "Stretch", "VoiceDetector", "speech_of"]
