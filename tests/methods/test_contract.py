"""What every method promises, checked for each one that emodo.methods exports."""

import copy
import dataclasses
import inspect

import pytest
import torch
import yaml
from safetensors.torch import load_model, save_model
from torch import nn

from emodo import methods, runs
from emodo.methods import (
    CCIM,
    CLEF,
    CORAL,
    DACL,
    DANN,
    DFR,
    ERM,
    IERN,
    JTT,
    NWGM,
    CAERNet,
    Curriculum,
    Disentanglement,
    EMOTNet,
    GroupDRO,
    LfF,
    LogitAdjustment,
    Method,
    MixStyle,
    Prediction,
    Resampling,
    Reweighting,
    StyleAugmentation,
    StyleIntervention,
)
from emodo.networks import Backbone, small_body
from emodo.records import Batch, Confounder, InputError, Task, Training

PROTOTYPES = torch.randn(3, 10, generator=torch.Generator().manual_seed(4))
TASK = Task(("anger", "fear", "joy", "sadness"), Confounder("source", ("a", "b", "c"), (0.5, 0.3, 0.2), PROTOTYPES))
SIZE = 32

# A new method needs a line here: settings for a net of milliseconds, none of them the default.
SMALL = {
    "ERM": lambda: ERM(lr=3e-3, backbone_lr=2e-3, betas=(0.6, 0.9)),
    "Resampling": lambda: Resampling(lr=3e-3, backbone_lr=2e-3, betas=(0.6, 0.9)),
    "LogitAdjustment": lambda: LogitAdjustment(lr=3e-3, backbone_lr=2e-3, betas=(0.6, 0.9)),
    "StyleIntervention": lambda: StyleIntervention(amplitude=0.8, probability=0.4, lr=3e-3, backbone_lr=2e-3),
    "Disentanglement": lambda: Disentanglement(
        channels=16, lambda_feature=0.9, lr=3e-3, backbone_lr=2e-3, pair_weight=1.0, head_bias=True, init="default"
    ),
    "IERN": lambda: IERN(
        channels=16,
        lambda_center=1e-3,
        lr=3e-3,
        backbone_lr=2e-3,
        betas=(0.6, 0.9),
        block="table5",
        init="default",
        adjust=True,
    ),
    "NWGM": lambda: NWGM(lr=3e-3, backbone_lr=2e-3, betas=(0.6, 0.9), width=12, prior="data", interval=2),
    "DACL": lambda: DACL(lr=0.05, backbone_lr=0.04, momentum=0.8, lambda_center=0.02, widths=(32, 16, 8)),
    "Curriculum": lambda: Curriculum(
        lr=3e-3,
        backbone_lr=2e-3,
        levels=(
            {"anger": "bad", "fear": "bad", "joy": "good", "sadness": "bad"},
            {"anger": "hot", "fear": "cold", "joy": "good", "sadness": "cold"},
        ),
        shares=(1.0, 1.0, 2.0),
    ),
    "CAERNet": lambda: CAERNet(width=24, dropout=0.1, lr=3e-3, backbone_lr=2e-3, betas=(0.6, 0.9)),
    "EMOTNet": lambda: EMOTNet(width=24, dropout=0.1, lr=3e-3, backbone_lr=2e-3, betas=(0.6, 0.9)),
    "CCIM": lambda: CCIM(host="caernet", width=24, dropout=0.1, d_m=16, d_n=8, attention="additive", lr=3e-3),
    "CLEF": lambda: CLEF(host="caernet", width=24, dropout=0.1, lr=3e-3, backbone_lr=2e-3),
    "Reweighting": lambda: Reweighting(lr=3e-3, backbone_lr=2e-3, betas=(0.6, 0.9)),
    "GroupDRO": lambda: GroupDRO(eta=0.1, lr=3e-3, backbone_lr=2e-3),
    "DFR": lambda: DFR(retraining=0.5, c=2.0, last_lr=0.1, lr=3e-3, backbone_lr=2e-3),
    "DANN": lambda: DANN(lambda_stratum=0.9, gamma=5.0, hidden=16, lr=3e-3, backbone_lr=2e-3),
    "CORAL": lambda: CORAL(lambda_coral=0.1, match_means=False, lr=3e-3, backbone_lr=2e-3),
    "StyleAugmentation": lambda: StyleAugmentation(
        colour=0.5, gray=0.1, blur=1.0, noise=0.1, amplitude=0.1, window=0.2, lr=3e-3, backbone_lr=2e-3
    ),
    "MixStyle": lambda: MixStyle(probability=0.9, alpha=0.3, lr=3e-3, backbone_lr=2e-3),
    "JTT": lambda: JTT(identification=0.5, upweight=5.0, lr=3e-3, backbone_lr=2e-3),
    "LfF": lambda: LfF(q=0.5, memory=0.5, lr=3e-3, backbone_lr=2e-3),
}
EXPORTED = {
    name
    for name in methods.__all__
    if inspect.isclass(found := getattr(methods, name)) and issubclass(found, Method) and not inspect.isabstract(found)
}


