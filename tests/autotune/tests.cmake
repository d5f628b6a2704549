# Tests of the autotuner; included by tests/CMakeLists.txt.
strata_test(autotune/database autotune/test_database.c LIBS strata_autotune strata_base)
