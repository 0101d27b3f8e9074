"""The averaged copy of the weights."""

from __future__ import annotations

import copy

import pytest
import torch
import toy

from vilam.cycle.mean_teacher import MeanTeacher


def moved(model: torch.nn.Module, by: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by)


@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
def test_the_teacher_is_the_weighted_mean_of_all_weights_that_it_followed(decay):
    model, teacher = toy.model(), MeanTeacher(decay)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    teacher.of(model)
    expected = 0.0  # the teacher's change, while the model changes by 1, 2, 3
    for step in range(1, 4):
        moved(model, 1.0)
        teacher.follow(model)
        expected = decay * expected + (1 - decay) * step
    for own, before in zip(teacher.of(model).parameters(), start, strict=True):
        assert torch.allclose(own, before + expected, atol=1e-4) and not own.requires_grad


def test_the_teacher_follows_the_statistics_of_batch_normalisation():
    model, teacher = toy.model(), MeanTeacher(0.75)
    model.norm = torch.nn.BatchNorm1d(2)
    teacher.of(model)
    model.norm.running_mean.add_(4.0)
    model.norm.num_batches_tracked.add_(1)
    teacher.follow(model)
    assert teacher.of(model).norm.running_mean.tolist() == [1.0, 1.0]


def test_the_teacher_resumes_from_its_state():
    model, teacher, other = toy.model(), MeanTeacher(0.5), MeanTeacher(0.5)
    assert teacher.state() is None
    teacher.of(model)
    moved(model, 1.0)
    teacher.follow(model)
    other.load(teacher.state(), model)
    for each in (teacher, other):
        moved(model, 1.0) if each is teacher else None
        each.follow(model)
    pairs = zip(teacher.of(model).parameters(), other.of(model).parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_weights_that_are_not_trained_are_shared():
    """Beside a frozen language model; what it keeps resumes, and it answers as a whole copy would."""
    section = toy.params()["model"]["language"]
    model, teacher, other = toy.model(language={**section, "frozen": True}), MeanTeacher(0.5), MeanTeacher(0.5)
    whole = copy.deepcopy(model)
    made = teacher.of(model)
    names = {name for name, one in model.named_parameters() if not one.requires_grad}
    pairs = zip(made.named_parameters(), model.parameters(), strict=True)
    assert names and {name for (name, own), trained in pairs if own is trained} == names
    with torch.no_grad():
        for own, trained in zip(whole.parameters(), model.parameters(), strict=True):
            if trained.requires_grad:
                trained.add_(1.0)
                own.add_(0.5)
    teacher.follow(model)
    state = teacher.state()
    assert state is not None and not names & state.keys()
    other.load(state, model)
    for each in (teacher, other):
        for own, wanted in zip(each.of(model).parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(own, wanted.detach(), atol=1e-6, rtol=1e-6)
    assert all(one.requires_grad for name, one in model.named_parameters() if name not in names)
