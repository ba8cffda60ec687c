"""Tables as they are printed and as Markdown."""

from emodo import tabular

TABLE = (["setting", "accuracy"], [["a|b", "61.2 [58.0, 64.4]"], ["[red]c", "1\n2"]])


def test_markdown_escapes_what_would_break_a_row():
    page = tabular.markdown([TABLE], ["a note\nof two lines"])
    assert page.splitlines() == [
        "| setting | accuracy |",
        "|---|---|",
        "| a\\|b | 61.2 [58.0, 64.4] |",
        "| [red]c | 1 2 |",
        "",
        "- a note of two lines",
    ]


def test_what_is_printed_is_printed_as_it_is_and_an_empty_table_is_not(capsys):
    long = "a note that is longer than any terminal " * 10
    tabular.show([TABLE, (["nothing"], [])], [long])
    out, err = capsys.readouterr()
    assert not err
    assert "[red]c" in out
    assert "61.2 [58.0, 64.4]" in out
    assert "nothing" not in out
    assert f"- {long}".strip() in [line.strip() for line in out.splitlines()]


def test_an_interval_stands_behind_its_value():
    assert tabular.with_interval(0.6123, {"low": 0.58, "high": 0.6444}) == "61.2 [58.0, 64.4]"
    assert tabular.with_interval(0.1, {"low": None, "high": None}) == "10.0"
    assert tabular.with_interval(-0.021, {"low": -0.03, "high": 0.001}, "+") == "-2.1 [-3.0, +0.1]"


def test_one_is_no_plural():
    assert [tabular.counted(n, "seed") for n in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