def test_every_exported_method_is_in_the_table():
    assert set(SMALL) == EXPORTED


def test_every_method_of_the_package_is_exported():
    def below(cls):
        return {cls} | {found for sub in cls.__subclasses__() for found in below(sub)}

    public = {cls for cls in below(Method) if cls.__module__.startswith("emodo.") and not cls.__name__.startswith("_")}
    assert {cls.__name__ for cls in public if not inspect.isabstract(cls)} == EXPORTED


@pytest.fixture(params=sorted(SMALL))
def method(request) -> Method:
    torch.manual_seed(0)
    method = SMALL[request.param]()
    method.build(TASK, Backbone(small_body(), 128, 0, SIZE))
    return method.train()


def random_batch(n=8, seed=1):
    draw = torch.Generator().manual_seed(seed)
    images, whole, context = torch.randn(3, n, 3, SIZE, SIZE, generator=draw)
    return Batch(images, torch.arange(n) % 4, torch.arange(n) % 3, torch.arange(n), whole, context)


def unlabelled(n=5, seed=2):
    batch = random_batch(n, seed)
    unknown = torch.full((n,), -1)
    return Batch(batch.images, unknown, unknown, batch.row, batch.whole, batch.context)


def training_rows():
    batch = random_batch(12)
    return Training(batch.emotion, batch.stratum, batch.row, lambda: iter([random_batch(12)]))


def optimizers(method):
    create = torch.optim.SGD if method.optimizer == "sgd" else torch.optim.Adam
    return {name: create(groups) for name, groups in method.phases().items()}


def stages(method):
    """Begin each stage in turn, as the engine does."""
    for stage in range(len(method.stages)):
        method.begin(stage, 0, training_rows())
        yield stage


def trained(method, steps=1):
    """Train as the engine does: in each stage, for each phase, zero, backward, step."""
    for _ in stages(method):
        stepping = optimizers(method)
        for _ in range(steps):
            for phase, terms in method.losses(random_batch()):
                stepping[phase].zero_grad()
                torch.stack(list(terms.values())).sum().backward()
                stepping[phase].step()
    return method


def said(method, batch) -> Prediction:
    with torch.no_grad():
        return method.eval().predict(batch)


def test_it_yields_its_phases_in_their_order_and_each_changes_its_own_parameters(method):
    phases = method.phases()
    own = {name: {id(p) for group in groups for p in group["params"]} for name, groups in phases.items()}
    seen = set()
    for _ in stages(method):
        stepping = optimizers(method)
        order = []
        for phase, terms in method.losses(random_batch()):
            order.append(phase)
            assert terms
            for name, value in terms.items():
                assert value.shape == (), name
                assert value.isfinite(), name
            before = {name: p.detach().clone() for name, p in method.named_parameters()}
            stepping[phase].zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            stepping[phase].step()
            changed = {name for name, p in method.named_parameters() if not torch.equal(p, before[name])}
            assert changed
            strange = {name for name, p in method.named_parameters() if name in changed and id(p) not in own[phase]}
            assert not strange, f"{phase} changed {strange}"
        assert order == [name for name in phases if name in order]
        seen |= set(order)
    assert seen == set(phases)


