"""Chorale: text and speech models served together over REST and gRPC."""

__version__ = "0.1.0"
