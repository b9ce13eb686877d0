# SPDX-License-Identifier: MIT
# What the verbs of ./dev need from the system, how it is told that it is there, and its installation.
# Sourced by ./dev, which has made $scratch. On Debian and Ubuntu it is installed; elsewhere it is said what
# to install.
# shellcheck shell=sh disable=SC2154

# A need, and the packages that bring it on Debian and Ubuntu, Fedora, Arch and Alpine.
# CLANG stands for clang's own major version.
packages_table() {
    cat <<'TABLE'
compiler        gcc,libc6-dev           gcc                 gcc                     gcc,musl-dev
meson           meson                   meson               meson                   meson
ninja           ninja-build             ninja-build         ninja                   ninja
pkg-config      pkg-config              pkgconf-pkg-config  pkgconf                 pkgconf
chromium        chromium,chromium-driver chromium,chromedriver chromium              chromium,chromium-chromedriver
cmocka          libcmocka-dev           libcmocka-devel     cmocka                  cmocka-dev
libevent        libevent-dev            libevent-devel      libevent                libevent-dev
jansson         libjansson-dev          jansson-devel       jansson                 jansson-dev
inih            libinih-dev             inih-devel          libinih                 inih-dev
sqlite3         libsqlite3-dev          sqlite-devel        sqlite                  sqlite-dev
ncursesw        libncurses-dev          ncurses-devel       ncurses                 ncurses-dev
python          python3,python3-venv    python3             python                  python3
git             git                     git                 git                     git
c++             g++                     gcc-c++             gcc                     g++
clang           clang                   clang               clang                   clang
clang-runtime   libclang-rt-CLANG-dev   compiler-rt         compiler-rt             compiler-rt
clang-format    clang-format            clang-tools-extra   clang                   clang-extra-tools
clang-tidy      clang-tidy              clang-tools-extra   clang                   clang-extra-tools
valgrind        valgrind                valgrind            valgrind                valgrind
mandoc          mandoc                  mandoc              mandoc                  mandoc
shellcheck      shellcheck              ShellCheck          shellcheck              shellcheck
musl            musl-tools              musl-gcc            musl                    musl-dev
debhelper       debhelper,dh-python,dpkg-dev -                   -                       -
lintian         lintian                 -                   -                       -
debootstrap     debootstrap             debootstrap         debootstrap             debootstrap
arm64           gcc-aarch64-linux-gnu,libc6-dev-arm64-cross - aarch64-linux-gnu-gcc -
TABLE
}

# The Python that can make virtual environments: the system's where it can, for one in PATH may be
# a version manager's and know nothing of the system's packages.
find_python() {
    for python in "${VRAM_SYSROOT:-}/usr/bin/python3" python3; do
        if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 9))' \
            >/dev/null 2>&1; then
            return 0
        fi
    done
    return 1
}

# The Meson that answers: a version manager's stand-in may be first in PATH and lead nowhere.
find_meson() {
    for meson in meson "${VRAM_SYSROOT:-}/usr/bin/meson"; do
        if "$meson" --version >/dev/null 2>&1; then
            return 0
        fi
    done
    return 1
}

# The formatter of the version that the tree is formatted with, where it can be had.
find_clang_format() {
    for clang_format in clang-format-14 clang-format; do
        if command -v "$clang_format" >/dev/null; then
            return 0
        fi
    done
    return 1
}

can_compile() {
    echo 'int main(void) { return 0; }' >"$scratch/probe.c" &&
        "$@" "$scratch/probe.c" -o "$scratch/probe" >/dev/null 2>&1
}

has() {
    case $1 in
    compiler) echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1 ;;
    meson) find_meson ;;
    python) find_python ;;
    clang-format) find_clang_format ;;
    cmocka | libevent | jansson | inih | ncursesw | sqlite3) pkg-config --exists "$1" 2>/dev/null ;;
    chromium) command -v chromium >/dev/null && command -v chromedriver >/dev/null ;;
    c++) command -v c++ >/dev/null && command -v g++ >/dev/null ;;
    clang-runtime) can_compile clang -fsanitize=address,fuzzer-no-link ;;
    debhelper) command -v dh >/dev/null && command -v dh_python3 >/dev/null && command -v dpkg-buildpackage >/dev/null ;;
    musl) command -v musl-gcc >/dev/null || ldd --version 2>&1 | grep -q musl ;;
    arm64) [ "$(uname -m)" = aarch64 ] || can_compile aarch64-linux-gnu-gcc ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

# The packages of the needs on standard input, for the distribution in column $1.
packages_for() {
    while read -r name; do
        packages_table | awk -v name="$name" -v column="$1" '$1 == name && $column != "-" {
            gsub(",", "\n", $column); print $column }'
    done | sed "s/CLANG/$(clang -dumpversion 2>/dev/null | cut -d. -f1)/" | sort -u | paste -s -d ' ' -
}

# Says how to install the needs $* on a distribution that is not Debian's kin.
advise() {
    # shellcheck source=/dev/null
    family=$(. "${VRAM_SYSROOT:-}/etc/os-release" 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}") || family=
    case " $family " in
    *" fedora "* | *" rhel "*) column=3 command='sudo dnf install' ;;
    *" arch "*) column=4 command='sudo pacman -S' ;;
    *" alpine "*) column=5 command='sudo apk add' ;;
    *) column=2 command='with the names that your distribution has for' ;;
    esac
    echo "dev: missing here: $*" >&2
    echo "dev: install it: $command $(printf '%s\n' "$@" | packages_for $column)" >&2
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@" \
        </dev/null >>"$scratch/apt.log" 2>&1
}

# Fetches Debian packages into the working directory.
apt_download() {
    apt-get -qq download "$@" </dev/null >>"$scratch/apt.log" 2>&1
}

# Installs Debian packages. The lists of packages are fetched where there are none or they are too old.
apt_install() {
    set -- install -y --no-install-recommends "$@"
    if [ -z "$(find /var/lib/apt/lists -name '*Packages*' 2>/dev/null | head -n 1)" ]; then
        apt_get update && apt_get "$@"
    else
        apt_get "$@" || { apt_get update && apt_get "$@"; }
    fi
}

# Sets `missing` to those of the needs $* that are not there. Not a subshell's work: what `has` finds
# (which Python, which Meson) is for the caller.
find_missing() {
    missing=
    for name in "$@"; do
        has "$name" || missing="$missing${missing:+ }$name"
    done
}

give_up() {
    printf 'dev: %s\n' "$@" >&2
    exit 4
}

# Makes sure of the needs $*, or ends with status 4 and the reason.
need() {
    find_missing "$@"
    if [ -z "$missing" ]; then
        return 0
    fi
    if ! command -v apt-get >/dev/null; then
        # shellcheck disable=SC2086 # several needs
        advise $missing
        exit 4
    fi
    # shellcheck disable=SC2086
    packages=$(printf '%s\n' $missing | packages_for 2)
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        give_up "missing here: $missing; without sudo this is left to you, as root:" \
            "  apt-get install --no-install-recommends $packages"
    fi
    echo "dev: installing $packages" >&2
    # shellcheck disable=SC2086
    if ! apt_install $packages; then
        tail -n 20 "$scratch/apt.log" >&2
        give_up "apt-get could not install $packages (its last words stand above)"
    fi
    # shellcheck disable=SC2086
    find_missing $missing
    if [ -n "$missing" ]; then
        give_up "still missing after the installation: $missing"
    fi
}

# The same for what a verb can do without.
want() {
    (need "$@") || echo "dev: going on without $*" >&2
}
