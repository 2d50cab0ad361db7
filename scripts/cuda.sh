#!/usr/bin/env bash
# Finds nvcc, cuDNN, cuBLAS and the headers of cudnn-frontend, and prints them as make variables.
# Looked at in this order: CUDA_HOME, CUDNN_HOME, CUDNN_FRONTEND; nvcc on the path and
# /usr/local/cuda*; the system's folders; pip's packages of the python that PYTHON names, and of
# build/cuda, where `make cuda-deps` puts them.
set -euo pipefail
cd "$(dirname "$0")/.."

# first prints the first of the folders that has the file.
first() {
  local file=$1
  shift
  for dir in "$@"; do
    if [ -n "$dir" ] && compgen -G "$dir/$file" >/dev/null; then
      echo "$dir"
      return
    fi
  done
}

missing() {
  echo "cuda: $1 was not found; $2, or run make cuda-deps" >&2
  exit 1
}

sites=()
for python in "${PYTHON:-python3}" build/cuda/bin/python3; do
  if site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>/dev/null); then sites+=("$site"); fi
done
on_path=$(command -v nvcc || true)
on_path=${on_path:+$(readlink -f "$on_path")} # where a link to it lies is not its home
homes=("${CUDA_HOME:-}" "${on_path:+$(dirname "$(dirname "$on_path")")}" /usr/local/cuda /usr/local/cuda-[0-9]* /usr)
dnns=("${CUDNN_HOME:-}" "${CUDA_HOME:-}" /usr/local/cuda)
for site in "${sites[@]}"; do
  homes+=("$site/nvidia/cu13")
  dnns+=("$site/nvidia/cudnn")
done
dnns+=(/usr)

home=$(first bin/nvcc "${homes[@]}")
[ -n "$home" ] || missing nvcc "name its folder in CUDA_HOME"
blas=$(first include/cublas_v2.h "$home" "${homes[@]}")
[ -n "$blas" ] || missing cublas_v2.h "install cuBLAS"
dnn=$(first include/cudnn.h "${dnns[@]}")
[ -n "$dnn" ] || missing cudnn.h "name the folder of cuDNN 9 in CUDNN_HOME"
fronts=("${CUDNN_FRONTEND:-}" "${CUDNN_FRONTEND:+$CUDNN_FRONTEND/include}" "$dnn/include" /usr/include)
for site in "${sites[@]}"; do fronts+=("$site/include"); done
front=$(first cudnn_frontend.h "${fronts[@]}")
[ -n "$front" ] || missing cudnn_frontend.h "name the folder of cudnn-frontend's headers in CUDNN_FRONTEND"
blas_lib=$(first 'libcublas.so*' "$blas/lib64" "$blas/lib" "$home/lib64" "$home/lib" /usr/lib/x86_64-linux-gnu)
[ -n "$blas_lib" ] || missing libcublas.so "install cuBLAS"
dnn_lib=$(first 'libcudnn.so*' "$dnn/lib64" "$dnn/lib" /usr/lib/x86_64-linux-gnu)
[ -n "$dnn_lib" ] || missing libcudnn.so "install cuDNN 9"
runtime=$(first libcudart_static.a "$home/lib64" "$home/lib" "$blas/lib64" "$blas/lib" /usr/lib/x86_64-linux-gnu)
[ -n "$runtime" ] || missing libcudart_static.a "install the CUDA runtime"

nvrtc_lib=$(first 'libnvrtc.so*' "$home/lib64" "$home/lib" "$blas_lib" /usr/lib/x86_64-linux-gnu)
[ -n "$nvrtc_lib" ] || missing libnvrtc.so "install NVRTC, which cudnn-frontend wants"

# Wheels have names with versions only.
exact() { basename "$(compgen -G "$1/$2.so.*" | sort | head -1 || echo "$1/$2.so")"; }
echo "NVCC := $home/bin/nvcc"
# The system's own folder must stay after those of the compiler, as it does with -I.
include() {
  local flags=
  for dir in "$@"; do
    if [ "$dir" = /usr/include ]; then flags+=" -I $dir"; else flags+=" -isystem $dir"; fi
  done
  echo "CUDA_INCLUDE :=$flags"
}
include "$home/include" "$blas/include" "$dnn/include" "$front"
echo "CUDA_LIBS := $runtime/libcudart_static.a -L$blas_lib -L$dnn_lib -L$nvrtc_lib -l:$(exact "$blas_lib" libcublas) -l:$(exact "$dnn_lib" libcudnn) -l:$(exact "$nvrtc_lib" libnvrtc) -Wl,-rpath,$blas_lib:$dnn_lib:$nvrtc_lib -lrt -lpthread -ldl"
