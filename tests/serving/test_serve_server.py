"""`emodo serve` as it is called: what it refuses, where it listens, how it ends."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from emodo.records import InputError
from emodo.serving import server
from emodo.serving.server import serve

pytest.importorskip("gradio")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"max_mb": 0}, "--max_mb is 0: it must be more than 0"),
        ({"max_pixels": -1}, "--max_pixels is -1: it must be more than 0"),
        ({"at_once": 0}, "--at_once is 0: it must be more than 0"),
        ({"timeout": float("nan")}, "--timeout is nan: it must be more than 0"),
        ({"port": 70000}, "--port is 70000: it is 0 to 65535"),
        ({"accelerator": "tpu"}, "--accelerator is 'tpu': it can be auto, cpu or gpu"),
        ({"faces": "face.onnx", "port": 0}, "--faces is face.onnx: it is auto, none, lbp, or a file"),
        ({"host": "203.0.113.1"}, r"203\.0\.113\.1, port 7860 cannot be listened at \(.*\): see --host"),
    ],
)
def test_what_does_not_fit_is_refused(trained, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        serve([trained[0]], **settings)


def test_a_run_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is not a run: it has no config\.yaml"):
        serve([tmp_path], port=0)


def test_a_port_that_is_taken_is_named(trained):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1, port {port} cannot be listened at .*: choose another --port"):
            serve([trained[0]], port=port)


def test_without_gradio_it_says_what_to_install(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(InputError, match=r"emodo serve needs Gradio: pip install 'emodo\[serve\]'"):
        serve([trained[0]])


def test_beyond_this_machine_it_warns(trained, capsys):
    class Finder:
        name = "none"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server._say([], Finder(), listener, "0.0.0.0")
        assert "whoever reaches 0.0.0.0 can use it; there is no password" in capsys.readouterr().err
        server._say([], Finder(), listener, "127.0.0.1")
        said = capsys.readouterr()
        assert "password" not in said.err
        assert said.out.startswith(f"http://127.0.0.1:{listener.getsockname()[1]}  (")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_ended_and_leaves_nothing(trained, tmp_path, ending):
    code = "from emodo.serving import server; import pathlib, sys; server.MEMORY = pathlib.Path(sys.argv.pop(1))"
    code += "; from emodo.__main__ import main; sys.exit(main())"
    words = [sys.executable, "-c", code, str(tmp_path), "serve", *map(str, trained), "--port", "0", "--accelerator=cpu"]
    environment = os.environ | {"PYTHONPATH": str(Path(server.__file__).parents[2])}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            address = process.stdout.readline().split()[0]
            assert [path.name[:6] for path in tmp_path.iterdir()] == ["emodo-"]
            for page, word in (("/", "gradio"), ("/docs", "swagger"), ("/openapi.json", "/predict"), ("/runs", "IERN")):
                with urllib.request.urlopen(address + page, timeout=30) as answer:
                    assert word in answer.read().decode()
            elsewhere = urllib.request.Request(address + "/runs", headers={"Host": "evil.example"})
            with pytest.raises(urllib.error.HTTPError, match="400") as refused:
                urllib.request.urlopen(elsewhere, timeout=30)
            refused.value.close()
            process.send_signal(ending)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert said.splitlines() == ["emodo serve: ERM (ERM), IERN (IERN); faces: LBP", "emodo serve: stopped"]
    assert list(tmp_path.iterdir()) == []
