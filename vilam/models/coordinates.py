"""How coordinates enter and leave the language model: as digits, or as one token each with a position code.

A person always reads the paper's text, ``[602, 489, 796, 972]`` and ``[[12, 40], [13, 52]]``, integers 0-1000.
In the token form a box is ``<box> x y x y`` and a list of points ``<points> x y x y ... </points>``: tokens for x
and for y are told apart, and the brackets and commas between them need no tokens.
"""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn

SCALE = 1000
BOX, POINTS, POINTS_END = 0, 1, 2
NUM_MARKS = 3
NUMBER = re.compile("1000|[1-9][0-9]{0,2}|0")
_N = f"(?:{NUMBER.pattern})"
GROUP = re.compile(rf"\[\[{_N}, {_N}\](?:, \[{_N}, {_N}\])*\]|\[{_N}, {_N}, {_N}, {_N}\]")


def coordinate_tokens(bins: int) -> list[str]:
    """Names of the added tokens in the order of their ids: three marks, then bins for x, then bins for y."""
    step = SCALE // (bins - 1)
    axes = [f"<{axis}{index * step}>" for axis in "xy" for index in range(bins)]
    return ["<box>", "<points>", "</points>", *axes]


def position_code(values: Tensor, width: int) -> Tensor:
    """Sine/cosine code of places in [0, 1]: shape (..., width), periods from 2 down to 1/8 of the image.

    Faster waves tell the places of an object's edges and its centre too much apart (docs/tiny.md).
    """
    frequencies = math.pi * torch.logspace(0, 4, width // 2, base=2.0, device=values.device)
    angles = values.unsqueeze(-1).float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class CoordinateTokens(nn.Module):
    """Embeddings and scores of the coordinate tokens, made from the same code as the places of the patches.

    With ``code(v)`` the fixed sine/cosine code of a place v: a patch at (u, v) gets ``A_x code(u) + A_y code(v)``, a
    token for x at u is embedded as ``A_x code(u)``, and is scored on the way out by ``(B_x h) . code(u)``: reading a
    place off a patch becomes a copy (a lead of this project; the paper spells digits). A_x and A_y begin in
    different directions, and B along the transpose of A, so that a copied place already scores itself. The
    embeddings begin at size 1 (root mean square over a patch's numbers).

    pretrained: whether the words beside are those of a pretrained head. Then all places of an axis can be scored higher
    at once: the code has no constant part, so that a place that is not known yet could not be preferred to words that
    the head is sure of. And B begins at a quarter: the states say nothing of places yet.
    """

    def __init__(self, bins: int, hidden_size: int, pretrained: bool = False, code_width: int = 32) -> None:
        super().__init__()
        self.gates = nn.Linear(hidden_size, 2, bias=False) if pretrained else None
        self.bins = bins
        self.code_width = code_width
        self.marks_in = nn.Embedding(NUM_MARKS, hidden_size)
        self.marks_out = nn.Linear(hidden_size, NUM_MARKS, bias=False)
        self.project_in = nn.ModuleList(nn.Linear(code_width, hidden_size, bias=False) for _ in "xy")
        self.project_out = nn.ModuleList(nn.Linear(hidden_size, code_width, bias=False) for _ in "xy")
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        nn.init.normal_(self.marks_in.weight, std=1.0)
        nn.init.normal_(self.marks_out.weight, std=0.02)
        if self.gates is not None:
            nn.init.zeros_(self.gates.weight)
        hidden, width = self.marks_in.embedding_dim, self.code_width
        directions = nn.init.orthogonal_(torch.empty(hidden, 2 * width))
        # A code has the length (width / 2) ** 0.5, and two make a patch: so each of its numbers is of size 1.
        size = (hidden / width) ** 0.5
        for axis, (into, out) in enumerate(zip(self.project_in, self.project_out, strict=True)):
            part = directions[:, axis * width : (axis + 1) * width]
            into.load_state_dict({"weight": part * size})
            out.load_state_dict({"weight": part.T * (0.5 if self.gates is None else 0.125)})

    @torch.no_grad()
    def resize(self, size: float) -> None:
        """Make the embeddings ``size`` times as large."""
        for module in (self.marks_in, *self.project_in):
            module.weight.mul_(size)

    def _code(self, places: Tensor) -> Tensor:
        weight = self.marks_in.weight
        return position_code(places.to(weight.device), self.code_width).to(weight.dtype)

    def table(self) -> Tensor:
        """Embeddings of all added tokens: (3 + 2 bins, hidden)."""
        codes = self._code(torch.linspace(0, 1, self.bins))
        marks = self.marks_in(torch.arange(NUM_MARKS, device=codes.device))
        return torch.cat([marks, *(project(codes).to(marks.dtype) for project in self.project_in)])

    def embed_places(self, places: Tensor, axes: Tensor) -> Tensor:
        """Embeddings (M, hidden) of places (M,) in [0, 1] on their axes (M,), 0 for x; places between bins too."""
        codes = self._code(places)
        x, y = (project(codes) for project in self.project_in)
        return torch.where(axes.unsqueeze(1) == 0, x, y)

    def patch_places(self, rows: int, columns: int) -> Tensor:
        """Embeddings of the centres of a grid of patches, row by row: (rows * columns, hidden)."""
        x = self._code((torch.arange(columns) + 0.5) / columns)
        y = self._code((torch.arange(rows) + 0.5) / rows)
        places: Tensor = self.project_in[0](x).unsqueeze(0) + self.project_in[1](y).unsqueeze(1)
        return places.flatten(0, 1)

    def scores(self, hidden: Tensor) -> Tensor:
        """Logits of the added tokens: (N, hidden) -> (N, 3 + 2 bins)."""
        codes = self._code(torch.linspace(0, 1, self.bins))
        axes = [project(hidden) @ codes.T for project in self.project_out]
        if self.gates is not None:
            axes = [scores + gate for scores, gate in zip(axes, self.gates(hidden).split(1, dim=-1), strict=True)]
        return torch.cat([self.marks_out(hidden), *axes], dim=-1)


def group_to_offsets(group: str, bins: int) -> list[int]:
    """Offsets (from the first added token) of a bracketed group of coordinates."""
    step = SCALE / (bins - 1)
    numbers = [int(number) for number in NUMBER.findall(group)]
    places = [NUM_MARKS + (i % 2) * bins + _nearest(n, step, bins) for i, n in enumerate(numbers)]
    if group.startswith("[["):
        return [POINTS, *places, POINTS_END]
    return [BOX, *places]


def _nearest(number: int, step: float, bins: int) -> int:
    return min(int(number / step + 0.5), bins - 1)


def offsets_to_text(offsets: list[int], bins: int) -> str:
    """The text of a run of added tokens; what no grammar would write (a lone x) is shown as it stands."""
    step = SCALE // (bins - 1)
    text, mark = "", POINTS
    places: list[int] = []
    for offset in [*offsets, POINTS_END]:
        if offset < NUM_MARKS or (mark == BOX and len(places) == 4):
            text, places = text + _group_text(mark, places), []
        if offset < NUM_MARKS:
            mark = offset
        else:
            places.append((offset - NUM_MARKS) % bins * step)
    return text


def _group_text(mark: int, places: list[int]) -> str:
    if not places:
        return ""
    if mark == BOX:
        return "[" + ", ".join(map(str, places)) + "]"
    pairs = [places[i : i + 2] for i in range(0, len(places), 2)]
    return "[" + ", ".join("[" + ", ".join(map(str, pair)) + "]" for pair in pairs) + "]"
