"""Curriculum: stages over a tree of emotions, each starting from the last one's backbone."""

import copy

import pytest
import torch

from emodo import runs
from emodo.__main__ import main
from emodo.methods import Curriculum
from emodo.methods.curriculum import POLARITY, PRIMARY, default_levels
from emodo.networks import Backbone, small_body
from emodo.records import Batch, InputError, Task
from emodo.training import train

BASIC = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
LEVELS = (
    {"anger": "bad", "fear": "bad", "joy": "good", "sadness": "bad"},
    {"anger": "hot", "fear": "cold", "joy": "good", "sadness": "cold"},
)
EMOTIONS = ("anger", "fear", "joy", "sadness")


def build(method, emotions=EMOTIONS):
    torch.manual_seed(0)
    method.build(Task(emotions), Backbone(small_body(), 128, 0, 32))
    return method.double().train()


def random_batch(n=8, emotions=4, seed=1):
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, 32, 32, generator=draw, dtype=torch.float64)
    return Batch(images, torch.arange(n) % emotions, torch.full((n,), -1), torch.arange(n))


def test_each_stage_learns_its_levels_groups_with_a_head_of_its_own():
    method = build(Curriculum(levels=LEVELS))
    batch = random_batch()
    pooled = method.backbone(batch.images).mean(dim=(2, 3))
    groups = [["bad", "good"], ["cold", "good", "hot"], list(EMOTIONS)]
    named = [*LEVELS, {e: e for e in EMOTIONS}]
    for stage, head in enumerate([*method.heads, method.classifier]):
        method.begin(stage, 0, None)
        assert head.out_features == len(groups[stage])
        target = [groups[stage].index(named[stage][EMOTIONS[e]]) for e in batch.emotion.tolist()]
        log_p = head(pooled).log_softmax(dim=1)
        expected = -sum(log_p[i, y].item() for i, y in enumerate(target)) / 8
        method.zero_grad()
        [(phase, terms)] = method.losses(batch)
        assert phase == "classifier"
        assert terms["classifier"].item() == pytest.approx(expected, rel=1e-10)
        terms["classifier"].backward()
        reached = [part for part in (*method.heads, method.classifier) if part.weight.grad is not None]
        assert reached == [head]
        assert all(p.grad is not None for p in method.backbone.parameters())


def test_a_stage_begins_with_the_backbone_of_the_last_and_only_the_final_head_predicts():
    method = build(Curriculum(levels=LEVELS))
    adam = torch.optim.Adam(method.phases()["classifier"])
    method.begin(0, 0, None)
    [(_, terms)] = method.losses(random_batch())
    terms["classifier"].backward()
    adam.step()
    before = copy.deepcopy(method.state_dict())
    method.begin(1, 0, None)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    batch = random_batch(seed=2)
    torch.testing.assert_close(method(batch), method.classifier(method.backbone(batch.images).mean(dim=(2, 3))))


def test_the_default_tree_of_webemo_has_two_seven_and_twenty_five_emotions():
    emotions = tuple(sorted(PRIMARY))
    assert len(emotions) == 25
    method = build(Curriculum(), emotions)
    assert [head.out_features for head in method.heads] == [2, 7]
    assert method.classifier.out_features == 25
    assert method.stages == (1.0, 1.0, 1.0)
    positive = {emotion for emotion in emotions if POLARITY[emotion] == "positive"}
    assert positive == {
        *("affection", "cheerfullness", "contentment", "enthrallment", "gratitude", "lust", "optimism", "pride"),
        *("relief", "surprise", "zest"),
    }
    assert method.groups[0].sum() == len(positive)
    assert sum(PRIMARY[e] == "sadness" for e in emotions) == 6
    assert [e for e in emotions if PRIMARY[e] == "confusion"] == ["confusion"]


def test_the_default_tree_of_the_basic_emotions_is_their_sign():
    method = build(Curriculum(), BASIC)
    assert len(method.heads) == 1
    assert method.groups.tolist() == [[0, 0, 0, 1, 0, 1]]  # happiness and surprise are positive
    assert method.stages == (1.0, 1.0)
    assert [POLARITY[e] for e in ("joy", "love", "contempt", "neutral")] == [
        "positive",
        "positive",
        "negative",
        "neutral",
    ]
    assert len(default_levels(("amusement", "awe", "contentment", "excitement", *BASIC[:3], "sadness"))) == 1
    # one emotion a primary group: the level would be the emotions themselves
    assert len(default_levels(("disgust", "horror", "zest"))) == 1


def test_stages_share_the_epochs_equally_or_as_told():
    assert Curriculum(levels=LEVELS).stages == (1.0, 1.0, 1.0)
    assert build(Curriculum(levels=LEVELS)).stages == (1.0, 1.0, 1.0)
    assert build(Curriculum(levels=LEVELS, shares=(1, 2, 3))).stages == (1, 2, 3)


def level(**changes):
    return {**LEVELS[0], **changes}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": ({"anger": "bad", "joy": "good"},)}, "level 1 of Curriculum has no group for fear, sadness"),
        ({"levels": (level(joy="bad"),)}, "level 1 of Curriculum puts all emotions into 'bad'"),
        ({"levels": LEVELS[::-1]}, "no tree: 'bad' of level 2 lies in two groups of level 1"),
        ({"levels": ()}, "no level above the emotions"),
        ({"levels": LEVELS, "shares": (1.0, 1.0)}, r"shares 1.0, 1.0 for 3 stages"),
        ({"levels": LEVELS, "shares": (1.0, 0.0, 1.0)}, r"shares 1.0, 0.0, 1.0 for 3 stages"),
    ],
)
def test_a_tree_that_does_not_fit_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        build(Curriculum(**options))


def test_an_emotion_outside_the_built_in_tree_is_named():
    with pytest.raises(InputError, match=r"no place for bored, sleepy in its own tree.*--method.levels"):
        build(Curriculum(), ("anger", "bored", "sleepy"))
    with pytest.raises(InputError, match="puts all emotions into 'negative'"):
        build(Curriculum(), ("anger", "fear"))


def test_a_run_trains_all_stages_with_a_tree_from_the_command_line(faces, small, tmp_path, capsys):
    tree = "[{" + ", ".join(f"{e}: {'calm' if e == 'sadness' else 'loud'}" for e in BASIC) + "}]"
    words = [f"--{name}={value}" for name, value in {**small, "epochs": 3}.items()]
    run = tmp_path / "run"
    flags = ["--method=Curriculum", f"--method.levels={tree}", "--method.shares=[1, 2]", f"--run={run}"]
    assert main(["train", str(faces), *flags, *words]) == 0
    method = runs.load_method(run)
    assert method.levels == ({e: "calm" if e == "sadness" else "loud" for e in BASIC},)
    assert method.stages == (1.0, 2.0)
    assert len((run / runs.METRICS).read_text().splitlines()) == 4
    capsys.readouterr()


def test_fewer_epochs_than_stages_are_refused(faces, small, tmp_path):
    with pytest.raises(InputError, match="trains in 2 stages"):
        train(faces, Curriculum(), run=tmp_path / "run", **{**small, "epochs": 1})
