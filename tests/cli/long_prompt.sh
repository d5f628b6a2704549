# long_prompt.sh: a prompt of 130900 tokens, in less memory than a sixteenth of its scores. Run by hand, as it takes minutes:
#     sh tests/cli/long_prompt.sh STRATA TENSORS SOURCE_ROOT
. "$(dirname "$0")/lib.sh" "$@"
need_code

ulimit -v 4194304
prompt=$(yes 'In the beginning was the Word, ' 2>/dev/null | tr -d '\n' | head -c 130900)
for m in prenorm kimi_linear; do
    tiny="$root/models/$m.strata --set size=tiny"
    expect 0 init $tiny -o p.st
    expect 0 generate $tiny --context 131072 -p p.st --prompt "$prompt" --tokens 20 --temperature 0 --json
    awk '/"tokens":/ { good = $2 + 0 == 20 } END { exit !good }' out || fail "$m: not 20 tokens more"
done
