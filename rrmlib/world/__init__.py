"""The generated preference world: problems with verifiable truth, pairs of responses, and text to learn from.

Stands for RewardBench's four sections in a laboratory that needs no download. See `problem.py` for splits and
`families.py` for what there is. `VERSION` is part of every hash: a change of what is generated is a new version.
"""

VERSION = 4
