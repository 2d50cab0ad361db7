#!/usr/bin/env bash
# Installs compiler, runtime, cuDNN and cuBLAS of CUDA 13 into build/cuda, a virtual environment
# of Python, unless a toolkit is found. The versions are those that the backend is built with.
set -euo pipefail
cd "$(dirname "$0")/.."
if ./scripts/cuda.sh >/dev/null 2>&1; then
  exit 0
fi
python3 -m venv build/cuda
build/cuda/bin/python3 -m pip install --quiet --disable-pip-version-check \
  nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96 \
  nvidia-cuda-cccl==13.0.85 nvidia-cuda-nvrtc==13.0.88 nvidia-cublas==13.1.2.11 nvidia-cudnn-cu13==9.19.1.2 nvidia-cudnn-frontend==1.32.0
./scripts/cuda.sh >/dev/null
