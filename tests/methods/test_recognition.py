"""One emotion a row is a cross-entropy; of several, a method's `loss` says what is minimised, with which weights."""

import pytest
import torch

from emodo import losses
from emodo.methods import ERM
from emodo.methods.recognition import Recognition
from emodo.networks import Backbone, small_body
from emodo.records import Task, Training

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
HELD = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
EMOTIONS = ("anger", "joy", "sadness")
# of the training rows: anger in one of four, joy in two, sadness in all
ROWS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])


def training(emotion):
    return Training(emotion, torch.zeros(4), torch.arange(4), lambda: iter(()))


def test_one_emotion_a_row_is_a_cross_entropy():
    loss = Recognition(Task(EMOTIONS), None)
    label = torch.tensor([2, 1])
    assert torch.equal(loss(LOGITS, label), losses.recognition(LOGITS, label))


@pytest.mark.parametrize("named", [None, "bce"])
def test_several_are_a_binary_cross_entropy_by_default(named):
    loss = Recognition(Task(EMOTIONS, multilabel=True), named)
    assert torch.equal(loss(LOGITS, HELD), losses.binary_cross_entropy(LOGITS, HELD))


def test_the_discrete_loss_weighs_by_all_training_rows():
    loss = Recognition(Task(EMOTIONS, multilabel=True), "discrete")
    loss.begin(training(ROWS))
    weights = 1 / torch.log(1.2 + torch.tensor([0.25, 0.5, 1.0]))
    torch.testing.assert_close(loss.weights, weights)
    assert torch.equal(loss(LOGITS, HELD), losses.discrete_category(LOGITS, HELD, loss.weights))


def test_the_discrete_loss_of_a_batch_weighs_by_the_batch():
    loss = Recognition(Task(EMOTIONS, multilabel=True), "discrete_batch")
    loss.begin(training(ROWS))
    weights = torch.tensor([1 / torch.tensor(1.7).log(), 1e-4, 1 / torch.tensor(2.2).log()])
    torch.testing.assert_close(loss(LOGITS, HELD), losses.discrete_category(LOGITS, HELD, weights))


def test_no_checkpoint_holds_the_weights():
    method = ERM(loss="discrete")
    method.build(Task(EMOTIONS, multilabel=True), Backbone(small_body(), 128, 0, 32))
    single = ERM()
    single.build(Task(EMOTIONS), Backbone(small_body(), 128, 0, 32))
    assert method.state_dict().keys() == single.state_dict().keys()
