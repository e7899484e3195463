#!/bin/sh
# Install @@NAME@@ as a service, or update it: the same command both times, as often as one likes.
#     ./install.sh                        into /opt/@@SLUG@@, with systemd
#     ./install.sh rollback               back to the slot before
#     ROOT=folder SYSTEMD=no ./install.sh  anywhere, without systemd
set -eu
case "${1:-install}" in
    install) ;;
    rollback) ;;
    *) echo "install.sh: $1 is no command; say rollback, or nothing to install" >&2; exit 2 ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
ROOT=${ROOT:-/opt/@@SLUG@@}
SYSTEMD=${SYSTEMD:-yes}
PYTHON=${PYTHON:-python3}
if [ "$SYSTEMD" = yes ] && [ ! -d /run/systemd/system ]; then
    echo "install.sh: systemd does not run here; SYSTEMD=no installs into ROOT without a service" >&2
    exit 2
fi
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
[ "${1:-install}" = rollback ] || set -- install "$here"
exec "$PYTHON" "$here/slots.py" "$@"
