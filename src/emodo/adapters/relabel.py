"""A manifest under coarser labels, or under names of the user's own."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from emodo import ontology
from emodo.manifest import check_target, load, save, suggestion
from emodo.multilabel import JOIN
from emodo.records import InputError


def relabel(
    manifest: Path,
    out: Path,
    to: str | None = None,
    map: Path | None = None,
    labels: str | None = None,
    emotions: list[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """emodo prepare relabel webemo.csv webemo2.csv --to 2

    Reads the emotions of a manifest as those of a coarser set: EMOTIC's 26, WEBEmo's 25, the eight of EmoSet and FI
    or of AffectNet and CK+ as positive and negative, as Parrott's six, or as the basic six or seven. The maps are in
    `emodo.ontology`. What became of each label is printed with its rows, and so is the reason against every reading
    that could as well be another. A label without a counterpart goes, and a row goes with its last label. In a row with
    several labels, joined by `|`, each is read by itself, and the distinct ones are joined again.

    --map my.yaml overrules --to for single labels or, without --to, says all of them; `null` drops a label:

        surprise: null
        sympathy: positive

    Args:
        manifest: The manifest to read.
        out: The manifest to write (.parquet, .csv or .tsv).
        to: The set to read the labels as: polarity, parrott, webemo7, basic6 or basic7, or its size where one set has
            it (2 is polarity).
        map: A YAML file of `label: new label`.
        labels: The set that the manifest's labels are of: emotic, webemo, mikels, affectnet, basic7, emotion6, webemo7,
            basic6 or parrott. By default any that holds them all; needed where two do and read one differently.
        emotions: Labels of your own that the manifest or MAP holds, beside the known ones.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: Neither --to nor --map, a label that has no reading, no row that is left, a file MAP that is no
            such table, and all that `emodo.manifest.validate` finds.
    """
    check_target(out, overwrite)
    if to is None and map is None:
        raise InputError("say which labels are wanted: --to 2, say, or --map my.yaml")
    goal = None if to is None else ontology.target(to)
    known = ontology.EMOTIONS | set(emotions or ())
    own = {} if map is None else _read(map, known, ontology.SETS[goal] if goal else tuple(known))
    frame = load(manifest, tuple(known), check_files=False)
    cells = Counter(frame["emotion"])
    held = Counter[str]()
    for cell, rows in cells.items():
        held.update(dict.fromkeys(cell.split(JOIN), rows))
    rest = [label for label in held if label not in own]
    if rest and goal is None:
        raise InputError(f"{map} has no line for {', '.join(sorted(rest))}: add one each, `null` drops a label")
    found = ontology.Map({}, {})
    if rest and goal:
        found = ontology.mapping(rest, goal, None if labels is None else ontology.target(labels))
    read = {**found.label, **{label: new for label, new in own.items() if label in held}}
    new = {
        cell: JOIN.join(dict.fromkeys(name for label in cell.split(JOIN) if (name := read[label]))) for cell in cells
    }
    emotion = np.array([new[cell] for cell in frame["emotion"]])
    kept = frame.assign(emotion=emotion).loc[emotion != ""].reset_index(drop=True)
    if kept.empty:
        raise InputError(f"{manifest}: no row has a label left: no counterpart for {', '.join(sorted(held))}")
    save(kept, out)
    print("\n".join([f"{out}: {len(kept)} of {len(frame)} rows", *_told(read, held, found.why)]), file=sys.stderr)
    return out


def _told(read: Mapping[str, str | None], held: Counter[str], why: Mapping[str, str]) -> list[str]:
    """What became of each label, and what can be said against it."""
    lines: list[str] = []
    for name in dict.fromkeys(read[label] for label, _ in held.most_common()):
        parts = ", ".join(f"{label} {rows}" for label, rows in held.most_common() if read[label] == name)
        lines.append(f"  {name or 'dropped'}: {parts}")
    return lines + [f"  debatable, {label} as {read[label]}: {reason}" for label, reason in why.items()]


def _read(file: Path, known: frozenset[str], wanted: tuple[str, ...]) -> dict[str, str | None]:
    """The table of a YAML file, label -> new label or None, checked line by line."""
    try:
        node = yaml.compose(file.read_text(encoding="utf-8-sig"), yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file} cannot be read as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{file} is no table: write `label: new label` in each line")
    table: dict[str, str | None] = {}
    problems: list[str] = []
    for key, value in node.value:
        where = f"{file}: line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.ScalarNode):
            problems.append(f"{where}: write `label: new label`, or `label: null`")
            continue
        new = None if value.tag == "tag:yaml.org,2002:null" else str(value.value)
        for name, labels in ((str(key.value), known), (new, wanted)):
            if name is not None and name not in labels:
                meant = suggestion(name, labels)
                own = " (--emotions names your own)" if len(labels) >= len(known) else f": {', '.join(labels)}"
                problems.append(
                    f"{where}: {name!r} is no known label" + (f": did you mean {meant!r}?" if meant else own)
                )
        if key.value in table:
            problems.append(f"{where}: {key.value!r} has a line already")
        table[str(key.value)] = new
    if problems:
        raise InputError("\n".join(problems))
    return table
