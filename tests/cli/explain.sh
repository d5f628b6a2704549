# explain.sh: kernels with the floors and times of what the target is: this CPU, a GPU that is not here, and one
# ($FAKE_CUDA and $FAKE_NVRTC are those of tests/runtime and tests/simt; $EMULATED_CUDA runs kernels).
. "$(dirname "$0")/lib.sh" "$@"
rows="$root/tests/bench/rows_bf16.strata --set T=8 --set d=32"
export STRATA_NVRTC="$FAKE_NVRTC"

export STRATA_LIBCUDA=$work/absent.so
expect 0 explain $rows
out_has 'floor .* (memory)'
out_has '^on .* threads)$'
expect 0 explain "$root/models/prenorm.strata" --set size=tiny --context 16 --grad
out_has '^kept for the gradients: [0-9.]* [KM]iB, of at least [0-9.]* [KM]iB$'

# A mixture of experts keeps no more than its rows, weights, choices, their order, and what silu is taken of and multiplied with.
keeps() {
    expect 0 explain "$root/tests/bench/moe.strata" --set n=256 --grad --target cpu --dtype $1 --json
    awk -v bytes=$2 '/"kept_bytes"/ { kept = $2 + 0 } /"least_kept_bytes"/ { least = $2 + 0 }
        END { rows = 256 * 8; most = (2 * rows * 256 + 256 * 512) * bytes + 4 * (4 * rows + 64)
              exit !(least > 0 && kept <= 1.05 * least && kept <= most) }' out || fail "what is kept in $1"
}
keeps f32 4
keeps bf16 2
expect 0 explain $rows --target cuda:sm_80
out_has 'flops, floor not known without a device$'
out_has '^on no GPU (sm_80)$'
out_has 'layout: cast.0 copied [0-9]* bytes at a time, read by ldmatrix.*: [0-9] x .* of shared memory$'
out_has 'layout: sum_[0-9]* reduced over [0-9]* threads: shuffles$'
out_has 'code: [0-9]* blocks of [0-9]* threads, not compiled yet$'
expect 0 compile $rows --target cuda:sm_80 -o x.sta
expect 0 explain $rows --target cuda:sm_80
out_has 'code: .* 40 registers, 0 bytes spilled$'
! grep -q 'not compiled' out || fail "a kernel that was compiled is not known"
expect 0 explain $rows --target cuda:sm_80 --json
json_has machine kernels not_fused
out_has '"registers": 40'
out_has '"how": "copied .* bytes at a time, read by ldmatrix'
out_has '"floor_ns": null'
expect 3 bench $rows --target cuda:sm_80
err_has 'no GPU can be used'
expect 3 sweep $rows --vary d=16 -o d --target cuda:sm_80
err_has 'no GPU can be used'

# The forms of GPU kernels need no GPU; PTX needs NVRTC.
expect 0 show $rows --stage cuda --target cuda:sm_80
out_has '^KERNEL'
out_has '^#line [0-9]* ".*rows_bf16.strata"$'
expect 0 show $rows --stage ptx --target cuda:sm_90a --json
json_has stage text
export STRATA_NVRTC=$work/absent.so
expect 3 show $rows --stage ptx
err_has 'is no NVRTC'
export STRATA_NVRTC="$FAKE_NVRTC"

# The floor of a GPU is measured once: of the fake one's, a copy takes a quarter of a millisecond.
export STRATA_LIBCUDA="$FAKE_CUDA"
expect 0 explain $rows --target cuda:sm_80
out_has '^on no GPU (sm_80)$'
expect 0 explain $rows --set d=4096 --set T=4096 -v
out_has '^on Fake 0, driver for CUDA 13.0 (sm_90a)$'
out_has '(memory)'
! grep -q tuned out || fail "a trial that nobody made"
expect 0 tune $rows --budget 1
"$TRIAL" "$STRATA_DB" 123000 || fail "no region was tried"
expect 0 explain $rows
out_has 'tuned 123.0 us (0 % of floor'
expect 0 explain $rows --json
out_has '"tuned_ns": 123000'
expect 0 explain $rows --target cpu
! grep -q tuned out || fail "a GPU's trial on the CPU"

# An artifact for a GPU is measured against that.
export STRATA_LIBCUDA="$EMULATED_CUDA"
expect 0 compile $rows -o x.sta
expect 0 bench x.sta --target cpu --kernels --json
json_has median_ms floor_ms kernels
out_has '"registers": 40'
awk '/"floor_ms"/ { floor = $2 + 0 } END { exit !(floor > 0 && floor < 1e-3) }' out || fail "the floor of a GPU"

# Whether attention is one operation changes little of what is counted.
flops() { expect 0 check $model --set d=64 --set layers=1 --target $1; awk '/^flops a token/ { print $4 }' out; }
[ "$(flops cpu)" -gt 400 ] || fail "flops on the CPU"
[ "$(flops cuda:sm_90a)" -lt $(($(flops cpu) * 3 / 2)) ] || fail "flops on a GPU"

# Weights chosen by an index: a contraction of groups, or the reason why not.
# Attention that is several kernels says why: heads are wider than what GPUs have a kernel for.
cat >attends.strata <<'END'
model attends {
    dim d = 256
    input q[T, d] : f32
    input k[T, d] : f32
    input v[T, d] : f32
    output y = attend(q, k, v, over = T, along = d, causal = true)
}
END
for d in 256 257; do
    expect 0 explain attends.strata --set T=32 --set d=$d --target cuda:sm_90a --dtype f32
    cp out attends.$d
done
grep -q 'its scores: ' attends.256 && fail 'attention that is one kernel has no scores in memory'
grep -q 'its scores: queries, keys or values have more elements than a kernel takes' attends.257 ||
    fail 'why are scores in memory?'

cat >gathers.strata <<'END'
model gathers {
    dim e = 4, d = 8, f = 6
    input x[B, d] : f32
    input i[B] : index(e)
    param w[e; d -> f] = fan_in, v[e, d] = normal(1)
    output y = sum(x * w[e: i], d)
    output z = sum(x * v[e: i], d)
}
END
expect 0 explain gathers.strata --set B=3 --target cpu
out_has 'contract_at.w'
out_has 'gathered weight: all axes of the weight are summed'
