"""KDEF in miniature: a man and a woman, two sessions, seven expressions, five angles."""

from __future__ import annotations

from emodo.adapters import ADAPTERS
from emodo.adapters.jaffe import jaffe
from emodo.adapters.kdef import ANGLES, EMOTIONS, kdef

FILES = {
    f"KDEF_and_AKDEF/KDEF/{session}{who}/{session}{who}{code}{angle}.JPG": None
    for session in "AB"
    for who in ("F01", "M35")
    for code in EMOTIONS
    for angle in ANGLES
}


def test_the_name_says_all(place, prepare) -> None:
    frame, said = prepare(kdef, place(FILES))
    assert frame.columns.tolist() == (
        ["path", "emotion", "source", "subject", "sequence", "session", "gender", "angle", "file"]
    )
    row = frame.loc[frame["path"].str.endswith("/BM35AFHL.JPG")].iloc[0]
    assert row.drop("file").tolist() == (
        ["data/KDEF_and_AKDEF/KDEF/BM35/BM35AFHL.JPG", "fear", "KDEF", "M35", "BM35AF", "B", "male", "half left"]
    )
    assert said == (
        "out.csv: 140 images, 28 sequences, 2 subjects, 7 emotions\n"
        "out.csv: warning: 140 pictures, published are 4900; 2 subjects, published are 70\n"
    )
    assert ADAPTERS["kdef"] is kdef


def test_codes_stand_for_emotions_and_genders(place, prepare) -> None:
    frame, _ = prepare(kdef, place(FILES))
    codes = frame["path"].str.extract(r"[FM]\d\d(..)[FHLSR]+\.")[0]
    assert set(zip(codes, frame["emotion"], strict=True)) == {
        ("AF", "fear"),
        ("AN", "anger"),
        ("DI", "disgust"),
        ("HA", "happiness"),
        ("NE", "neutral"),
        ("SA", "sadness"),
        ("SU", "surprise"),
    }
    assert set(zip(frame["subject"], frame["gender"], strict=True)) == {("F01", "female"), ("M35", "male")}


def test_a_take_is_a_sequence_and_a_person_a_subject_over_both_sessions(place, prepare) -> None:
    frame, _ = prepare(kdef, place(FILES))
    assert frame.groupby("sequence")["angle"].nunique().tolist() == [5] * 28
    assert frame.groupby("subject")["session"].nunique().tolist() == [2, 2]


def test_angles_can_be_chosen(place, prepare) -> None:
    frame, said = prepare(kdef, place(FILES), angles=["S", "HR"])
    assert set(frame["angle"]) == {"straight", "half right"}
    assert len(frame) == 56
    assert "; passed over 84 pictures from other angles\n" in said
    assert "140 pictures, published are 4900" in said  # the data set is counted before the choice


def test_names_that_do_not_parse_are_counted_and_named(place, prepare) -> None:
    files = FILES | {
        "KDEF_and_AKDEF/KDEF/AF31/AF31V.JPG": None,
        "KDEF_and_AKDEF/KDEF/AM31/AM31H.JPG": None,
        "KDEF_and_AKDEF/KDEF/AF01/._AF01ANS.JPG": None,
        "KDEF_and_AKDEF/readme.txt": "read me",
    }
    frame, said = prepare(kdef, place(files))
    assert len(frame) == 140
    assert "; passed over 2 images whose names do not parse: AF31V.JPG, AM31H.JPG\n" in said


def test_the_averaged_faces_are_passed_over(place, prepare) -> None:
    averaged = {f"KDEF_and_AKDEF/AKDEF/{sex}{code}S.JPG": None for sex in "FM" for code in EMOTIONS}
    frame, said = prepare(kdef, place(FILES | averaged))
    assert len(frame) == 140
    assert "passed over 14 images whose names do not parse: FAFS.JPG, FANS.JPG, FDIS.JPG, ...\n" in said


def test_names_in_lower_case(place, prepare) -> None:
    frame, _ = prepare(kdef, place({"af01anfr.jpg": None, "deep/er/bf01has.jpeg": None}))
    assert frame[["emotion", "subject", "session", "angle"]].to_numpy().tolist() == [
        ["anger", "F01", "A", "full right"],
        ["happiness", "F01", "B", "straight"],
    ]


def test_the_same_picture_twice(place, refusal) -> None:
    message = refusal(kdef, place(FILES | {"zcopy/AF01ANS.JPG": None}))
    assert message == (
        "data/zcopy/AF01ANS.JPG: the same picture as data/KDEF_and_AKDEF/KDEF/AF01/AF01ANS.JPG: leave one of them in "
        "ROOT"
    )


def test_a_folder_of_something_else(place, refusal) -> None:
    assert refusal(kdef, place({"KA.AN1.39.tiff": None})).endswith("it looks like data for emodo prepare jaffe")
    assert refusal(jaffe, place({"AF01/AF01ANS.JPG": None}, "b")).endswith("it looks like data for emodo prepare kdef")
    assert refusal(kdef, place({"a/": None}, "empty")) == (
        "empty holds no picture like AF01ANS.JPG (7 folders deep); found a/: see emodo prepare kdef --help"
    )
