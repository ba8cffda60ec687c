from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodo import manifest
from emodo.records import InputError

HEADER = "path,emotion"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in "abc":
        Image.new("RGB", (40, 30)).save(tmp_path / f"images/{name}.png")
    return tmp_path


def write(folder: Path, text: str | bytes, name: str = "faces.csv") -> Path:
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def problems(file: Path, **options: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        manifest.load(file, **options)  # type: ignore[arg-type]
    return str(caught.value).split("\n")


def only(file: Path, **options: object) -> str:
    lines = problems(file, **options)
    assert len(lines) == 1, lines
    assert lines[0].startswith(str(file))
    return lines[0]


def test_csv_keeps_names_as_written_and_gives_absolute_files(folder: Path) -> None:
    file = write(
        folder,
        "path,emotion,subject,age,x1,y1,x2,y2\nimages/a.png,anger,001,24,1,2,30.5,30\nimages/./b.png,fear,,NA,,,,\n",
    )
    frame = manifest.load(file)
    assert list(frame["path"]) == ["images/a.png", "images/./b.png"]
    assert list(frame["file"]) == [str(folder / "images/a.png"), str(folder / "images/b.png")]
    assert frame["subject"][0] == "001"
    assert pd.isna(frame["subject"][1])
    assert frame["age"].tolist() == ["24", "NA"]
    assert frame["x2"][0] == 30.5
    assert np.isnan(frame["x2"][1])
    assert isinstance(frame.index, pd.RangeIndex)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_marks(folder: Path, end: str, bom: bytes) -> None:
    lines = ["path,emotion,source", "images/a.png,anger,Köln", "images/b.png,joy,x", ""]
    frame = manifest.load(write(folder, bom + end.join(lines).encode()))
    assert frame["source"].tolist() == ["Köln", "x"]
    assert frame.columns.tolist() == ["path", "emotion", "source", "file"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".CSV"])
def test_a_saved_manifest_loads_equal(folder: Path, suffix: str) -> None:
    frame = manifest.load(
        write(
            folder,
            'emotion,age,path,subject,x1,y1,x2,y2\nanger,"2,4\n",images/a.png,01,0,0,40,30\njoy,,images/b.png,,,,,\n',
        )
    )
    target = folder / f"new{suffix}"
    manifest.save(frame, target)
    again = manifest.load(target)
    assert again.columns.tolist() == ["path", "emotion", "subject", "x1", "y1", "x2", "y2", "age", "file"]
    pd.testing.assert_frame_equal(again[frame.columns.tolist()], frame)


def test_parquet_has_plain_columns_and_numbers_become_names(folder: Path) -> None:
    table = pd.DataFrame(
        {
            "path": ["images/a.png", "images/b.png"],
            "emotion": pd.Categorical(["anger", "joy"]),
            "subject": [7.0, None],
            "sequence": [3, 4],
            "source": ["", "x"],
            "age": [30, 40],
        }
    )
    table.set_index("path").to_parquet(folder / "indexed.parquet")
    frame = manifest.load(folder / "indexed.parquet")
    assert frame["subject"][0] == "7"
    assert frame["sequence"].tolist() == ["3", "4"]
    assert frame["source"].isna().tolist() == [True, False]
    assert frame["age"].tolist() == [30, 40]
    manifest.save(frame[frame["age"] > 30], folder / "plain.parquet")
    assert manifest.load(folder / "plain.parquet")["path"].tolist() == ["images/b.png"]
    assert "__index_level_0__" not in pd.read_parquet(folder / "plain.parquet").columns


def test_paths_follow_a_moved_project_and_a_moved_manifest(folder: Path) -> None:
    project = folder / "project"
    (project / "data").mkdir(parents=True)
    (folder / "images").rename(project / "data/images")
    frame = manifest.load(write(project / "data", f"{HEADER}\nimages/a.png,anger\n"))
    (project / "splits/deep").mkdir(parents=True)
    for place, path in (
        ("data/x.csv", "images/a.png"),
        ("splits/x.csv", "../data/images/a.png"),
        ("splits/deep/x.csv", str(project / "data/images/a.png")),
    ):
        manifest.save(frame, project / place)
        assert pd.read_csv(project / place)["path"].tolist() == [path]
        assert manifest.load(project / place)["file"][0] == str(project / "data/images/a.png")
    project.rename(folder / "moved")
    for place in ("data/x.csv", "splits/x.csv"):
        assert manifest.load(folder / "moved" / place)["file"][0] == str(folder / "moved/data/images/a.png")


