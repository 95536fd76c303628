"""Text of speech: as it is spoken, and as it is written. Knows no sound and no model."""

from services.tasks.asr.text.spoken import spoken
from services.tasks.asr.text.written import written

__all__ = ["spoken", "written"]
