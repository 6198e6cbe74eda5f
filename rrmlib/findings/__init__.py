"""What the lab found, as tidy tables: `judgments` (how good), `traces` (how it thinks), `models` (how it was trained,
ablation, meta RM), `world` (the data itself), `solver` (the control that solves and matches). For notebooks and
figures.

Left out: judging and training (`lab.py`), drawing (`figures/`), what is expected (notebooks' parameters).
"""
