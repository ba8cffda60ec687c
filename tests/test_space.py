"""Grids and ranges are read with the types of what they vary, and every setting has a name of its own."""

import pytest

from emodo import space
from emodo.records import InputError

BASE = {"backbone": "small"}


def test_values_get_the_types_of_their_parameters():
    given = {
        "method.lambda_center": "5e-6,1",
        "method.batchnorm": "pooled,stratum",
        "method.betas": "[0.5,0.9],[0.9,0.999]",
        "epochs": [20, 40],
        "stratum": "source,null",
        "crop": "true,false",
    }
    found = space.values(given, "IERN", BASE)
    assert found == {
        "method.lambda_center": [5e-6, 1.0],
        "method.batchnorm": ["pooled", "stratum"],
        "method.betas": [[0.5, 0.9], [0.9, 0.999]],
        "epochs": [20, 40],
        "stratum": ["source", None],
        "crop": [True, False],
    }
    assert isinstance(found["method.lambda_center"][1], float)
    assert space.combinations({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    assert space.combinations({}) == []


def test_ranges_are_whole_where_their_parameter_is():
    given = {"method.lambda_center": "1e-6..1:log", "method.channels": "16..64", "clip": "1..2.5"}
    found = space.ranges(given, "IERN", BASE)
    assert found["method.lambda_center"] == space.Range(1e-6, 1.0, True)
    assert found["clip"] == space.Range(1.0, 2.5, False)
    assert str(found["method.lambda_center"]) == "1e-06..1:log"
    channels = found["method.channels"]
    assert (type(channels.low), type(channels.high)) == (int, int)
    assert channels.rounded(33) == 33


def test_what_is_drawn_is_rounded_and_stays_inside():
    assert space.Range(1e-4, 1e-2, True).rounded(0.00123456) == 0.00123
    assert space.Range(0.12345, 0.5, False).rounded(0.12346) == 0.12345
    assert space.Range(0.1, 0.98765, False).rounded(0.98764) == 0.98765


def test_a_setting_is_an_entry_with_its_values_alone_changed():
    setting = {"method.lambda_center": 5e-6, "epochs": 3}
    (entry,) = space.setting_entries("IERN", BASE | {"method.lr": 1e-3}, [setting])
    assert (entry.method, entry.name) == ("IERN", "method.lambda_center=5e-06,epochs=3")
    assert entry.folder == "method.lambda_center-5e-06-epochs-3"
    assert (entry.init_args["lambda_center"], entry.init_args["lr"]) == (5e-6, 1e-3)
    assert (entry.settings["epochs"], entry.settings["backbone"]) == (3, "small")
    assert [space.value_of(entry, name) for name in setting] == [5e-6, 3]


def test_long_names_are_cut_and_stay_different():
    settings = [{f"method.parameter_{at}": 0.123 for at in range(9)} | {"epochs": epochs} for epochs in (1, 2)]
    names = [space.setting_name(setting) for setting in settings]
    assert len(set(names)) == 2
    assert all(len(name) < 120 for name in names)


@pytest.mark.parametrize("written", ["1..", "..1", "1e-3", "1-2", "1..2:lgo", "nan..1", "0..inf", ""])
def test_what_is_no_range_is_refused(written):
    with pytest.raises(InputError, match=r"--ranges method.lr="):
        space.ranges({"method.lr": written}, "ERM", BASE)


@pytest.mark.parametrize("written", ["[1", "", "1e-3", ["1e-3"], "1e-3,0.001", "a,b", {"a": 1}])
def test_what_is_no_grid_is_refused(written):
    with pytest.raises(InputError, match=r"--grid method.lr="):
        space.values({"method.lr": written}, "ERM", BASE)