def test_paths_below_the_root_are_not_made_relative_to_each_other() -> None:
    frame = pd.DataFrame({"path": ["?"], "emotion": ["joy"], "file": ["/data/a.png"]})
    assert manifest._written_paths(frame["file"], Path("/here")) == ["/data/a.png"]
    assert manifest._written_paths(frame["file"], Path("/data")) == ["a.png"]


def test_saving_is_whole_or_absent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(folder, f"{HEADER}\nimages/a.png,anger\n")
    frame = manifest.load(file)
    before = file.read_bytes()

    def fails(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fails)
    with pytest.raises(OSError, match="disk full"):
        manifest.save(frame, file)
    assert file.read_bytes() == before
    assert [entry.name for entry in folder.iterdir() if entry.name.startswith(".")] == []


def test_files_that_are_no_tables(folder: Path) -> None:
    assert "missing: no such file" in only(folder / "absent.csv")
    assert "use .parquet, .csv or .tsv" in only(write(folder, "", "faces.xlsx"))
    (folder / "folder.csv").mkdir()
    assert "is a folder" in only(folder / "folder.csv")
    assert "has no rows" in only(write(folder, ""))
    assert "has no rows" in only(write(folder, f"{HEADER}\n"))
    assert "cannot be read as PARQUET" in only(write(folder, "hello", "x.parquet"))
    assert "save it as UTF-8" in only(write(folder, "path,emotion\nü,anger\n".encode("utf-16")))
    assert "saw 3" in only(write(folder, f"{HEADER}\nimages/a.png,anger,more\n"))
    assert "cannot be read as CSV" in only(write(folder, f'{HEADER}\n"images/a.png,anger\n'))


def test_columns_that_are_missing_repeated_nameless_or_reserved(folder: Path) -> None:
    lines = problems(write(folder, "file,label\nimages/a.png,anger\n"))
    assert [line.split(": ", 1)[1] for line in lines] == [
        "no column path (found: file, label)",
        "no column emotion (found: file, label)",
        "the column file is kept for absolute paths: rename it",
    ]
    assert "more than one column is named emotion" in only(write(folder, "path,emotion,emotion\na,b,c\n"))
    assert "column 1 has no name" in only(write(folder, ",path,emotion\n0,images/a.png,anger\n"))
    assert "no column x2, y2" in only(write(folder, "path,emotion,x1,y1\nimages/a.png,anger,1,2\n"))
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table([["a"], ["b"]], names=["path", "path"]), folder / "twice.parquet")
    assert "more than one column is named path" in only(folder / "twice.parquet")


def test_everything_wrong_is_shown_at_once_in_row_order(folder: Path) -> None:
    file = write(
        folder,
        "path,emotion,split\nimages/a.png,Happy,train\n,anger,test\nimages/b.png,,dev\n"
        "images/no.png,joy,\nimages/a.png,joy,train\n",
    )
    assert [line.removeprefix(f"{file}: ") for line in problems(file)] == [
        "row 1: unknown emotion 'Happy': did you mean 'happiness'?",
        "row 2: the path is empty",
        "row 3: the emotion is empty",
        "row 3: unknown split 'dev': expected one of train, validation, test",
        f"row 4: no image 'images/no.png' (looked for {folder}/images/no.png)",
        "row 4: the split is empty: fill it for all rows or drop the column",
        "row 5: the same image and box as row 1: 'images/a.png'",
    ]


def test_many_problems_are_counted(folder: Path) -> None:
    lines = problems(write(folder, HEADER + "\n" + "".join(f"{n}.png,anger\n" for n in range(95))))
    assert len(lines) == 21
    assert "row 20" in lines[19]
    assert lines[20] == "... and 75 more"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("hapiness", "happiness"),
        ("Anger", "anger"),
        ("SAD", "sadness"),
        (" fear", "fear"),
        ("cheerfulness", "cheerfullness"),
        ("Doubt/Confusion", "doubt/confusion"),
        ("3", None),
        ("xylophone", None),
    ],
)
def test_emotions_are_suggested(folder: Path, written: str, meant: str | None) -> None:
    line = only(write(folder, f"{HEADER}\nimages/a.png,{written}\n"))
    assert line.endswith(f"unknown emotion {written!r}" + (f": did you mean {meant!r}?" if meant else ""))


def test_a_row_may_hold_several_emotions_which_are_put_in_order(folder: Path) -> None:
    rows = ["images/a.png,peace|engagement|doubt/confusion", "images/b.png,engagement", "images/c.png,fear|anger"]
    frame = manifest.load(write(folder, "\n".join([HEADER, *rows])))
    assert frame["emotion"].tolist() == ["doubt/confusion|engagement|peace", "engagement", "anger|fear"]
    for name in ("new.csv", "new.tsv", "new.parquet"):
        manifest.save(frame, folder / name)
        pd.testing.assert_frame_equal(manifest.load(folder / name), frame)


