"""`emodo serve` under 50 requests at once for a minute: each is answered, and memory stays where it was."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("gradio")


def test_fifty_at_once_for_a_minute_lose_nothing_and_memory_is_flat(trained, capsys):
    file = Path(__file__).parents[2] / "benchmarks" / "serve.py"
    spec = importlib.util.spec_from_file_location("serve_benchmark", file)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    picture = next(trained[0].parent.glob("faces/images/gray/*.png"))
    found = benchmark.measure([str(trained[1])], picture, 50, 60)
    with capsys.disabled():
        print(f"\n{found}")
    assert set(found["statuses"]) == {200}
    assert found["statuses"][200] >= 500
    assert found["different answers"] == 1
    assert max(found["memory MB"][1:]) <= 1.03 * found["memory MB"][0]
