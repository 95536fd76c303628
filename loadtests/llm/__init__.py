"""Language models: streams on mixed adapters beside transformers and peft, and one stream on int4."""
