#!/bin/sh
# Install @@NAME@@ as a service, or update it: the same command both times, as often as one likes.
#     ./install.sh                        into /opt/@@SLUG@@, with systemd
#     ROOT=folder SYSTEMD=no ./install.sh  anywhere, without systemd
set -eu
here=$(cd "$(dirname "$0")" && pwd)
ROOT=${ROOT:-/opt/@@SLUG@@}
SYSTEMD=${SYSTEMD:-yes}
PYTHON=${PYTHON:-python3}
mkdir -p "$ROOT"
if [ -z "${VENV_READY:-}" ]; then
    [ -x "$ROOT/venv/bin/python" ] || "$PYTHON" -m venv "$ROOT/venv"
    cmp -s "$here/requirements.txt" "$ROOT/venv/requirements.txt" || {
        "$ROOT/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
        cp "$here/requirements.txt" "$ROOT/venv/requirements.txt"
    }
    PYTHON="$ROOT/venv/bin/python"
fi
if [ "$SYSTEMD" = yes ]; then
    cmp -s "$here/model.service" "/etc/systemd/system/@@SLUG@@.service" || {
        cp "$here/model.service" "/etc/systemd/system/@@SLUG@@.service"
        systemctl daemon-reload
    }
    systemctl enable --quiet "@@SLUG@@.service"
    RESTART="systemctl restart @@SLUG@@.service"
    HEALTH="'$PYTHON' '$here/health.py' 8000 60"
fi
export ROOT RESTART="${RESTART:-}" HEALTH="${HEALTH:-}" PYTHON
exec "$PYTHON" "$here/slots.py" install "$here"
