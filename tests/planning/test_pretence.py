"""Counted by shapes is what real tensors take: memory by hand, operations by torch's own counter."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vilam.planning.pretence import Pretence

ROWS, WIDTH = 256, 128


def test_memory_is_that_of_the_tensors() -> None:
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.ReLU(), nn.Linear(WIDTH, WIDTH, bias=False))
    pretence = Pretence()
    pretence.empty_out(model)
    matrix, activation = 4 * WIDTH * WIDTH, 4 * ROWS * WIDTH
    assert pretence.now == 2 * matrix
    with pretence:
        given = pretence.faked(torch.empty(ROWS, WIDTH))
        pretence.hold(given)
        loss = model(given).sum()
        # The input, the output of the ReLU, which is kept for both its own and the next gradient, and the loss.
        assert pretence.now == 2 * matrix + 2 * activation + 4
        loss.backward()
        assert pretence.now == 4 * matrix + activation + 4
    del loss, given
    model.zero_grad()
    assert pretence.now == 2 * matrix


def test_operations_are_those_of_torch() -> None:
    def work(query: torch.Tensor) -> None:
        nn.functional.scaled_dot_product_attention(query, query, query).sum().backward()

    real = torch.randn(2, 4, 32, 64, requires_grad=True)
    pretence = Pretence()
    with pretence:
        work(pretence.faked(torch.empty(2, 4, 32, 64)).requires_grad_())
    products = 2 * 2 * 4 * 32 * 32 * 64  # of one product of queries and keys
    assert pretence.flops == 2 * products + 5 * products  # two forward; in the backward pass one again, and four more
    layer, rows = nn.Linear(64, 96), torch.randn(32, 64)
    with FlopCounterMode(display=False) as counter:
        layer(rows).sum().backward()
    again = Pretence()
    again.empty_out(layer)
    with again:
        layer(again.faked(rows)).sum().backward()
    assert again.flops == counter.get_total_flops() > 0
    assert real.grad is None


def test_masks_keep_their_values() -> None:
    pretence = Pretence()
    chosen = torch.tensor([True, False, True, True])
    with pretence:
        states = pretence.faked(torch.empty(4, 8))
        assert states[chosen].shape == (3, 8) and int(chosen.nonzero().max()) == 3
