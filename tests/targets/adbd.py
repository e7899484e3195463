"""The daemon on a phone, played on loopback: speaks adb's wire protocol and runs what it is asked in this machine's shell.

    python adbd.py            prints the port it listens on; ends when its stdin does; SIGUSR1 cuts all connections

Written from AOSP's description (packages/modules/adb: protocol.txt, SERVICES.TXT): CNXN, OPEN, OKAY, WRTE, CLSE, and the
service `shell,v2`. As on Android no TMPDIR is set and commands begin in /.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from typing import IO

_CNXN, _OPEN, _OKAY, _WRTE, _CLSE = (int.from_bytes(name, "little") for name in (b"CNXN", b"OPEN", b"OKAY", b"WRTE", b"CLSE"))
_VERSION, _MOST = 0x01000001, 256 * 1024
_BANNER = b"device::ro.product.name=pretended;ro.product.model=pretended;ro.product.device=pretended;features=shell_v2,cmd"
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)


class Host:
    """One connection from adb's server."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.writing = threading.Lock()
        self.shells: dict[int, Shell] = {}

    def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        header = struct.pack("<6I", command, first, second, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        with self.writing:
            self.line.sendall(header + data)

    def serve(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                command, first, second, length, _, _ = struct.unpack("<6I", self._read(24))
                self._take(command, first, second, self._read(length))
        for shell in self.shells.values():
            shell.hang_up()
        self.line.close()

    def _read(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            part = self.line.recv(count - len(got))
            if not part:
                raise EOFError
            got += part
        return got

    def _take(self, command: int, first: int, second: int, data: bytes) -> None:
        if command == _CNXN:
            self.send(_CNXN, _VERSION, _MOST, _BANNER)
        elif command == _OPEN:
            service = data.rstrip(b"\0").decode()
            if service.startswith("shell,v2"):
                self.shells[first] = Shell(self, first, service.partition(":")[2])
                self.send(_OKAY, first, first)
                self.shells[first].start()
            else:
                self.send(_CLSE, 0, first)
        elif command == _WRTE and second in self.shells:
            self.shells[second].take(data)
            self.send(_OKAY, second, first)
        elif command == _OKAY and second in self.shells:
            self.shells[second].ready.set()
        elif command == _CLSE and second in self.shells:
            self.shells.pop(second).hang_up()


class Shell:
    """One command; both sides call its stream by the number adb gave it."""

    def __init__(self, host: Host, number: int, script: str) -> None:
        self.host, self.number = host, number
        self.ready = threading.Event()
        self.ready.set()
        self.writing = threading.Lock()
        self.rest = b""
        kept = {key: value for key, value in os.environ.items() if key in ("PATH", "OMP_NUM_THREADS")}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(["sh", "-c", script], cwd="/", env={**kept, "HOME": "/"}, bufsize=0, **pipes)

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        ends = [(_STDOUT, self.process.stdout), (_STDERR, self.process.stderr)]
        readers = [threading.Thread(target=self._pump, args=end, daemon=True) for end in ends]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        with contextlib.suppress(OSError):
            self.write(_EXIT, bytes([self.process.wait() & 0xFF]))
            self.host.send(_CLSE, self.number, self.number)

    def _pump(self, kind: int, stream: IO[bytes] | None) -> None:
        with contextlib.suppress(OSError):
            while stream is not None and (data := stream.read(32768)):
                self.write(kind, data)

    def write(self, kind: int, data: bytes) -> None:
        with self.writing:
            if not self.ready.wait(timeout=30):
                raise TimeoutError
            self.ready.clear()
            self.host.send(_WRTE, self.number, self.number, struct.pack("<BI", kind, len(data)) + data)

    def take(self, data: bytes) -> None:
        self.rest += data
        while len(self.rest) >= 5:
            kind, length = struct.unpack("<BI", self.rest[:5])
            if len(self.rest) < 5 + length:
                return
            part, self.rest = self.rest[5 : 5 + length], self.rest[5 + length :]
            stdin = self.process.stdin
            with contextlib.suppress(OSError, ValueError):
                if stdin is not None and kind == _STDIN:
                    view = memoryview(part)
                    while view:
                        view = view[stdin.write(view) or 0 :]
                elif stdin is not None and kind == _CLOSE_STDIN:
                    stdin.close()

    def hang_up(self) -> None:
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        self.ready.set()


def main() -> None:
    hosts: list[Host] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def cut(*_: object) -> None:
        for host in hosts:
            with contextlib.suppress(OSError):
                host.line.shutdown(socket.SHUT_RDWR)
        hosts.clear()

    def accept() -> None:
        while True:
            hosts.append(Host(listener.accept()[0]))
            threading.Thread(target=hosts[-1].serve, daemon=True).start()

    signal.signal(signal.SIGUSR1, cut)
    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
