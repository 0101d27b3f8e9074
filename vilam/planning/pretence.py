"""Running a model without its weights: numbers that depend on weights or pixels are only shapes, all others are real.

A step of training runs as it is, forward and backward, on tensors that hold no floats (torch's FakeTensorMode). Token
ids, masks and positions keep their values, because the code of a model asks for them. On the way everything that is
allocated is counted until it is freed, and what is computed by torch's own formulas (torch.utils.flop_counter).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

LARGE = 4096
"""Floats of a new tensor, at least, that holds none of them: buffers such as frequencies of positions have fewer."""
aten = torch.ops.aten


class Pretence(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operations on shapes.

    now, peak: bytes that tensors hold, and held at most. flops: of matrix products, convolutions and attention.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.now = self.peak = self.flops = 0
        self._held: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation, and counts what it makes."""
        if function is torch.ops.prim.device.default:
            return args[0].fake_device
        kwargs = kwargs or {}
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        if any(isinstance(one, FakeTensor) for one in given):
            found = self._pretended(function, args, kwargs)
        elif given or not self._makes_many_floats(function, args, kwargs):
            found = function(*args, **kwargs)
        else:
            with self.fake:
                found = function(*args, **kwargs)
        for one in tree_leaves(found):
            if isinstance(one, Tensor):
                self.hold(one)
        return found

    def _pretended(self, function: Any, args: Any, kwargs: Any) -> Any:
        if function is aten._local_scalar_dense.default and args[0].dtype == torch.bool:
            return False  # whether a weight is out of bounds, or a state infinite
        if function in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default):
            args = (args[0], _by_number(args[1]), *args[2:])
        args, kwargs = tree_map_only(Tensor, self.faked, (args, kwargs))
        with self.fake:
            found = function(*args, **kwargs)
        if (count := COUNTS.get(function._overloadpacket)) is not None:
            self.flops += count(*args, **kwargs, out_val=found)
        return found

    def _makes_many_floats(self, function: Any, args: Any, kwargs: Any) -> bool:
        with self.fake:
            made = function(*args, **kwargs)
        return isinstance(made, Tensor) and made.is_floating_point() and made.numel() >= LARGE

    def faked(self, tensor: Tensor) -> Tensor:
        """A tensor of the same shape without values, or itself if it has none."""
        return tensor if isinstance(tensor, FakeTensor) else self.fake.from_tensor(tensor, static_shapes=True)

    def hold(self, tensor: Tensor) -> None:
        """Counts the storage of a tensor until it is freed."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._held:
            return

        def free(_: object) -> None:
            del self._held[key]
            self.now -= size

        self._held[key] = weakref.ref(storage, free)
        self.add(size)

    def add(self, size: int) -> None:
        """Counts bytes that no tensor stands for; negative ones are freed."""
        self.now += size
        self.peak = max(self.peak, self.now)

    def empty_out(self, model: nn.Module) -> None:
        """Replaces all weights of a model by shapes; weights that are shared stay so."""
        known: dict[int, nn.Parameter] = {}
        for module in model.modules():
            for name, weight in module._parameters.items():
                if weight is not None and id(weight) not in known:
                    shape = self.faked(weight.data)
                    self.hold(shape)
                    known[id(weight)] = nn.Parameter(shape, requires_grad=weight.requires_grad)
                if weight is not None:
                    module._parameters[name] = known[id(weight)]


def _by_number(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Indices by number in place of masks, so that it is known how many they choose."""
    found: list[Tensor | None] = []
    for one in indices:
        is_mask = one is not None and one.dtype == torch.bool and not isinstance(one, FakeTensor)
        found += one.nonzero(as_tuple=True) if is_mask and one is not None else (one,)
    return found


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


def _attention_backward(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    shapes = (gradient.shape, query.shape, key.shape, value.shape)
    return int(sdpa_backward_flop_count(*shapes))  # type: ignore[no-untyped-call]


COUNTS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,  # torch's table has the kernels of GPUs only
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
