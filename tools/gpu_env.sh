# gpu_env.sh: for the scripts that run on a GPU, which source it: finds CUDA's libraries where strata does not look by
# itself, in Python's wheels.

# gpu_library VARIABLE NAME: VARIABLE becomes the path of lib<NAME>.so, unless it is set or the library is where
# strata finds it.
gpu_library() {
    eval "[ -z \"\${$1:-}\" ]" || return 0
    ! ldconfig -p 2>/dev/null | grep -q "lib$2\.so\.1[23]" || return 0
    for found in /usr/local/cuda*/lib64/lib"$2".so*; do
        [ ! -e "$found" ] || return 0
    done
    found=$(python3 - "$2" <<'END' 2>/dev/null
import glob, sys
for folder in sys.path:
    for path in sorted(glob.glob(f"{folder}/nvidia/*/lib/lib{sys.argv[1]}.so.[0-9]*")):
        print(path)
        sys.exit()
END
    ) || return 0
    [ -z "$found" ] || export "$1=$found"
}
gpu_library STRATA_NVRTC nvrtc
gpu_library STRATA_CUBLASLT cublasLt

# What nvidia-smi says of the first GPU; "unknown" without it.
gpu_query() {
    nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null | head -n 1 | grep . || echo unknown
}
