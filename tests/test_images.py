"""What is asked of every image file: in order, each file once, and what is broken named by its row."""

from pathlib import Path
from threading import Event, Timer

import pandas as pd
import pytest

from emodo import images
from emodo.images import of_files
from emodo.records import InputError

NAME = Path("faces.csv")


def table(files, index=None):
    return pd.DataFrame({"path": [Path(file).name for file in files], "file": files}, index=index)


def test_each_file_is_asked_once_and_answers_in_order():
    files = [f"/data/{at % 90}.png" for at in range(300)]
    asked = []
    found = list(of_files(lambda file: asked.append(file) or int(file.stem), table(files), NAME))
    assert found == [(f"/data/{at}.png", at) for at in range(90)]
    assert len(asked) == 90


def test_broken_files_are_named_by_their_rows_once_the_others_are_done():
    def odd(file):
        if int(file.stem) % 2:
            raise ValueError("is odd")
        return True

    frame = table([f"/data/{at}.png" for at in (0, 1, 2, 3, 1)], index=[4, 7, 8, 11, 12])
    found = of_files(odd, frame, NAME)
    assert [next(found), next(found)] == [("/data/0.png", True), ("/data/2.png", True)]
    with pytest.raises(InputError) as caught:
        next(found)
    assert str(caught.value).splitlines() == [
        "faces.csv, row 8: the image 1.png is odd",
        "faces.csv, row 12: the image 3.png is odd",
        "faces.csv, row 13: the image 1.png is odd",
        "Replace these images or remove their rows.",
    ]


def test_many_broken_files_fit_on_a_screen(tmp_path):
    with pytest.raises(InputError) as caught:
        list(of_files(lambda file: file.stat(), table([str(tmp_path / f"{at}.png") for at in range(50)]), NAME))
    lines = str(caught.value).splitlines()
    assert lines[0] == "faces.csv, row 1: the image 0.png does not exist"
    assert lines[-2:] == ["... and 30 more", "Replace these images or remove their rows."]
    assert len(lines) == 22


def test_what_is_no_fault_of_an_image_is_not_hidden():
    def fail(file):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(of_files(fail, table(["/data/0.png"]), NAME))


def test_whoever_stops_early_does_not_wait_for_all(monkeypatch):
    monkeypatch.setattr(images, "AT_A_TIME", 1)
    going_on, asked = Event(), []

    def ask(file):
        asked.append(file)
        return file.stem == "0" or going_on.wait()

    found = of_files(ask, table([f"/data/{at}.png" for at in range(1000)]), NAME)
    next(found)
    Timer(1, going_on.set).start()  # those in hand end when the others are no longer waited for
    found.close()
    assert len(asked) < 20


def test_an_empty_table_has_no_files():
    assert list(of_files(lambda file: file, table([]), NAME)) == []
