#!/bin/sh
# Makes the emulated arm64 device that the target `arm64-emulated` uses: an emulator (qemu-user), a Python and onnxruntime for arm64,
# and the libraries for images that cross-compiled programs are linked with, all in one folder. For Debian and its descendants;
# needs no root and changes nothing outside that folder.
#
#   sh deploy/emulators/arm64.sh [FOLDER]          (default: ~/.cache/edgeopt/arm64)
#
# bookworm's own qemu 7.2 crashes onnxruntime (it reads /proc/cpuinfo), so the emulator comes from bookworm-backports there.
set -eu
folder=${1:-"$HOME/.cache/edgeopt/arm64"}
onnxruntime=1.32.0
numpy=2.4.6

[ -f "$folder/done" ] && [ -f "$folder/images" ] && { echo "$folder is there already"; exit 0; }
. /etc/os-release
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' | awk -v c="$VERSION_CODENAME" '$2 == c {print $1; exit}')
[ -n "$mirror" ] || { echo "no Debian mirror for '$VERSION_CODENAME' in apt's configuration" >&2; exit 1; }

[ -f "$folder/done" ] || rm -rf "$folder"
mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/debs"
emulator_suite=$VERSION_CODENAME
[ "$VERSION_CODENAME" = bookworm ] && emulator_suite=bookworm-backports
host=$(dpkg --print-architecture)
keys=$(ls /usr/share/keyrings/debian-archive-keyring.* | head -1)
{
    echo "deb [arch=arm64 signed-by=$keys] $mirror $VERSION_CODENAME main"
    echo "deb [arch=$host signed-by=$keys] $mirror $emulator_suite main"
} > "$folder/apt/sources.list"
touch "$folder/apt/status"

own_apt() {
    apt-get -q -o Dir::Etc::SourceList="$folder/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State="$folder/apt" -o Dir::State::Lists="$folder/apt/lists" -o Dir::State::Status="$folder/apt/status" \
        -o Dir::Cache="$folder/apt/cache" -o APT::Architectures::="$host" -o APT::Architectures::=arm64 -o APT::Sandbox::User= "$@"
}
own_apt update > "$folder/apt.log" 2>&1
cd "$folder/debs"
own_apt download libjpeg62-turbo-dev:arm64 libpng-dev:arm64 zlib1g-dev:arm64 >> "$folder/apt.log" 2>&1
for package in *.deb; do dpkg -x "$package" "$folder/root"; done
rm -f ./*.deb
touch "$folder/images"
[ -f "$folder/done" ] && { rm -rf "$folder/debs" "$folder/apt"; echo "made $folder"; exit 0; }
python=$(apt-cache depends python3-minimal | sed -n 's/.*Depends: \(python3\.[0-9]*\)-minimal.*/\1/p' | head -1)
own_apt download "$python:arm64" "$python-minimal:arm64" "lib$python-minimal:arm64" "lib$python-stdlib:arm64" libc6:arm64 \
    libstdc++6:arm64 libgcc-s1:arm64 zlib1g:arm64 libexpat1:arm64 libffi8:arm64 libbz2-1.0:arm64 liblzma5:arm64 libuuid1:arm64 \
    libcrypt1:arm64 >> "$folder/apt.log" 2>&1
for package in *.deb; do dpkg -x "$package" "$folder/root"; done
rm -f ./*.deb
own_apt download "qemu-user:$host" >> "$folder/apt.log" 2>&1
for package in *.deb; do dpkg -x "$package" "$folder/emulator"; done

site=$folder/root/usr/lib/python3/dist-packages
mkdir -p "$site"
python3 -m pip install -q --target "$site" --only-binary=:all: --no-deps --implementation cp --python-version "${python#python}" \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
    "onnxruntime==$onnxruntime" "numpy==$numpy"
ln -s "$python" "$folder/root/usr/bin/python3-emulated"
rm -rf "$folder/debs" "$folder/apt"
touch "$folder/done"
echo "made $folder"
