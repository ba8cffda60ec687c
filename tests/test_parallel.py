"""Jobs side by side: each gives its result or a reason, whatever happens to its process; none outlives the first.

A job is an expression for `eval`, the one function that every fresh process knows already.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from emodo.parallel import Died, cores, find_ray, on_ray, on_this_machine
from emodo.records import InputError

KILLED = "__import__('os').kill(__import__('os').getpid(), 9)"
PID = "__import__('os').getpid()"


def setting(name):
    return f"__import__('os').environ.get({name!r})"


def test_results_come_with_the_number_of_their_job():
    share = "__import__('torch').get_num_threads()"
    found = dict(on_this_machine(eval, ["1 + 1", "'a' * 3", PID, PID, share, setting("OMP_NUM_THREADS")], 1))
    assert (found[0], found[1]) == (2, "aaa")
    assert found[2] == found[3] != os.getpid()  # PyTorch is imported once
    assert (found[4], found[5]) == (cores(), str(cores()))
    assert list(on_this_machine(eval, [], 2)) == []


def test_side_by_side_each_process_has_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr("emodo.parallel.cores", lambda: 7)
    share = "__import__('torch').get_num_threads()"
    assert dict(on_this_machine(eval, [share] * 2, 2)) == {0: 3, 1: 3}


def test_what_dies_is_told_and_the_others_finish():
    found = dict(on_this_machine(eval, ["1", KILLED, "__import__('os')._exit(3)", "2"], 1))
    assert (found[0], found[3]) == (1, 2)
    assert found[1] == Died("its process was ended by SIGKILL, perhaps for want of memory: try fewer --processes")
    assert found[2] == Died("its process ended with exit code 3")


def test_a_new_process_takes_the_gpu_of_the_one_that_died(tmp_path):
    begun = str(tmp_path / "begun")
    # the second waits for the third, which therefore runs in the process that replaces the first
    waits = f"[__import__('time').sleep(0.1) for _ in iter(lambda: __import__('os').path.exists({begun!r}), True)]"
    jobs = [KILLED, f"({waits}, {setting('CUDA_VISIBLE_DEVICES')})[1]"]
    jobs += [f"(open({begun!r}, 'w').close(), {setting('CUDA_VISIBLE_DEVICES')})[1]"]
    found = dict(on_this_machine(eval, jobs, 2, ["GPU-a", "GPU-b"]))
    assert isinstance(found[0], Died)
    assert (found[1], found[2]) == ("GPU-b", "GPU-a")


def test_a_process_that_dies_while_it_has_no_job_costs_one_job_and_not_the_rest():
    found = {}
    with closing(on_this_machine(eval, [PID, "1", "2"], 1)) as results:
        for at, result in results:
            found[at] = result
            if at == 0:
                os.kill(result, signal.SIGKILL)
                time.sleep(0.5)
    assert isinstance(found[1], Died)
    assert found[2] == 2


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid):
    deadline = time.monotonic() + 30
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def test_left_early_the_processes_end():
    with closing(on_this_machine(eval, [PID, "__import__('time').sleep(600)"], 1)) as results:
        _, pid = next(results)
        assert alive(pid)
    assert gone(pid)


GRID = """
from emodo.parallel import on_this_machine
if __name__ == "__main__":
    for _, result in on_this_machine(eval, ["__import__('os').getpid()", "__import__('time').sleep(600)"], 1):
        print(result, flush=True)
"""


@pytest.fixture
def grid(tmp_path):
    """A program whose one worker is busy, and the worker's pid."""
    (tmp_path / "grid.py").write_text(GRID)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "grid.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process, int(process.stdout.readline())
    process.kill()
    process.communicate()


def test_ctrl_c_ends_the_processes_and_only_the_first_one_tells(grid):
    process, worker = grid
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of them
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert said.count("KeyboardInterrupt") == 1
    assert gone(worker)


def test_killed_the_first_process_leaves_none_behind(grid):
    process, worker = grid
    process.kill()
    process.communicate(timeout=60)
    assert gone(worker)


# -------------------------------------------------------------------------------------------- Ray


@pytest.fixture
def ray(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return pytest.importorskip("ray")


def test_ray_does_the_same(ray):
    jobs = ["1 + 1", KILLED, "[][0]", "__import__('torch').get_num_threads()", "'a' * 3"]
    found = dict(on_ray(eval, jobs, 2))
    assert (found[0], found[4]) == (2, "aaa")
    assert found[3] == 1
    assert isinstance(found[1], Died)
    assert isinstance(found[2], Died)
    assert "IndexError" in found[2].reason
    assert "\n" not in found[2].reason
    assert not ray.is_initialized()


def test_without_ray_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"--engine ray needs Ray: pip install 'emodo\[ray\]'"):
        find_ray()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_a_cluster_that_does_not_answer_is_named_at_once(ray, monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"RAY_ADDRESS is {address}, where no Ray cluster answers"):
        list(on_ray(eval, ["1"], 1))