def test_emotics_categories_are_known_in_lower_case_and_meant_in_their_own(folder: Path) -> None:
    whole = (
        "Affection|Anger|Annoyance|Anticipation|Aversion|Confidence|Disapproval|Disconnection|Disquietment|"
        "Doubt/Confusion|Embarrassment|Engagement|Esteem|Excitement|Fatigue|Fear|Happiness|Pain|Peace|Pleasure|Sadness|"
        "Sensitivity|Suffering|Surprise|Sympathy|Yearning"
    )
    emotic = whole.split("|")
    assert len(emotic) == 26
    assert manifest.load(write(folder, f"{HEADER}\nimages/a.png,{whole.lower()}\n"))["emotion"][0] == whole.lower()
    told = only(write(folder, f"{HEADER}\nimages/a.png,{whole}\n"))
    assert told.count("did you mean") == 26
    for name in emotic:
        assert f"unknown emotion {name!r} in {whole!r}: did you mean {name.lower()!r}?" in told
    file = write(folder, f"{HEADER}\nimages/a.png,{whole}\nimages/b.png,Peace|Doubt/Confusion\n")
    assert manifest.load(file, emotions=tuple(emotic))["emotion"].tolist() == [whole, "Doubt/Confusion|Peace"]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("joy|happyness|zzz", "unknown emotion 'happyness' in 'joy|happyness|zzz': did you mean 'happiness'?"),
        ("joy|happyness|zzz", "; unknown emotion 'zzz' in 'joy|happyness|zzz'"),
        ("joy | fear", "unknown emotion 'joy ' in 'joy | fear': did you mean 'joy'?; unknown emotion ' fear'"),
        ("joy|", "unknown emotion '' in 'joy|'"),
        ("|", "unknown emotion '' in '|'"),
        ("joy|fear|joy", "one emotion stands twice in 'joy|fear|joy'"),
        ("", "the emotion is empty"),
    ],
)
def test_what_is_wrong_among_several_emotions_is_named_with_its_row(folder: Path, written: str, problem: str) -> None:
    lines = problems(write(folder, f"{HEADER}\nimages/a.png,fear|joy\nimages/b.png,{written}\n"))
    assert "row 2: " in lines[0]
    assert problem in lines[0]


def test_given_emotions_replace_the_known_ones(folder: Path) -> None:
    file = write(folder, f"{HEADER}\nimages/a.png,Bored\nimages/b.png,Sleepy\n")
    assert len(manifest.load(file, emotions=("Bored", "Sleepy"))) == 2
    assert only(file, emotions=("Bored", "anger")).endswith("'Sleepy': expected one of Bored, anger")


def test_the_vocabulary_holds_the_fields_data_sets() -> None:
    def words(text: str) -> list[str]:
        return text.split()

    emotic = words("""affection anger annoyance anticipation aversion confidence disapproval disconnection
        disquietment doubt/confusion embarrassment engagement esteem excitement fatigue fear happiness pain
        peace pleasure sadness sensitivity suffering surprise sympathy yearning""")
    webemo = words("""affection cheerfullness confusion contentment disappointment disgust enthrallment envy
        exasperation gratitude horror irritabilty lust neglect nervousness optimism pride rage relief sadness
        shame suffering surprise sympathy zest""")
    mikels = words("amusement anger awe contentment disgust excitement fear sadness")
    basic = words("""anger disgust fear happiness sadness surprise neutral contempt joy love positive
        negative""")
    assert (len(emotic), len(webemo), len(mikels)) == (26, 25, 8)
    assert set(emotic + webemo + mikels + basic) == manifest.EMOTIONS
    assert {name.lower() for name in manifest.EMOTIONS} == manifest.EMOTIONS
    assert set(manifest.ALIASES.values()) <= manifest.EMOTIONS
    assert not set(manifest.ALIASES) & manifest.EMOTIONS


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ("1,2,3,", "incomplete"),
        ("1,2,x,4", "x2 is 'x', not a number"),
        ("1,2,inf,4", "not a number"),
        ("5,2,5,4", "empty or inverted (x1 5, y1 2, x2 5, y2 4)"),
        ("5,9,8,4", "empty or inverted"),
        ("-1,2,5,4", "negative corner"),
        ("0,0,41,30", "outside the image, 40 x 30 pixels"),
        ("0,0,40,30.5", "y2 30.5) reaches outside"),
    ],
)
def test_boxes(folder: Path, box: str, problem: str) -> None:
    header = "path,emotion,x1,y1,x2,y2\n"
    file = write(folder, f"{header}images/a.png,anger,0,0,40,30\nimages/a.png,joy,{box}\n")
    assert problem in only(file)
    assert "row 2" in only(file)


