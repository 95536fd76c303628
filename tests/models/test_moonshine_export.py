"""Moonshine as it is published -> an artefact: the same every time, the same vocabulary, and nothing else is taken."""
