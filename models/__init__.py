"""Models: the catalog, recipes, weights, exporters, and the store of built artefacts."""
