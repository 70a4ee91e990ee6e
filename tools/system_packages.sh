#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Obtains the system packages that picobnn uses, with apt where root or password-free sudo allows it. Otherwise one
# sentence says what is missing and what is skipped without it. Never fails: pure Python parts work without any of them.
#
# usage: tools/system_packages.sh [--fashion-mnist] [PYTHON]
set -u

data=no
if [ "${1:-}" = --fashion-mnist ]; then
    data=yes
    shift
fi
python=${1:-python3}

# Prints the packages that are not there, judged by what they provide, so that other sources of the same tools count.
missing() {
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || echo python3-venv
    "$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' >/dev/null 2>&1 ||
        echo python3-dev
    echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1 || echo gcc libc6-dev
    command -v arm-none-eabi-gcc >/dev/null || echo gcc-arm-none-eabi
    case "$(arm-none-eabi-gcc -print-file-name=libc.a 2>/dev/null)" in
    */*) ;;
    *) echo libnewlib-arm-none-eabi ;;
    esac
    command -v qemu-system-arm >/dev/null || echo qemu-system-arm
    if [ $data = yes ] && [ ! -d /usr/share/datasets/fashion-mnist ]; then
        echo dataset-fashion-mnist
    fi
}

# Prints what goes without the packages given as arguments.
skipped() {
    for package in "$@"; do
        case $package in
        python3-venv) echo "the virtual environment" ;;
        python3-dev) echo "the fast simulator" ;;
        gcc) printf '%s\n' "the fast simulator" "host C" "cycle counts" ;;
        gcc-arm-none-eabi | libnewlib-arm-none-eabi) echo "firmware builds" ;;
        qemu-system-arm) echo "the emulated boards" ;;
        dataset-fashion-mnist) echo "Fashion-MNIST" ;;
        esac
    done | sort -u | paste -s -d ';' | sed 's/;/, /g'
}

packages=$(missing | paste -s -d ' ')
[ -z "$packages" ] && exit 0

if command -v apt-get >/dev/null; then
    run=
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null && sudo -n true >/dev/null 2>&1; then run="sudo -n"; else run=no; fi
    fi
    if [ "$run" != no ]; then
        echo "Installing system packages: $packages"
        log=$(mktemp)
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086 # both are lists of words
        { $run apt-get update && $run apt-get install -y --no-install-recommends $packages; } >"$log" 2>&1 ||
            tail -n 5 "$log" >&2
        rm -f "$log"
        packages=$(missing | paste -s -d ' ')
        [ -z "$packages" ] && exit 0
    fi
fi

# shellcheck disable=SC2086
echo "Missing: $packages; skipped without them: $(skipped $packages). Install: sudo apt install $packages" >&2
exit 0
