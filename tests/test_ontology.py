"""The label sets and the maps between them, against what data sets publish."""

from __future__ import annotations

import pytest

from emodo import ontology
from emodo.ontology import MAPS, SETS, mapping, target
from emodo.records import InputError

# WEBEmo's category.txt, retyped: emotion, level 2, level 1
CATEGORY = """
affection love +, cheerfullness joy +, confusion confusion -, contentment joy +, disappointment sadness -,
disgust anger -, enthrallment joy +, envy anger -, exasperation anger -, gratitude love +, horror fear -,
irritabilty anger -, lust love +, neglect sadness -, nervousness fear -, optimism joy +, pride joy +, rage anger -,
relief joy +, sadness sadness -, shame sadness -, suffering sadness -, surprise surprise +, sympathy sadness -,
zest joy +
"""
TREE = [line.split() for line in CATEGORY.replace("\n", " ").split(",")]


def test_the_sets_have_their_sizes_and_no_label_twice() -> None:
    sizes = {name: len(labels) for name, labels in SETS.items()}
    assert sizes == {
        **{"emotic": 26, "webemo": 25, "mikels": 8, "affectnet": 8, "basic7": 7, "emotion6": 7, "webemo7": 7},
        **{"basic6": 6, "parrott": 6, "polarity": 2},
    }
    assert all(len(set(labels)) == len(labels) for labels in SETS.values())


def test_orders_are_those_of_the_data_sets() -> None:
    assert list(SETS["emotic"]) == sorted(SETS["emotic"])
    assert [name for name, _, _ in TREE] == list(SETS["webemo"])
    assert SETS["mikels"][4:] == ("anger", "disgust", "fear", "sadness")  # EmoSet's 4 to 7
    assert SETS["affectnet"].index("contempt") == 7
    assert set(SETS["affectnet"]) ^ set(SETS["mikels"]) == {
        *("neutral", "happiness", "surprise", "contempt", "amusement", "awe", "contentment", "excitement")
    }


def test_webemos_maps_are_its_files() -> None:
    assert MAPS["webemo7"]["webemo"].label == {name: primary for name, primary, _ in TREE}
    sign = {"+": "positive", "-": "negative"}
    assert MAPS["polarity"]["webemo"].label == {name: sign[level] for name, _, level in TREE}
    six = {name: None if primary == "confusion" else primary for name, primary, _ in TREE}
    assert MAPS["parrott"]["webemo"].label == six


def test_emosets_two_classes() -> None:
    read = MAPS["polarity"]["mikels"].label
    assert [name for name in SETS["mikels"] if read[name] == "positive"] == list(SETS["mikels"][:4])
    assert [name for name in SETS["mikels"] if read[name] == "negative"] == list(SETS["mikels"][4:])


def test_every_map_has_every_label_of_its_source_and_only_labels_of_its_target() -> None:
    for to, maps in MAPS.items():
        for source, given in maps.items():
            assert set(given.label) == set(SETS[source]), (source, to)
            assert set(given.label.values()) - {None} <= set(SETS[to]), (source, to)
            assert all(given.label[label] for label in given.why), (source, to)  # what is dropped is not debated
    assert set(MAPS["polarity"]) == set(MAPS["parrott"]) == set(SETS) - {"polarity"}
    assert set(MAPS["basic7"]) == set(MAPS["basic6"]) == set(SETS) - {"polarity"}


def test_maps_agree_where_they_meet() -> None:
    # by way of a set between is the same as at once
    for between, to in (("webemo7", "polarity"), ("webemo7", "parrott"), ("basic7", "basic6")):
        for source in MAPS[between]:
            for label, middle in MAPS[between][source].label.items():
                assert MAPS[to][source].label[label] == (middle and MAPS[to][between].label[middle]), (source, label)
    # sign and basic emotion of a label never contradict each other
    happy = {"happiness": "positive", "surprise": "positive", "neutral": None, None: None}
    for source, given in MAPS["basic7"].items():
        for label, basic in given.label.items():
            sign = MAPS["polarity"][source].label[label]
            if basic and sign and basic != "surprise":
                assert sign == happy.get(basic, "negative")


