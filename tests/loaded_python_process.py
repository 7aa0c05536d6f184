"""The process behind `loaded_python`: `python loaded_python_process.py SOCKET` imports much, then forks programs."""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import types
from pathlib import Path

LEFT_TO_THE_PROGRAM = ("hindsight_async.__main__", "hindsight_async.otel", "hindsight_async.testing")
"""What runs as `__main__`, is told of its import, or is imported by pytest as a plugin."""

ENDS = ("stdin", "stdout", "stderr")


def load():
    """Import all that programs may need, pytest among it."""
    package = importlib.import_module("hindsight_async")
    for module in pkgutil.walk_packages(package.__path__, "hindsight_async."):
        if not module.name.startswith(LEFT_TO_THE_PROGRAM):
            importlib.import_module(module.name)
    for name in importlib.import_module("_pytest.config").default_plugins:
        importlib.import_module(f"_pytest.{name}")


def wait_for_programs(requests):
    """Fork for each program that is asked for; return in the child what it is told by, and the ends that it gets."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the tests is for the tests
    with requests:
        while True:
            said, given, _, _ = socket.recv_fds(requests, 1, 1 + len(ENDS))
            if not said:
                sys.exit()
            if os.fork() == 0:
                return given
            for each in given:
                os.close(each)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def tell_of(pid, status):
    """Say the program's process id, wait for its end, and say how it ended."""
    for number in range(len(ENDS)):
        with contextlib.suppress(OSError):
            os.close(number)
    with contextlib.suppress(OSError):  # nobody listens any more
        status.sendall(b"%d\n" % pid)
        status.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def take(ends, program):
    """Make the process the program's own: its ends, folder, variables and signals."""
    for number in range(len(ENDS)):
        if number in program["ends"]:
            os.dup2(ends[program["ends"].index(number)], number)
        else:
            with contextlib.suppress(OSError):
                os.close(number)
    for end in ends:
        os.close(end)
    if program["has_terminal"]:
        os.login_tty(os.dup(0))
    os.chdir(program["folder"])
    os.environ.clear()
    os.environ.update(program["variables"])
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")
    for number, name in enumerate(ENDS):
        end = None
        if number in program["ends"]:
            end = open(
                number,
                "r" if number == 0 else "w",
                buffering=1 if number == 2 or os.isatty(number) else -1,
                encoding=encoding,
                errors="backslashreplace" if number == 2 else errors or None,
                closefd=False,
            )
        setattr(sys, name, end)
        setattr(sys, f"__{name}__", end)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which those have ignored that are started under nohup
    if any(name.startswith("COVERAGE_PROCESS_") for name in os.environ):  # as in a Python that starts
        importlib.import_module("coverage").process_startup()


def run(words):
    """Run what stands behind `python` on its command line."""
    word, *arguments = words
    if word == "-m":
        module, *arguments = arguments
        sys.path[0], sys.argv = str(Path.cwd()), [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif word == "-c":
        code, *arguments = arguments
        sys.path[0], sys.argv = "", ["-c", *arguments]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), vars(main))
    else:
        sys.path[0], sys.argv = str(Path(word).absolute().parent), words
        runpy.run_path(word, run_name="__main__")


def main(number):
    """Load, wait, and run one program, from which this function returns as the program ends."""
    load()
    gc.collect()
    gc.freeze()
    status, *ends = wait_for_programs(socket.socket(fileno=int(number)))
    status = socket.socket(fileno=status)
    program = json.loads(b"".join(iter(lambda: status.recv(1 << 16), b"")))
    pid = os.fork()
    if pid:
        tell_of(pid, status)
    status.close()
    take(ends, program)
    run(program["words"])


if __name__ == "__main__":
    main(*sys.argv[1:])
