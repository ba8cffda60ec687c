"""Many requests at once to `emodo serve`: how many are answered, how fast, and what memory it takes.

    python benchmarks/serve.py runs/iern photo.jpg --at-once 50 --seconds 60

The server is a process of its own. Every client sends its next request when the last is answered.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np


def memory(process: int) -> float:
    """Resident memory of a process in MB (Linux)."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


def measure(runs: list[str], picture: Path, at_once: int, seconds: float) -> dict:
    """Ask for `seconds`; gives counts of statuses, latencies and the memory of each tenth of the time, in MB."""
    words = [sys.executable, "-m", "emodo", "serve", *runs, "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().split()[0]
            data = picture.read_bytes()
            statuses: Counter = Counter()
            answers: set = set()
            took: list[float] = []
            end = time.monotonic() + seconds

            def client() -> None:
                with httpx.Client(base_url=address, timeout=60) as http:
                    while time.monotonic() < end:
                        started = time.monotonic()
                        try:
                            answer = http.post("predict", files={"file": (picture.name, data)})
                            statuses[answer.status_code] += 1
                            answers.add(answer.text)
                        except httpx.HTTPError as error:
                            statuses[type(error).__name__] += 1
                        took.append(time.monotonic() - started)

            clients = [threading.Thread(target=client) for _ in range(at_once)]
            for one in clients:
                one.start()
            used = []
            for _ in range(10):
                time.sleep(seconds / 10)
                used.append(memory(server.pid))
            for one in clients:
                one.join()
        finally:
            server.terminate()
    return {
        "clients": at_once,
        "seconds": seconds,
        "statuses": dict(statuses),
        "different answers": len(answers),
        "requests/s": round(len(took) / seconds, 1),
        "latency s, median and 99 %": [round(float(q), 2) for q in np.quantile(took, (0.5, 0.99))],
        "memory MB": [round(mb) for mb in used],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="runs; the first is asked")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    print(json.dumps(measure(given.runs, given.picture, given.at_once, given.seconds), indent=2))
