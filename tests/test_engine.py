"""The schedule: where an epoch stands in its stage, and what factor its learning rates get."""

import pytest

from emodo.engine import Moment, Plan, learning_rate, moment


def plan(epochs, warmup=0, constant=0):
    return Plan(epochs, warmup, constant, 0, None, "fp32", "cpu", 1, 1)


def test_one_stage_is_the_whole_training():
    assert [moment(epoch, 3, (1.0,)) for epoch in range(3)] == [Moment(0, 0, 3), Moment(0, 1, 3), Moment(0, 2, 3)]


def test_stages_take_their_shares():
    found = [moment(epoch, 10, (0.2, 0.5, 0.3)) for epoch in range(10)]
    assert [at.stage for at in found] == [0, 0, 1, 1, 1, 1, 1, 2, 2, 2]
    assert [at.epoch for at in found] == [0, 1, 0, 1, 2, 3, 4, 0, 1, 2]
    assert {at.epochs for at in found if at.stage == 1} == {5}


@pytest.mark.parametrize("shares", [(0.01, 0.98, 0.01), (0.9, 0.05, 0.05), (1.0, 1.0, 1.0)])
@pytest.mark.parametrize("epochs", [3, 4, 7])
def test_no_stage_is_empty_and_epochs_count_through_each(shares, epochs):
    found = [moment(epoch, epochs, shares) for epoch in range(epochs)]
    assert {at.stage for at in found} == {0, 1, 2}
    for stage in range(3):
        own = [at for at in found if at.stage == stage]
        assert [at.epoch for at in own] == list(range(own[0].epochs))


def test_the_rate_warms_up_stays_and_decays_as_released():
    factors = [learning_rate(Moment(0, epoch, 160), plan(160, 5, 15)) for epoch in range(160)]
    assert factors[:6] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert factors[5:20] == [1] * 15
    assert factors[20:] == pytest.approx([1 - i / 141 for i in range(1, 141)])


def test_a_stage_has_its_share_of_warm_up_and_ends_as_low_as_the_whole():
    second = [learning_rate(Moment(1, epoch, 8), plan(16, 4, 2)) for epoch in range(8)]
    assert second[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert second[-1] == pytest.approx(1 / 6)


def test_steps_divide_by_ten_after_each_third():
    factors = [learning_rate(Moment(0, epoch, 60), plan(60, 5, 15), "step") for epoch in range(60)]
    assert factors == pytest.approx([1.0] * 20 + [0.1] * 20 + [0.01] * 20)
