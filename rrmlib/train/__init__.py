"""Training: recipes in, model folders out, through TRL and transformers. The one call is `rrmlib.train.fit.fit`.

World-agnostic: it trains on rows of text that are rendered already. Left out: what the rows are (`world/`), which
models there are and in which order they are made (`lab.py`).
"""
