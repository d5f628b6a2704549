# database.sh: the tuning database, damaged and unwritable ones too.
. "$(dirname "$0")/lib.sh" "$@"

expect 0 db show --json
json_has trials kernels
expect 0 db list --json
json_has regions
expect 0 db verify
expect 0 db prune
expect 0 db export copy.db
expect 0 db import copy.db --json
json_has added_trials
expect 0 db merge copy.db
expect 1 db import absent.db
err_has 'absent.db'

head -c 5000 /dev/zero >zeros.db
printf 'this is no database, but it is a file of more than a hundred bytes, as long as a header would be: 1234567890' >text.db
for damaged in zeros.db text.db; do
    cp $damaged before
    for verb in show list verify prune; do
        expect 1 db $verb --db $damaged
        err_has "$damaged: error:"
        cmp $damaged before || fail "db $verb changed a damaged file"
    done
    expect 1 explain $model $small $batch --db $damaged
done
expect 0 db show
head -c 3000 tune.db >cut.db
expect 1 db verify --db cut.db
: >file
expect 3 db show --db file/tune.db
err_has 'file: error:'

# Without a database of one's own choosing, one that cannot be used is a warning.
unset STRATA_DB
HOME=$work/file
export HOME
expect 0 explain $model $small $batch
err_has 'going on without'
