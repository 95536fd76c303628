"""Speech recognition by the default model, over the wire: recordings, and live streams in the time they last."""
