"""OpenAI's shapes of speech recognition, so that its clients work here unchanged.

    bodies       of ``/v1/audio/transcriptions`` and ``/v1/audio/translations``
    route        how bodies become calls
    answers      what answers look like
    writing      answers as JSON and events
    subtitles    answers as plain text, SubRip and WebVTT

Source: openai/openai-python, ``types/audio``.
"""

from services.tasks.asr.openai.answers import Transcription, TranscriptionEvent
from services.tasks.asr.openai.bodies import TranscriptionBody, TranslationBody
from services.tasks.asr.openai.route import Route

TRANSCRIPTIONS = Route("/v1/audio/transcriptions", TranscriptionBody, Transcription, TranscriptionEvent)

TRANSLATIONS = Route("/v1/audio/translations", TranslationBody, Transcription, None)
