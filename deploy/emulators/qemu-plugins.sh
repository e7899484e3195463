#!/bin/sh
# Builds the emulator that counts: QEMU's aarch64 user emulator with plug-ins, which Debian's packages leave out, and its plug-in
# `insn`. The target `arm64-emulated` then tells the instructions of one run. Takes a quarter of an hour of one core.
#
#   sh deploy/emulators/qemu-plugins.sh [FOLDER]          (default: ~/.cache/edgeopt/arm64)
#
# For Debian and its descendants; needs gcc, ninja, pkg-config, flex, bison, libglib2.0-dev and python3-venv, no root, and changes
# nothing outside that folder.
set -eu
folder=${1:-"$HOME/.cache/edgeopt/arm64"}

[ -x "$folder/counting/qemu-aarch64" ] && { echo "$folder/counting is there already"; exit 0; }
for tool in gcc ninja pkg-config flex bison; do
    command -v "$tool" > /dev/null || { echo "$tool is missing; install it" >&2; exit 1; }
done
pkg-config --exists glib-2.0 || { echo "glib's headers are missing; install libglib2.0-dev" >&2; exit 1; }
. /etc/os-release
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' | awk -v c="$VERSION_CODENAME" '$2 == c {print $1; exit}')
[ -n "$mirror" ] || { echo "no Debian mirror for '$VERSION_CODENAME' in apt's configuration" >&2; exit 1; }
suite=$VERSION_CODENAME
[ "$VERSION_CODENAME" = bookworm ] && suite=bookworm-backports

work=$folder/build
rm -rf "$work"
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
keys=$(ls /usr/share/keyrings/debian-archive-keyring.* | head -1)
echo "deb-src [signed-by=$keys] $mirror $suite main" > "$work/apt/sources.list"
touch "$work/apt/status"
cd "$work"
own_apt() {
    apt-get -q -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State="$work/apt" \
        -o Dir::State::Lists="$work/apt/lists" -o Dir::State::Status="$work/apt/status" -o Dir::Cache="$work/apt/cache" \
        -o APT::Sandbox::User= "$@"
}
own_apt update > log 2>&1
own_apt source --download-only qemu >> log 2>&1 || true # a mirror may lack the packaging; the source itself is what counts
source=$(find . -name 'qemu_*.orig.tar.xz' | head -1)
[ -n "$source" ] || { echo "apt has no source of qemu in $suite; see $work/log" >&2; exit 1; }
tar xf "$source"
cd qemu-*/

# Debian's source has no firmware in it, and the build description lists it all the same
python3 - << 'PYTHON'
import re
text = open("pc-bios/meson.build").read()
open("pc-bios/meson.build", "w").write(re.sub(r"^blobs = \[.*?^\]", "blobs = []", text, count=1, flags=re.DOTALL | re.MULTILINE))
PYTHON
python3 -m venv tools
tools/bin/python -m pip install -q meson==1.5.0 distlib pycotap tomli setuptools wheel
mkdir made
cd made
../configure --target-list=aarch64-linux-user --enable-plugins --disable-docs --disable-tools --disable-system --disable-werror \
    --disable-install-blobs --python="$PWD/../tools/bin/python" >> "$work/log" 2>&1
nice ninja qemu-aarch64 >> "$work/log" 2>&1 || { tail -5 "$work/log" >&2; exit 1; }
# shellcheck disable=SC2046  # several flags
gcc -shared -fPIC -O2 -I../include -I../include/qemu $(pkg-config --cflags glib-2.0) ../tests/tcg/plugins/insn.c -o libinsn.so \
    $(pkg-config --libs glib-2.0)
mkdir -p "$folder/counting"
cp libinsn.so "$folder/counting/"
cp qemu-aarch64 "$folder/counting/"
rm -rf "$work"
echo "made $folder/counting"
