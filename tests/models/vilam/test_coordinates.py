"""The embeddings, scores and position code of coordinate tokens."""

from __future__ import annotations

import math

import pytest
import torch

from vilam.models.coordinate_formats import NUM_MARKS
from vilam.models.vilam.coordinates import CoordinateTokens, coordinate_tokens, position_code

BINS, HIDDEN = 11, 24


@pytest.fixture
def tokens() -> CoordinateTokens:
    torch.manual_seed(0)
    return CoordinateTokens(BINS, HIDDEN, code_width=8)


def code(value: float) -> list[float]:
    """The code of one coordinate, number by number."""
    frequencies = [math.pi * 2 ** (4 * k / 3) for k in range(4)]
    return [math.sin(value * f) for f in frequencies] + [math.cos(value * f) for f in frequencies]


def test_code_is_sines_and_cosines_of_the_coordinate():
    expected = torch.tensor([code(v) for v in (0.0, 0.25, 1.0)])
    torch.testing.assert_close(position_code(torch.tensor([0.0, 0.25, 1.0]), 8), expected, atol=1e-4, rtol=0)


def test_names_are_marks_then_x_then_y():
    names = coordinate_tokens(BINS)
    assert names[:NUM_MARKS] == ["<box>", "<points>", "</points>"]
    assert names[NUM_MARKS] == "<x0>" and names[NUM_MARKS + BINS - 1] == "<x1000>"
    assert names[NUM_MARKS + BINS] == "<y0>" and len(names) == len(set(names)) == NUM_MARKS + 2 * BINS


def test_a_patch_is_embedded_like_the_tokens_of_its_centre(tokens):
    """A patch whose centre lies on a bin is the sum of the embeddings of that bin's two tokens."""
    rows, columns = 5, 1  # centres: y 0.1, 0.3, ... and x 0.5
    table, positions = tokens.table(), tokens.patch_positions(rows, columns)
    assert table.shape == (NUM_MARKS + 2 * BINS, HIDDEN) and positions.shape == (rows * columns, HIDDEN)
    for row in range(rows):
        x, y = table[NUM_MARKS + 5], table[NUM_MARKS + BINS + 2 * row + 1]
        torch.testing.assert_close(positions[row], x + y, atol=1e-5, rtol=1e-5)


def test_patches_go_row_by_row(tokens):
    positions = tokens.patch_positions(2, 3).unflatten(0, (2, 3))
    down = positions[1] - positions[0]
    torch.testing.assert_close(down, down[:1].expand(3, -1), atol=1e-6, rtol=1e-5)  # the same in every column


def test_scores_are_products_with_the_code_of_each_bin(tokens):
    hidden = torch.randn(4, HIDDEN)
    expected = torch.zeros(4, NUM_MARKS + 2 * BINS)
    for n in range(4):
        for mark in range(NUM_MARKS):
            expected[n, mark] = sum(hidden[n, i] * tokens.marks_out.weight[mark, i] for i in range(HIDDEN))
        for axis in range(2):
            query = tokens.project_out[axis].weight @ hidden[n]
            for index in range(BINS):
                product = sum(q * c for q, c in zip(query, code(index / (BINS - 1)), strict=True))
                expected[n, NUM_MARKS + axis * BINS + index] = product
    torch.testing.assert_close(tokens.scores(hidden), expected, atol=1e-4, rtol=1e-4)


def test_a_gate_raises_all_bins_of_its_axis_by_the_same():
    torch.manual_seed(0)
    gated, hidden = CoordinateTokens(BINS, HIDDEN, pretrained=True, code_width=8), torch.randn(2, HIDDEN)
    before = gated.scores(hidden)
    torch.nn.init.normal_(gated.gates.weight)
    raised = gated.scores(hidden) - before
    for axis, of_axis in enumerate((raised[:, NUM_MARKS:-BINS], raised[:, -BINS:])):
        expected = (hidden @ gated.gates.weight[axis]).unsqueeze(1).expand(-1, BINS)
        torch.testing.assert_close(of_axis, expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(raised[:, :NUM_MARKS], torch.zeros(2, NUM_MARKS))