def test_no_phase_computes_gradients_for_the_parameters_of_another(method):
    phases = method.phases()
    own = {name: {id(p) for group in groups for p in group["params"]} for name, groups in phases.items()}
    for _ in stages(method):
        for phase, terms in method.losses(random_batch()):
            for p in method.parameters():
                p.grad = None
            torch.stack(list(terms.values())).sum().backward()
            wasted = {name for name, p in method.named_parameters() if p.grad is not None and id(p) not in own[phase]}
            assert not wasted, f"{phase} computed gradients of {wasted}"


def test_every_parameter_is_trained_by_some_phase(method):
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    trained(method)
    still = {name for name, p in method.named_parameters() if torch.equal(p, before[name])}
    assert not still


def test_no_parameter_is_twice_in_a_phase(method):
    for name, groups in method.phases().items():
        parameters = [id(p) for group in groups for p in group["params"]]
        assert len(parameters) == len(set(parameters)), name
        assert all(group["lr"] > 0 for group in groups)


def test_losses_have_the_same_names_in_every_batch_and_none_twice(method):
    for _ in stages(method):
        names = [
            [name for _, terms in method.losses(batch) for name in terms]
            for batch in (random_batch(), random_batch(6, seed=5))
        ]
        assert names[0] == names[1]
        assert len(set(names[0])) == len(names[0])


def test_a_training_step_leaves_everything_trainable(method):
    trained(method)
    assert all(p.requires_grad for p in method.parameters())


def test_prediction_has_the_documented_shapes_and_needs_no_labels(method):
    prediction = said(trained(method), unlabelled())
    assert prediction.logits.shape == (5, 4)
    if prediction.strata_logits is not None:
        assert prediction.strata_logits.shape == (5, 3, 4)
    if prediction.confounder_logits is not None:
        assert prediction.confounder_logits.shape == (5, 3)
    assert all(part is None or part.isfinite().all() for part in prediction)


def test_forward_is_the_logits_of_predict(method):
    batch = unlabelled()
    logits = said(trained(method), batch).logits
    with torch.no_grad():
        torch.testing.assert_close(method(batch), logits)


def test_the_answer_is_the_prediction_without_the_stratum(method):
    built = trained(method).eval()
    with torch.no_grad():
        prediction, answer = built.predict(unlabelled()), built.answer(unlabelled())
    torch.testing.assert_close(answer.logits, prediction.logits)
    assert (answer.strata_logits is None) == (prediction.strata_logits is None)
    if answer.strata_logits is not None:
        torch.testing.assert_close(answer.strata_logits, prediction.strata_logits)


def test_an_images_prediction_does_not_depend_on_its_neighbours(method):
    batch = unlabelled(6)
    together = said(trained(method), batch).logits
    alone = [said(method, Batch(*(field[i : i + 1] for field in vars(batch).values()))).logits for i in range(6)]
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-4


def test_an_epoch_begins_without_changing_modes(method):
    for stage in range(len(method.stages)):
        for epoch in range(2):
            method.begin(stage, epoch, training_rows())
            assert all(part.training for part in method.modules())


def test_prediction_changes_nothing(method):
    trained(method).eval()
    before = copy.deepcopy(method.state_dict())
    said(method, unlabelled())
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_it_learns_a_batch_by_heart(method):
    batch = random_batch()
    trained(method, steps=40)
    with torch.no_grad():
        assert (method.train()(batch).argmax(dim=1) == batch.emotion).all()


