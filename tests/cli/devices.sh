# devices.sh: what is here and what is missing, with libraries that are there, absent, or too old ($FAKE_CUDA is the
# driver, cuBLASLt and NCCL of tests/runtime).
. "$(dirname "$0")/lib.sh" "$@"

export STRATA_NVRTC=$work/absent.so
# The JSON result on one line, without spaces.
line_has() { tr -d ' \n' <out | grep -q -e "$1" || fail "stdout lacks: $1"; }
use() { export STRATA_LIBCUDA="$1" STRATA_CUBLASLT="$1" STRATA_NCCL="$1"; }

use "$FAKE_CUDA"
expect 0 devices
out_has '^cpu .* threads$'
out_has '^cuda Fake 0, sm_90a, 132 processors'
out_has '^     peaks: 989.0 TFLOP/s in bf16 by its sheet, 2147.5 GB/s measured$'
out_has '^     CUDA driver 13.0$'
out_has '^     NVRTC missing: no kernel can be compiled for CUDA: STRATA_NVRTC='
out_has '^     cuBLASLt 13.12.11$'
out_has '^     NCCL 2.10.5$'
expect 0 devices --json
json_has devices libraries
line_has '{"name":"NCCL","version":"2.10.5"}'

use "$work/absent.so"
expect 0 devices
out_has '^cuda no GPU here$'
out_has 'CUDA driver missing: .*libcuda.so.1'
out_has 'cuBLASLt missing: .*libcublasLt.so was not found'
out_has 'NCCL missing: .*libnccl.so.2 was not found'
expect 0 devices --json
line_has '{"name":"NCCL","missing":"GPUscannotworktogether:'

use "$(ldd "$strata" | sed -n 's/.*=> \(.*libm\.so[^ ]*\).*/\1/p')"
expect 0 devices
out_has 'CUDA driver missing: .*older than CUDA 12.0: it has no cuInit'
out_has 'NCCL missing: .*older than 2.7, it has no ncclGetVersion'
