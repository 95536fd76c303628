"""Speech recognition by connectionist temporal classification (Graves et al. 2006) on onnxruntime.

format      ctc.json: what an artefact tells beside its graph
"""
