"""`emodo serve`: one command, a web page and an HTTP interface, on this machine alone unless told otherwise."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emodo.parallel import cores
from emodo.records import InputError

if TYPE_CHECKING:
    from emodo.serving.limits import App
    from emodo.serving.models import Model
    from emodo.serving.pictures import Finder

HERE = ("127.0.0.1", "localhost", "::1")
MEMORY = Path("/dev/shm")  # a folder that is memory, where the system has one
FAREWELL = 3  # seconds that open connections get at the end


def serve(
    runs: list[Path],
    host: str = "127.0.0.1",
    port: int = 7860,
    faces: str = "auto",
    max_mb: float = 10.0,
    max_pixels: int | None = None,
    at_once: int = 64,
    timeout: float = 30.0,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
) -> None:
    """emodo serve runs/erm runs/iern

    Show trained runs on a web page: a picture, a slider that blurs it or takes its colour away, and what each run says,
    on average and in each context. The same address answers programs (/docs). Ctrl-C ends it.

    Args:
        runs: Finished runs, side by side on the page.
        host: The address to listen at. 127.0.0.1 is this machine alone; 0.0.0.0 lets in whoever reaches it, without a
            password.
        port: The port; 0 for any that is free.
        faces: How faces are found: auto (LBP, where scikit-image is installed), none, lbp, or YuNet's file, which also
            turns them upright.
        max_mb: Larger uploads are refused, in millions of bytes.
        max_pixels: Larger pictures are refused before they are decoded; by default the smallest limit of the runs'
            trainings.
        at_once: Requests to /predict that may wait for their answer; more are refused.
        timeout: Seconds that one of them may take, its upload included.
        precision: fp32, bf16 (mixed), or auto: bf16 on a GPU and fp32 on a CPU.
        accelerator: cpu, gpu, or auto.

    Raises:
        InputError: A run is not finished, a setting does not fit, the port is taken, or Gradio is not installed.
    """
    from emodo.inference import check_accelerator

    for name, value in {"max_mb": max_mb, "max_pixels": max_pixels, "at_once": at_once, "timeout": timeout}.items():
        if value is not None and not value > 0:
            raise InputError(f"--{name} is {value:g}: it must be more than 0")
    check_accelerator(accelerator)
    _find_gradio()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended by a service manager as by Ctrl-C: nothing stays
    with _listening(host, port) as listener, tempfile.TemporaryDirectory(dir=_memory(), prefix="emodo-") as folder:
        from emodo.serving.models import load_models
        from emodo.serving.pictures import Finder

        models = load_models(runs, precision, accelerator, max_pixels)
        finder = Finder(faces)
        app = application(models, finder, Path(folder), host, int(max_mb * 1e6), at_once, timeout)
        _say(models, finder, listener, host)
        _run(app, listener)
    print("emodo serve: stopped", file=sys.stderr)


def application(
    models: Sequence[Model],
    finder: Finder,
    folder: Path,
    host: str = "127.0.0.1",
    most_bytes: int = 10_000_000,
    at_once: int = 64,
    timeout: float = 30.0,
) -> App:
    """The page and the interface as one ASGI application, with its limits.

    folder: for Gradio's uploads, each of which is removed seconds after it was read. The other words are those of
    `serve`.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # read when an app is made
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # nothing is told to anybody
    from gradio.routes import mount_gradio_app
    from gradio.themes import Default
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from emodo.serving import page
    from emodo.serving.http import PREDICT, interface
    from emodo.serving.limits import Limits

    max_pixels = min(model.predictor.images.max_pixels for model in models)
    app = interface(models, finder, max_pixels, ThreadPoolExecutor(cores(), "predict"))
    blocks = page.build(models, finder, max_pixels, most_bytes)
    mount_gradio_app(
        app,
        blocks,
        "/",
        footer_links=[],
        run_history=False,
        max_file_size=most_bytes,
        ssr_mode=False,
        css=page.style(),
        theme=Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    )
    limited = Limits(app, most_bytes, at_once, timeout, frozenset({PREDICT}))
    # A page elsewhere could point its own name at 127.0.0.1, and read what is answered to its visitors' browsers.
    return TrustedHostMiddleware(limited, allowed_hosts=[*HERE, "[::1]"]) if host in HERE else limited


# ------------------------------------------------------------------------------------------------ parts


def _find_gradio() -> None:
    if not all(find_spec(name) for name in ("gradio", "fastapi_offline")):
        raise InputError("emodo serve needs Gradio: pip install 'emodo[serve]'")


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there, before anything is loaded."""
    if not 0 <= port <= 65535:
        raise InputError(f"--port is {port}: it is 0 to 65535")
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        hint = "choose another --port, or 0 for any that is free" if error.errno in (13, 48, 98) else "see --host"
        raise InputError(f"{host}, port {port} cannot be listened at ({error.strerror}): {hint}") from None
    listener.setblocking(False)
    return listener


def _memory() -> str | None:
    """A folder in memory for what is uploaded; None where the system has none, and its temporary folder is taken."""
    return str(MEMORY) if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None


def _say(models: Sequence[Model], finder: Finder, listener: socket.socket, host: str) -> None:
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listener.getsockname()[1]}"
    served = ", ".join(f"{model.name} ({model.method})" for model in models)
    print(f"emodo serve: {served}; faces: {finder.name}", file=sys.stderr)
    print(f"{address}  (programs: {address}/docs; Ctrl-C ends it)", flush=True)
    if host not in HERE:
        print(f"emodo serve: whoever reaches {host} can use it; there is no password", file=sys.stderr)


def _run(app: Any, listener: socket.socket) -> None:
    import uvicorn

    settings = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=FAREWELL)
    server = uvicorn.Server(settings)
    # Pages that are still open are cut off at the end, as is meant; uvicorn would tell it with a traceback each.
    logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
    with suppress(KeyboardInterrupt):  # the way it ends
        server.run(sockets=[listener])