def test_what_has_no_counterpart_is_dropped() -> None:
    def dropped(source: str, to: str) -> list[str]:
        return [label for label, new in MAPS[to][source].label.items() if new is None]

    assert dropped("affectnet", "basic7") == ["contempt"]
    assert dropped("affectnet", "basic6") == ["neutral", "contempt"]
    assert dropped("basic7", "polarity") == ["neutral"]
    assert dropped("webemo", "basic7") == dropped("webemo", "parrott") == ["confusion"]
    assert dropped("mikels", "parrott") == dropped("mikels", "basic6") == ["awe"]
    assert dropped("emotic", "polarity") == ["anticipation", "doubt/confusion", "engagement", "surprise", "yearning"]
    assert dropped("parrott", "polarity") == dropped("webemo", "webemo7") == []


def test_debatable_readings_say_why() -> None:
    assert "GoEmotions" in MAPS["polarity"]["basic6"].why["surprise"]
    assert "disgust" in MAPS["basic6"]["parrott"].why["anger"]
    assert set(MAPS["basic7"]["webemo"].why) == {"envy", "affection", "gratitude", "lust", "shame", "sympathy"}
    assert MAPS["parrott"]["emotion6"].label["joy"] == "joy"


@pytest.mark.parametrize(
    ("name", "meant"), [("2", "polarity"), ("26", "emotic"), ("25", "webemo"), ("basic6", "basic6")]
)
def test_a_size_names_a_set_where_one_has_it(name: str, meant: str) -> None:
    assert target(name) == meant


def test_a_size_of_several_sets_and_an_unknown_name_are_refused() -> None:
    with pytest.raises(InputError, match=r"2 sets have 8 labels, name one: mikels is amusement.*affectnet is neutral"):
        target("8")
    with pytest.raises(InputError, match=r"3 sets have 7 labels.*basic7.*emotion6.*webemo7"):
        target("7")
    with pytest.raises(InputError, match=r"called 'ekman': there are emotic \(26\)"):
        target("ekman")


def test_the_set_is_found_by_its_labels() -> None:
    assert mapping(["rage", "zest"], "polarity").label == {"rage": "negative", "zest": "positive"}
    assert mapping(["awe"], "polarity").label == {"awe": "positive"}
    assert mapping(["joy", "neutral"], "basic7").label == {"joy": "happiness", "neutral": "neutral"}
    assert mapping(["anger", "contempt"], "parrott").why["contempt"].startswith("Parrott")
    assert mapping(["positive"], "polarity").label == {"positive": "positive"}
    # four emotions of many sets, which all read them alike
    assert set(mapping(["anger", "fear", "sadness"], "basic6").label.values()) == {"anger", "fear", "sadness"}


def test_sets_that_differ_must_be_named() -> None:
    with pytest.raises(InputError, match=r"'surprise' is read as .*nothing in emotic.*--labels"):
        mapping(["fear", "surprise"], "polarity")
    assert mapping(["fear", "surprise"], "polarity", "emotic").label == {"fear": "negative", "surprise": None}
    assert mapping(["fear", "surprise"], "polarity", "basic6").label["surprise"] == "positive"


@pytest.mark.parametrize(
    ("labels", "to", "of"),
    [
        (["rage", "awe"], "polarity", None),
        (["bored"], "polarity", None),
        (["rage"], "mikels", None),
        (["rage"], "polarity", "emotic"),
        (["rage"], "basic7", "polarity"),
    ],
)
def test_labels_without_a_map_are_refused(labels: list[str], to: str, of: str | None) -> None:
    with pytest.raises(InputError, match="--map"):
        mapping(labels, to, of)


def test_other_words_and_spellings_lead_to_known_labels() -> None:
    for words in (ontology.ALIASES, ontology.SPELLINGS):
        assert set(words.values()) <= ontology.EMOTIONS
        assert not set(words) & ontology.EMOTIONS
    assert ontology.ALIASES["happy"] == "happiness"
    assert ontology.SPELLINGS["digust"] == "disgust"
    assert ontology.SPELLINGS["cheerfulness"] == "cheerfullness"
