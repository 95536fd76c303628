"""What cross-request batching of translations is worth: Chorale beside CTranslate2 itself and transformers."""
