"""The labels of the field's data sets, and how a finer set is read as a coarser one.

    26 emotic    25 webemo    8 mikels, affectnet    7 basic7, emotion6, webemo7    6 basic6, parrott    2 polarity

Two sets of one size are two sets: Mikels' eight (EmoSet, FI) hold awe and no surprise, AffectNet's and CK+'s eight hold
contempt and neutral. Every map from set to set is written down here, one label at a time. A label without a counterpart
maps to None and its rows are dropped; a label that could as well be read otherwise has its reason beside it, which
`emodo prepare relabel` prints. What data sets publish is followed: WEBEmo's category.txt, EmoSet's two classes, and
for Ekman's six the mapping of GoEmotions (Demszky et al., ACL 2020), whose words meet many of EMOTIC's and WEBEmo's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from emodo.records import InputError

SETS: dict[str, tuple[str, ...]] = {
    # EMOTIC's 26 in the order of its authors, alphabetical; its npy release has another
    "emotic": (
        *("affection", "anger", "annoyance", "anticipation", "aversion", "confidence", "disapproval"),
        *("disconnection", "disquietment", "doubt/confusion", "embarrassment", "engagement", "esteem", "excitement"),
        *("fatigue", "fear", "happiness", "pain", "peace", "pleasure", "sadness", "sensitivity", "suffering"),
        *("surprise", "sympathy", "yearning"),
    ),
    # WEBEmo's 25, numbers 0 to 24; 'cheerfullness' and 'irritabilty' are its official names
    "webemo": (
        *("affection", "cheerfullness", "confusion", "contentment", "disappointment", "disgust", "enthrallment"),
        *("envy", "exasperation", "gratitude", "horror", "irritabilty", "lust", "neglect", "nervousness"),
        *("optimism", "pride", "rage", "relief", "sadness", "shame", "suffering", "surprise", "sympathy", "zest"),
    ),
    # EmoSet's and FI's eight (Mikels et al. 2005), EmoSet's numbers 0 to 7
    "mikels": ("amusement", "awe", "contentment", "excitement", "anger", "disgust", "fear", "sadness"),
    # AffectNet's numbers 0 to 7; CK+ has the same eight
    "affectnet": ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"),
    "basic7": ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    # Emotion6 (Peng et al. 2015): the basic seven, with joy in happiness' place
    "emotion6": ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"),
    # the second level of WEBEmo's file: Parrott's six and, alone in its group, confusion
    "webemo7": ("anger", "confusion", "fear", "joy", "love", "sadness", "surprise"),
    "basic6": ("anger", "disgust", "fear", "happiness", "sadness", "surprise"),
    "parrott": ("anger", "fear", "joy", "love", "sadness", "surprise"),
    "polarity": ("positive", "negative"),
}
EMOTIONS = frozenset(label for labels in SETS.values() for label in labels)

# Other words for the basic emotions, as data sets name their folders and classes.
ALIASES = {
    "angry": "anger",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}

# What files and folders of single data sets have in the place of a label.
SPELLINGS = {
    "cheerfulness": "cheerfullness",  # WEBEmo, corrected by its users
    "irritability": "irritabilty",
    "digust": "disgust",  # a folder of Emotion-6
    "disquitement": "disquietment",  # in the READMEs of EMOTIC's authors
}


class Map(NamedTuple):
    """How the labels of one set are read as those of another.

    label: what each becomes, None where it has no counterpart. why: what could be said against the reading, for the
    labels that could as well be read otherwise.
    """

    label: dict[str, str | None]
    why: dict[str, str]


def _map(source: str, groups: dict[str, str], **why: str) -> Map:
    named = {label: group for group, labels in groups.items() for label in labels.split()}
    return Map({label: named.get(label) for label in SETS[source]}, why)


def _then(first: Map, second: Map) -> Map:
    """One map after the other; a reason of the second speaks of all that it is reached from."""
    reached = {label: second.label.get(group or "") for label, group in first.label.items()}
    why = {label: second.why[group] for label, group in first.label.items() if group in second.why}
    return Map(reached, why | first.why)


def _without(given: Map, *dropped: str) -> Map:
    kept = {label: None if group in dropped else group for label, group in given.label.items()}
    return Map(kept, {label: reason for label, reason in given.why.items() if kept[label]})


def _of(given: Map, labels: Iterable[str]) -> Map:
    some = {label: given.label[label] for label in labels}
    return Map(some, {label: reason for label, reason in given.why.items() if label in some})


_LOVE = "Ekman has no love; GoEmotions counts it, gratitude and desire as joy"
_FOR_OTHERS = "Parrott's tree has it under sadness; it is felt with others' sadness"

_WEBEMO7 = _map(  # category.txt, level 3 to level 2
    "webemo",
    {
        "love": "affection gratitude lust",
        "joy": "cheerfullness contentment enthrallment optimism pride relief zest",
        "surprise": "surprise",
        "anger": "disgust envy exasperation irritabilty rage",
        "sadness": "disappointment neglect sadness shame suffering sympathy",
        "fear": "horror nervousness",
        "confusion": "confusion",  # WEBEmo's README counts six groups and leaves it out, its file has this seventh
    },
)
_JOY = _map("emotion6", {**{label: label for label in SETS["basic7"]}, "happiness": "joy"})
_SURPRISE = "it may be good or bad: WEBEmo's file has it positive, GoEmotions neither"
_DISGUST = "Parrott's tree and WEBEmo's file have it under anger, Ekman on its own"

_POLARITY = {
    "webemo7": _map(
        "webemo7",
        {"positive": "joy love surprise", "negative": "anger confusion fear sadness"},  # category.txt, level 1
        surprise=_SURPRISE,
    ),
    "mikels": _map(
        "mikels", {"positive": "amusement awe contentment excitement", "negative": "anger disgust fear sadness"}
    ),
    "affectnet": _map(  # neutral has no sign
        "affectnet",
        {"positive": "happiness surprise", "negative": "anger contempt disgust fear sadness"},
        surprise=_SURPRISE,
    ),
    # Not published. Anticipation, doubt, engagement, surprise and yearning say what a person does or wants and not how
    # that feels (GoEmotions: confusion, curiosity and surprise have no sign), and most rows have other labels beside.
    "emotic": _map(
        "emotic",
        {
            "positive": "affection confidence esteem excitement happiness peace pleasure sympathy",
            "negative": "anger annoyance aversion disapproval disconnection disquietment embarrassment fatigue fear "
            "pain sadness sensitivity suffering",
        },
        sympathy="EMOTIC calls it supportive, GoEmotions' caring is positive, WEBEmo's sympathy negative",
        disconnection="EMOTIC's words are indifferent and bored, which need not be unpleasant",
        fatigue="tired and sleepy need not be unpleasant",
    ),
}
_PARROTT = {
    "webemo7": _without(Map({label: label for label in SETS["webemo7"]}, {}), "confusion"),
    "mikels": _map(  # awe is not in Parrott's tree; its nearest word there, amazement, is a surprise
        "mikels",
        {"joy": "amusement contentment excitement", "anger": "anger disgust", "fear": "fear", "sadness": "sadness"},
        disgust=_DISGUST,
    ),
    "affectnet": _map(  # neutral is no emotion
        "affectnet",
        {
            "anger": "anger contempt disgust",
            **{"fear": "fear", "joy": "happiness", "sadness": "sadness", "surprise": "surprise"},
        },
        contempt="Parrott's tree has it under disgust, and disgust under anger",
        disgust=_DISGUST,
    ),
    # Not published. Anticipation, disconnection, doubt, engagement and fatigue have no word in Parrott's tree.
    "emotic": _map(
        "emotic",
        {
            "anger": "anger annoyance aversion disapproval",
            "fear": "disquietment fear",
            "joy": "confidence excitement happiness peace pleasure",
            "love": "affection esteem yearning",
            "sadness": "embarrassment pain sadness sensitivity suffering sympathy",
            "surprise": "surprise",
        },
        aversion="EMOTIC's aversion is disgust, which Parrott's tree has under anger",
        disapproval="EMOTIC's words are contempt and hostile, Parrott's contempt is under anger",
        confidence="EMOTIC's words are encouraged and proud, and Parrott's pride is a joy",
        esteem="EMOTIC's words are respect and gratefulness, and WEBEmo has gratitude under love",
        yearning="Parrott's longing and lust are under love; EMOTIC's words name envy too",
        embarrassment="Parrott's tree has it under sadness (neglect); EMOTIC's words are ashamed and guilty",
        pain="EMOTIC's pain is physical",
        sensitivity="EMOTIC's words are wounded and vulnerable",
        sympathy=_FOR_OTHERS + ", and EMOTIC calls it supportive",
    ),
}
_BASIC7 = {
    "affectnet": _map("affectnet", {label: label for label in SETS["basic7"]}),  # contempt is none of the seven
    "mikels": _map(  # awe is none of them
        "mikels",
        {
            "happiness": "amusement contentment excitement",
            **{label: label for label in ("anger", "disgust", "fear", "sadness")},
        },
    ),
    "webemo7": _map(
        "webemo7",
        {
            "happiness": "joy love",
            **{label: label for label in ("anger", "fear", "sadness", "surprise")},
        },
        anger="Parrott's anger holds disgust, which cannot be told from it any more",
        love=_LOVE,
    ),
    "webemo": _map(  # confusion is none of them (GoEmotions: surprise)
        "webemo",
        {
            "anger": "envy exasperation irritabilty rage",
            "disgust": "disgust",
            "fear": "horror nervousness",
            "happiness": "affection cheerfullness contentment enthrallment gratitude lust optimism pride relief zest",
            "sadness": "disappointment neglect sadness shame suffering sympathy",
            "surprise": "surprise",
        },
        envy="Parrott's tree has it under anger",
        **dict.fromkeys(("affection", "gratitude", "lust"), _LOVE),
        shame="Parrott's tree has it under sadness, as GoEmotions has embarrassment",
        sympathy=_FOR_OTHERS,
    ),
    # Not published. Anticipation, disconnection, doubt, engagement, fatigue, sympathy and yearning are none of them.
    "emotic": _map(
        "emotic",
        {
            "anger": "anger annoyance disapproval",
            "disgust": "aversion",
            "fear": "disquietment fear",
            "happiness": "affection confidence esteem excitement happiness peace pleasure",
            "sadness": "embarrassment pain sadness sensitivity suffering",
            "surprise": "surprise",
        },
        disapproval="GoEmotions counts it as anger; EMOTIC's words name contempt",
        affection=_LOVE,
        esteem="GoEmotions counts admiration and gratitude as joy",
        confidence="GoEmotions counts pride as joy",
        peace="calm is far from what is mostly shown as happiness",
        embarrassment="GoEmotions counts it as sadness; EMOTIC's words are ashamed and guilty",
        pain="EMOTIC's pain is physical",
        sensitivity="EMOTIC's words are wounded and vulnerable",
    ),
}
for _maps in (_POLARITY, _PARROTT):
    _maps["webemo"] = _then(_WEBEMO7, _maps["webemo7"])
for _maps in (_POLARITY, _PARROTT, _BASIC7):
    _maps["emotion6"] = _then(_JOY, _maps["affectnet"])
    for _part, _whole in (("basic6", "affectnet"), ("basic7", "affectnet"), ("parrott", "webemo7")):
        _maps[_part] = _of(_maps[_whole], SETS[_part])

# target -> source -> map
MAPS: dict[str, dict[str, Map]] = {
    "polarity": _POLARITY,
    "parrott": _PARROTT,
    "webemo7": {"webemo": _WEBEMO7},
    "basic7": _BASIC7,
    "basic6": {source: _without(given, "neutral") for source, given in _BASIC7.items()},
}


def target(name: str) -> str:
    """The set of `SETS` that `name` means: its name, or its size where one set has it.

    Raises InputError for an unknown name, and for a size that several sets have.
    """
    sized = [known for known, labels in SETS.items() if str(len(labels)) == name]
    if name in SETS or len(sized) == 1:
        return name if name in SETS else sized[0]
    if sized:
        listed = "; ".join(f"{known} is {', '.join(SETS[known])}" for known in sized)
        raise InputError(f"{len(sized)} sets have {name} labels, name one: {listed}")
    listed = ", ".join(f"{known} ({len(labels)})" for known, labels in SETS.items())
    raise InputError(f"no set of labels is called {name!r}: there are {listed}")


def mapping(labels: Iterable[str], to: str, of: str | None = None) -> Map:
    """How `labels` are read as those of the set `to`.

    of: the set that the labels are of; by default any that holds them all.

    Raises InputError where no set with a map to `to` holds all labels, and where several do and differ in one.
    """
    wanted = sorted(set(labels))
    maps = {to: Map({label: label for label in SETS[to]}, {}), **MAPS.get(to, {})}
    held = [name for name in ([of] if of else maps) if set(wanted) <= set(SETS[name])]
    found = {name: maps[name] for name in held if name in maps}
    if not found:
        sets = f"the set {of}" if of else f"one set that is read as {to} ({', '.join(sorted(maps))})"
        raise InputError(
            f"the labels {', '.join(wanted)} are not all of {sets}: say in a file of your own (--map) what "
            "each of them becomes"
        )
    differing = [label for label in wanted if len({given.label[label] for given in found.values()}) > 1]
    if differing:
        read = ", ".join(f"{given.label[differing[0]] or 'nothing'} in {name}" for name, given in found.items())
        raise InputError(
            f"the labels are of several sets, and {differing[0]!r} is read as {read}: name the set (--labels)"
        )
    return _of(next(iter(found.values())), wanted)