def test_saved_and_loaded_it_predicts_the_same(method, tmp_path):
    trained(method, steps=2)
    save_model(method, str(tmp_path / "weights.safetensors"))
    torch.manual_seed(99)
    again = runs.create_method(configured(method))
    again.build(TASK, Backbone(small_body(), 128, 0, SIZE))
    load_model(again, tmp_path / "weights.safetensors")
    batch = unlabelled()
    for ours, theirs in zip(said(again, batch), said(method, batch), strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or torch.equal(ours, theirs)


def configured(method):
    """The method as a run's config.yaml stores it."""
    named = {"class_path": f"emodo.methods.{type(method).__name__}", "init_args": method.hyperparameters()}
    return yaml.safe_load(yaml.safe_dump({"method": named}))


def test_hyperparameters_round_trip_through_a_configuration(method):
    again = runs.create_method(configured(method))
    assert type(again) is type(method)
    for name in inspect.signature(type(method)).parameters:
        assert getattr(again, name) == getattr(method, name), name
    assert again.hyperparameters() == method.hyperparameters()


def test_the_table_changes_hyperparameters_so_that_the_round_trip_tells():
    for name, create in SMALL.items():
        assert create().hyperparameters() != getattr(methods, name)().hyperparameters(), name


def test_the_settings_are_all_described(method):
    description = inspect.getdoc(type(method).__init__) or ""
    for name in inspect.signature(type(method)).parameters:
        assert f"{name}: " in description, name


def test_folding_leaves_its_predictions_equal(method):
    batch = unlabelled()
    before = said(trained(method, steps=3), batch)
    method.fold()
    backbone = next(part for part in method.modules() if isinstance(part, Backbone))
    assert not any(isinstance(part, nn.BatchNorm2d) for part in backbone.modules())
    for _ in range(2):  # a folded method may be folded again
        for ours, theirs in zip(said(method, batch), before, strict=True):
            if theirs is not None:
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
        method.fold()


@pytest.mark.parametrize("name", sorted(SMALL))
def test_it_builds_without_strata_or_says_that_it_needs_them(name):
    method = SMALL[name]()
    backbone = Backbone(small_body(), 128, 0, SIZE)
    for task in (Task(TASK.emotions), Task(TASK.emotions, Confounder("source", ("a",), (1.0,)))):
        if method.needs_strata:
            with pytest.raises(InputError, match=f"{name} needs a confounder of two strata"):
                method.build(task, backbone)
        elif method.needs_dictionary:
            with pytest.raises(InputError, match=f"{name} needs a dictionary .* `emodo strata"):
                method.build(task, backbone)
        else:
            method.build(task, backbone)
            assert said(method, unlabelled()).logits.shape == (5, 4)


# ------------------------------------------------------------------------ several emotions in a row

SEVERAL = Task(TASK.emotions, TASK.confounder, multilabel=True)
# Every method that takes them, under each of the losses.
TAKING_SEVERAL = {
    "ERM": lambda loss: ERM(lr=3e-3, backbone_lr=2e-3, betas=(0.6, 0.9), loss=loss),
    "CAERNet": lambda loss: CAERNet(width=24, dropout=0.1, lr=3e-3, backbone_lr=2e-3, loss=loss),
    "EMOTNet": lambda loss: EMOTNet(width=24, dropout=0.1, lr=3e-3, backbone_lr=2e-3, loss=loss),
    "CCIM": lambda loss: CCIM(host="emotnet", width=24, dropout=0.1, d_m=16, d_n=8, lr=3e-3, loss=loss),
}
LOSSES = [None, "bce", "discrete", "discrete_batch"]


@pytest.fixture(params=[f"{name} {loss}" for name in TAKING_SEVERAL for loss in LOSSES])
def of_several(request) -> Method:
    name, loss = request.param.split()
    torch.manual_seed(0)
    method = TAKING_SEVERAL[name](None if loss == "None" else loss)
    method.build(SEVERAL, Backbone(small_body(), 128, 0, SIZE))
    return method.train()


def batch_of_several(n=8, seed=1):
    batch = random_batch(n, seed)
    held = torch.rand(n, 4, generator=torch.Generator().manual_seed(seed)) < 0.4
    held[torch.arange(n), batch.emotion] = True
    return dataclasses.replace(batch, emotion=held.float())


def trained_on_several(method, steps=1):
    batch = batch_of_several()
    training = Training(batch.emotion, batch.stratum, batch.row, lambda: iter([batch]))
    stepping = optimizers(method)
    for _ in range(steps):
        method.begin(0, 0, training)
        for phase, terms in method.losses(batch):
            stepping[phase].zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            stepping[phase].step()
    return method


def test_the_methods_that_take_several_emotions_are_in_the_table():
    assert set(TAKING_SEVERAL) == {name for name in EXPORTED if getattr(methods, name).multilabel}


@pytest.mark.parametrize("name", sorted(EXPORTED - set(TAKING_SEVERAL)))
def test_every_other_method_refuses_several_emotions_and_names_those_that_take_them(name):
    with pytest.raises(InputError) as caught:
        SMALL[name]().build(SEVERAL, Backbone(small_body(), 128, 0, SIZE))
    assert str(caught.value) == (
        f"{name} takes one emotion a row, and rows of this manifest may hold several: use CAERNet, CCIM, EMOTNet or ERM"
    )


@pytest.mark.parametrize("name", sorted(TAKING_SEVERAL))
def test_a_loss_of_several_emotions_is_refused_where_a_row_holds_one(name):
    for loss in LOSSES[1:]:
        with pytest.raises(InputError, match=f"the loss '{loss}' is for several emotions a row"):
            TAKING_SEVERAL[name](loss).build(TASK, Backbone(small_body(), 128, 0, SIZE))
    with pytest.raises(InputError, match="no loss for several emotions is called 'focal': take bce, discrete"):
        TAKING_SEVERAL[name]("focal").build(SEVERAL, Backbone(small_body(), 128, 0, SIZE))


def test_of_several_emotions_each_phase_changes_its_own_parameters_and_all_of_them(of_several):
    phases = of_several.phases()
    own = {id(p) for groups in phases.values() for group in groups for p in group["params"]}
    before = {name: p.detach().clone() for name, p in of_several.named_parameters()}
    [(phase, terms)] = of_several.losses(batch_of_several())
    assert list(phases) == [phase]
    assert all(value.shape == () and value.isfinite() for value in terms.values())
    trained_on_several(of_several)
    changed = {name for name, p in of_several.named_parameters() if not torch.equal(p, before[name])}
    assert changed == set(before)
    assert own == {id(p) for p in of_several.parameters()}


def test_of_several_emotions_it_predicts_each(of_several):
    logits = said(trained_on_several(of_several), unlabelled()).logits
    assert logits.shape == (5, 4)
    assert logits.isfinite().all()


def test_of_several_emotions_it_learns_a_batch_by_heart(of_several):
    trained_on_several(of_several, steps=60)
    batch = batch_of_several()
    with torch.no_grad():
        assert torch.equal(of_several.train()(batch) > 0, batch.emotion.bool())


def test_of_several_emotions_saved_and_loaded_it_predicts_the_same(of_several, tmp_path):
    trained_on_several(of_several, steps=2)
    save_model(of_several, str(tmp_path / "weights.safetensors"))
    again = runs.create_method(configured(of_several))
    again.build(SEVERAL, Backbone(small_body(), 128, 0, SIZE))
    load_model(again, tmp_path / "weights.safetensors")
    assert again.hyperparameters() == of_several.hyperparameters()
    assert torch.equal(said(again, unlabelled()).logits, said(of_several, unlabelled()).logits)


def test_it_tells_its_context_or_that_it_has_none(method):
    batch = unlabelled()
    with torch.no_grad():
        context = method.eval().context(batch)
    assert (context is None) == (type(method) not in (Disentanglement, IERN))
    if context is not None:
        assert context.features.shape == (5, 16, 2, 2)
        named = method.context_discriminator(context.features)  # what the method itself takes for the stratum
        assert torch.equal(named, said(method, batch).confounder_logits)
        assert context.centers is getattr(method, "centers", None)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_it_knows_how_its_images_are_drawn(name):
    assert SMALL[name]().sampling == ("balanced" if name == "Resampling" else "shuffled")
