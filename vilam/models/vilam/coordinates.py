"""The coordinate tokens of the composed model: names, embeddings, scores, and text to tokens and back.

Questions and answers hold the paper's text (vilam/tasks/answers.py). vilam/models/coordinate_formats.py describes the
token form.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vilam.models.coordinate_formats import BOX, NUM_MARKS, POINTS, POINTS_END
from vilam.tasks.answers import SCALE, whole_numbers


def coordinate_tokens(bins: int) -> list[str]:
    """The names of the added tokens in the order of their ids: three marks, the bins of x, the bins of y."""
    width = SCALE // (bins - 1)
    axes = [f"<{axis}{index * width}>" for axis in "xy" for index in range(bins)]
    return ["<box>", "<points>", "</points>", *axes]


def position_code(values: Tensor, width: int) -> Tensor:
    """The sine/cosine code (..., width) of coordinates (...) in [0, 1], with periods from 2 down to 1/8 of the image.

    With shorter periods the codes of an object's edges and its centre differ too much (docs/tiny.md).
    """
    frequencies = math.pi * torch.logspace(0, 4, width // 2, base=2.0, device=values.device)
    angles = values.unsqueeze(-1).float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class CoordinateTokens(nn.Module):
    """Embeddings and scores of the coordinate tokens, made from the same code as the positions of the patches.

    ``code(v)`` is the fixed sine/cosine code of a coordinate v. A patch at (u, v) gets ``A_x code(u) + A_y code(v)``. A
    token of x at u is embedded as ``A_x code(u)`` and scored in the output by ``(B_x h) . code(u)``. So reading a
    coordinate off a patch is a copy (an idea of this project; the paper spells digits). A_x and A_y begin in different
    directions, and B along the transpose of A, so that a copied coordinate scores itself. The embeddings begin at size
    1 (root mean square over a patch's numbers).

    pretrained: whether the words are scored by a pretrained head. Then a gate can raise the scores of all bins of an
    axis at once: the code has no constant part, so a coordinate that is not known yet could not win against words
    that the head predicts with confidence. And B begins at a quarter: the states do not hold coordinates yet.
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
        # A code has the length (width / 2) ** 0.5, and a patch is the sum of two: so each of its numbers is of size 1.
        size = (hidden / width) ** 0.5
        for axis, (into, out) in enumerate(zip(self.project_in, self.project_out, strict=True)):
            part = directions[:, axis * width : (axis + 1) * width]
            into.load_state_dict({"weight": part * size})
            out.load_state_dict({"weight": part.T * (0.5 if self.gates is None else 0.125)})

    @torch.no_grad()
    def resize(self, size: float) -> None:
        """Multiplies the embeddings by ``size``."""
        for module in (self.marks_in, *self.project_in):
            module.weight.mul_(size)

    def _code(self, coordinates: Tensor) -> Tensor:
        weight = self.marks_in.weight
        return position_code(coordinates.to(weight.device), self.code_width).to(weight.dtype)

    def table(self) -> Tensor:
        """Embeddings of all added tokens: (3 + 2 bins, H)."""
        codes = self._code(torch.linspace(0, 1, self.bins))
        marks = self.marks_in(torch.arange(NUM_MARKS, device=codes.device))
        return torch.cat([marks, *(project(codes).to(marks.dtype) for project in self.project_in)])

    def embed_coordinates(self, coordinates: Tensor, axes: Tensor) -> Tensor:
        """Embeddings (M, H) of coordinates (M,) in [0, 1], also between bins; axes (M,): 0 for x, 1 for y."""
        codes = self._code(coordinates)
        x, y = (project(codes) for project in self.project_in)
        return torch.where(axes.unsqueeze(1) == 0, x, y)

    def patch_positions(self, rows: int, columns: int) -> Tensor:
        """Embeddings of the centres of a grid of patches, row by row: (rows * columns, H)."""
        x = self._code((torch.arange(columns) + 0.5) / columns)
        y = self._code((torch.arange(rows) + 0.5) / rows)
        positions: Tensor = self.project_in[0](x).unsqueeze(0) + self.project_in[1](y).unsqueeze(1)
        return positions.flatten(0, 1)

    def scores(self, hidden: Tensor) -> Tensor:
        """Logits of the added tokens: (N, H) -> (N, 3 + 2 bins)."""
        codes = self._code(torch.linspace(0, 1, self.bins))
        axes = [project(hidden) @ codes.T for project in self.project_out]
        if self.gates is not None:
            axes = [scores + gate for scores, gate in zip(axes, self.gates(hidden).split(1, dim=-1), strict=True)]
        return torch.cat([self.marks_out(hidden), *axes], dim=-1)


def group_to_offsets(group: str, bins: int) -> list[int]:
    """The offsets, from the first added token, of a box or a list of points."""
    width = SCALE / (bins - 1)
    nearest = [min(int(number / width + 0.5), bins - 1) for number in whole_numbers(group)]
    offsets = [NUM_MARKS + (i % 2) * bins + number for i, number in enumerate(nearest)]
    return [POINTS, *offsets, POINTS_END] if group.startswith("[[") else [BOX, *offsets]


def offsets_to_text(offsets: list[int], bins: int) -> str:
    """The text of a run of added tokens; what no grammar allows (a lone x) is written as it is."""
    width = SCALE // (bins - 1)
    text, mark = "", POINTS
    numbers: list[int] = []
    for offset in [*offsets, POINTS_END]:
        if offset < NUM_MARKS or (mark == BOX and len(numbers) == 4):
            text, numbers = text + _group_text(mark, numbers), []
        if offset < NUM_MARKS:
            mark = offset
        else:
            numbers.append((offset - NUM_MARKS) % bins * width)
    return text


def _group_text(mark: int, numbers: list[int]) -> str:
    if not numbers:
        return ""
    if mark == BOX:
        return f"[{', '.join(map(str, numbers))}]"
    pairs = [numbers[i : i + 2] for i in range(0, len(numbers), 2)]
    return "[" + ", ".join(f"[{', '.join(map(str, pair))}]" for pair in pairs) + "]"
