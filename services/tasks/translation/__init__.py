"""Translation: texts and documents from one language into another."""
