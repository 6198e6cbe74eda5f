#!/bin/sh
# The vLLM environment, apart from the core one (vLLM pins other versions), on the CPU. No root, no apt.
#   sh tests/vllm.sh setup          create or update .venv-vllm from constraints-vllm.txt; at once when nothing changed
#   sh tests/vllm.sh test [ARGS]    setup, then pytest -m vllm: offline engine, server on loopback, our client
#   sh tests/vllm.sh run CMD ...    setup, then any command in it with the settings below, e.g. run python script.py
#   sh tests/vllm.sh freeze         print what is installed, in the form of constraints-vllm.txt
# PYTHON=/path/to/python3.11 (the version of the pins; newer ones were not tried) and VLLM_VENV=DIR may be set.
set -eu
cd "$(dirname "$0")/.."
venv=${VLLM_VENV:-.venv-vllm}
py=$venv/bin/python

setup() {
    if [ -x "$py" ] && cmp -s constraints-vllm.txt "$venv/.installed"; then return; fi
    if [ ! -x "$py" ]; then
        base=${PYTHON:-python3}
        "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "needs Python 3.11 or newer: PYTHON=/path/to/it")'
        "$base" -m venv "$venv"
    fi
    pip="$py -m pip --quiet --disable-pip-version-check"
    $pip install --no-deps -r constraints-vllm.txt
    $pip uninstall -y torchvision torchaudio torchcodec triton 2>/dev/null || true
    # Where the index holds only the CUDA build of torch, its libraries are missing: take the CPU build.
    "$py" -c 'import torch' 2>/dev/null ||
        $pip install --no-deps --force-reinstall --index-url https://download.pytorch.org/whl/cpu \
            "$(grep '^torch==' constraints-vllm.txt)"
    $pip install --no-deps --no-build-isolation -e .
    "$py" -c 'import torch, transformers, httpx, pytest; import vllm'
    cp constraints-vllm.txt "$venv/.installed"
}

run() {
    # vLLM's own Intel OpenMP instead of libgomp: 8 times faster while other processes use the cores.
    lib=$(cd "$venv/lib" && pwd)/libiomp5.so
    [ -f "$lib" ] || lib= # another processor
    case $lib in *[\ :]*) lib= ;; esac # LD_PRELOAD knows no quoting
    tcmalloc=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | awk '/libtcmalloc_minimal\.so\.4/ {print $NF; exit}')
    export VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND:-nobind}" KMP_BLOCKTIME=1 # do not pin, do not spin
    export VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE:-1}"                            # GiB
    export VLLM_HOST_IP=127.0.0.1 VLLM_ENABLE_V1_MULTIPROCESSING=0 VLLM_LOGGING_LEVEL="${VLLM_LOGGING_LEVEL:-WARNING}"
    export VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false
    LD_PRELOAD="$lib${tcmalloc:+:$tcmalloc}" PATH="$(cd "$venv/bin" && pwd):$PATH" exec "$@"
}

command=${1:-test}
[ $# -eq 0 ] || shift
case $command in
    setup) setup ;;
    test) setup; run "$py" -m pytest -q -m vllm tests/test_engine_vllm.py tests/test_engine_vllm_budget.py "$@" ;;
    run) setup; run "$@" ;;
    freeze) sed '/^#/!d' constraints-vllm.txt; "$py" -m pip freeze --all --exclude-editable |
        grep -viE '^(pip|wheel|rrmlib)(==| @)|^-e ' | sed 's/+cpu$//' | sort -f ;;
    *) sed -n '2,8s/^# *//p' "$0" >&2; exit 2 ;;
esac
