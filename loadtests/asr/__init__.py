"""Speech recognition beside others: Whisper across requests, beside faster-whisper and openai-whisper."""