def test_two_people_in_an_image_are_two_rows_and_one_person_twice_is_not(folder: Path) -> None:
    rows = ["images/a.png,anger,0,0,4,4", "images/a.png,joy,0,0,8,8", "images/./a.png,joy,0,0,8,8.0"]
    file = write(folder, "\n".join(["path,emotion,x1,y1,x2,y2", *rows]))
    assert "row 3: the same image and box as row 2" in only(file)


def test_headers_are_only_read_for_rows_with_a_box(folder: Path) -> None:
    write(folder, "no image", "images/text.png")
    start = "path,emotion,x1,y1,x2,y2\n"
    file = write(folder, f"{start}images/text.png,anger,,,,\n")
    assert len(manifest.load(file)) == 1
    file = write(folder, f"{start}images/text.png,anger,0,0,1,1\nimages/none.png,joy,0,0,9999,1\n")
    assert [line.split("row ")[1][:1] for line in problems(file)] == ["1", "2"]
    assert "cannot be read as an image" in problems(file)[0]
    assert len(manifest.load(file, check_files=False)) == 2


def test_a_header_that_claims_too_many_pixels_is_not_an_image(folder: Path) -> None:
    # a 25-byte BMP core header of 65535 x 65535 pixels
    head = b"BM" + (25).to_bytes(4, "little") + bytes(4) + (26).to_bytes(4, "little")
    head += (12).to_bytes(4, "little") + b"\xff\xff\xff\xff" + b"\x01\x00\x18\x00"
    write(folder, head, "images/bomb.bmp")
    file = write(folder, "path,emotion,x1,y1,x2,y2\nimages/bomb.bmp,anger,0,0,1,1\n")
    assert "cannot be read as an image" in only(file)


def test_missing_images_are_found_through_links_and_odd_names(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "images")
    (folder / "images/broken.png").symlink_to(folder / "nowhere.png")
    (folder / "images/dir.png").mkdir()
    rows = ["link/a.png", "images/broken.png", "images/dir.png", "none/a.png", str(folder / "images/b.png")]
    lines = problems(write(folder, HEADER + "\n" + "\n".join(f"{row},joy" for row in rows)))
    assert [line.split("row ")[1][0] for line in lines] == ["2", "3", "4"]


def test_a_sequence_in_two_splits(folder: Path) -> None:
    rows = ["images/a.png,joy,s1,A,train", "images/b.png,joy,s1,B,test", "images/c.png,joy,s1,A,test"]
    file = write(folder, "\n".join(["path,emotion,sequence,source,split", *rows]))
    assert only(file).endswith("row 3: sequence 's1' is in test here and in train at row 1")
    write(folder, "\n".join(["path,emotion,sequence,source,split", *rows[:2]]))
    assert len(manifest.load(file)) == 2
    boxes = "path,emotion,x1,y1,x2,y2,split\nimages/a.png,joy,0,0,4,4,train\nimages/a.png,joy,4,4,9,9,test\n"
    assert "image 'images/a.png' is in test here and in train at row 1" in only(write(folder, boxes))


def test_keys_name_sequences_and_subjects_within_their_source() -> None:
    frame = pd.DataFrame(
        {
            "path": list("abcde"),
            "source": ["A", "A", "B", None, "A"],
            "sequence": ["1", "1", "1", "1", None],
            "subject": ["1", "1", "1", None, None],
        }
    )
    sequence, subject = manifest.sequence_key(frame), manifest.subject_key(frame)
    assert sequence.nunique() == 4
    assert sequence[0] == sequence[1] != sequence[2]
    assert sequence[4] == "e"
    assert not set(sequence) & set(subject[:3])
    assert subject[3:].tolist() == sequence[3:].tolist()
    assert manifest.sequence_key(frame[["path"]]).tolist() == list("abcde")
    assert manifest.sequence_key(frame[["path", "sequence"]]).nunique() == 2
    assert manifest.subject_key(frame[["path"]]).tolist() == list("abcde")


def test_a_target_is_refused_before_any_work(folder: Path) -> None:
    file = write(folder, f"{HEADER}\nimages/a.png,anger\n")
    manifest.check_target(folder / "new.csv")
    manifest.check_target(file, overwrite=True)
    with pytest.raises(InputError, match="choose another OUT"):
        manifest.check_target(file)
    with pytest.raises(InputError, match="no table by its suffix"):
        manifest.check_target(folder / "new.txt")
    (folder / "dir.csv").mkdir()
    with pytest.raises(InputError, match=r"exists already: choose another OUT$"):
        manifest.check_target(folder / "dir.csv", overwrite=True)
