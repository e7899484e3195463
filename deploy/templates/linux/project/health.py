"""Succeed as soon as the service takes requests: python3 health.py [PORT] [SECONDS]."""

from __future__ import annotations

import sys
import time
import urllib.request


def main() -> int:
    """Return 0 when /readyz answers 200 within the time."""
    port, limit_s = int(sys.argv[1]) if sys.argv[1:] else 8000, float(sys.argv[2]) if sys.argv[2:] else 30.0
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as response:
                if response.status == 200:
                    return 0
        except OSError:
            time.sleep(0.2)
    return 1


if __name__ == "__main__":
    sys.exit(main())
