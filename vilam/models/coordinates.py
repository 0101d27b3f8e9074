"""Coordinates as tokens of their own: what the composed model, its losses and the grammars agree on.

In this token form a box is ``<box> x y x y`` and a list of points ``<points> x y x y ... </points>``. The added tokens
stand behind the words: first the three marks, then the bins of x, then the bins of y. Tokens of x and of y differ, and
the brackets and commas of the paper's text need no tokens.
"""

from __future__ import annotations

BOX, POINTS, POINTS_END = 0, 1, 2
"""The marks, as offsets from the first added token."""
NUM_MARKS = 3
"""The offset of the first bin of x."""
