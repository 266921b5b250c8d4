"""One process of the local executor: takes (function, part), gives back a result or an error, until its pipe closes."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from forescale.base.errors import ForescaleError


def main(descriptor: int) -> None:
    """Serve parts from the pipe with this file descriptor."""
    pipe = Connection(descriptor)
    sys.path[:] = pipe.recv()
    jobs: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(pipe, jobs, busy), daemon=True).start()
    while (message := jobs.get()) is not None:
        busy.set()
        answer = _work(message)
        busy.clear()
        try:
            pipe.send_bytes(answer)
        except OSError:
            return
    pipe.close()


def _listen(pipe: Connection, jobs: queue.SimpleQueue[bytes | None], busy: threading.Event) -> None:
    """Pass messages on; a closed pipe means that the parent is gone: then end, saving what is being worked on."""
    while True:
        try:
            jobs.put(pipe.recv_bytes())
        except (EOFError, OSError):
            jobs.put(None)
            if busy.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
            return


def _work(message: bytes) -> bytes:
    try:
        function, part = pickle.loads(message)
        return pickle.dumps((True, function(part)))
    except KeyboardInterrupt as stop:
        sys.exit(int(getattr(stop, "exit_code", 130)))  # the parent sees a closed pipe
    except Exception as error:
        return _pickled(error)


def _pickled(error: Exception) -> bytes:
    """The error as it is where it can travel, else its words."""
    try:
        answer = pickle.dumps((False, error))
        pickle.loads(answer)
        return answer
    except Exception:
        words: Any = ForescaleError(f"{type(error).__name__}: {error}")
        return pickle.dumps((False, words))


if __name__ == "__main__":
    main(int(sys.argv[1]))
