"""What ZeRO holds, beside DeepSpeed's own estimates."""

from __future__ import annotations

import pytest

from vilam.errors import VilamError
from vilam.planning.sharding import Sharding

TRAINED = 3_000_000_000


@pytest.mark.parametrize("processes", [1, 2, 8])
def test_updated_weights_and_their_averages_are_deepspeeds(processes: int) -> None:
    """DeepSpeed presumes weights of 16 bits and gradients of 16 and 32; the rest, 12 bytes, is the same."""
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    second = estimate_zero2_model_states_mem_needs(TRAINED, processes, cpu_offload=False)[1]
    third = estimate_zero3_model_states_mem_needs(
        TRAINED, 0, processes, cpu_offload=False, cpu_offload_params=False, zero_init=True
    )[1]
    sharded = 12 * TRAINED / processes
    assert second == pytest.approx(2 * TRAINED + 6 * TRAINED / processes + sharded)
    assert third == pytest.approx(6 * TRAINED / processes + sharded)
    for stage in (1, 2, 3):
        own = Sharding(stage, processes, 500_000_000, 1_000_000_000)
        assert own.optimiser(TRAINED) + own.copies(TRAINED) == pytest.approx(sharded)


def test_without_zero_each_process_holds_all() -> None:
    own = Sharding.of({"zero_optimization": {"stage": 0}}, 4)
    assert (own.weights(400), own.gathered(400), own.optimiser(100), own.copies(100)) == (400, 0, 800, 0)
    assert own.gradients_at_step(100, 50) == 2 * 400  # they are averaged in a copy


def test_stage_three_shares_weights_and_gathers_some() -> None:
    own = Sharding.of({"zero_optimization": {"stage": 3, "stage3_max_live_parameters": 10}}, 4)
    assert (own.weights(400), own.gathered(400)) == (100, 40)


def test_offloading_is_not_planned() -> None:
    with pytest.raises(VilamError, match="offload_optimizer"):
        Sharding.of({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}, 1)
