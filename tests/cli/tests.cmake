# Tests of the built command, shell scripts on cli/lib.sh; included by tests/CMakeLists.txt.
add_executable(cli_tensors cli/tensors.c)
strata_compile_options(cli_tensors)
target_link_libraries(cli_tensors PRIVATE strata_runtime strata_base)

function(strata_cli_test name)
    add_test(NAME cli/${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/cli/${name}.sh $<TARGET_FILE:strata>
        $<TARGET_FILE:cli_tensors> ${PROJECT_SOURCE_DIR})
    # The leak checker of gcc 12 now and then crashes on a process that has loaded libLLVM; leaks are checked by the tests
    # of the libraries.
    set_tests_properties(cli/${name} PROPERTIES ENVIRONMENT ASAN_OPTIONS=detect_leaks=0)
    # 77: this build has no code generator, or this machine lacks something that the test needs.
    set_tests_properties(cli/${name} PROPERTIES SKIP_RETURN_CODE 77)
endfunction()

strata_test(cli/seed_mean cli/test_seed_mean.c ../cli/seed_mean.c LIBS strata_base)
strata_test(cli/rank cli/test_rank.c ../cli/rank.c LIBS strata_base)

strata_cli_test(options)
add_executable(cli_trial cli/trial.c)
strata_compile_options(cli_trial)
target_link_libraries(cli_trial PRIVATE strata_autotune)
strata_cli_test(devices)
strata_cli_test(explain)
set_property(TEST cli/devices cli/explain APPEND PROPERTY ENVIRONMENT "FAKE_CUDA=$<TARGET_FILE:fake_cuda>"
    "FAKE_NVRTC=$<TARGET_FILE:strata_nvrtc_text>" "EMULATED_CUDA=$<TARGET_FILE:emulated_cuda>"
    "TRIAL=$<TARGET_FILE:cli_trial>")
add_dependencies(cli_tensors cli_trial fake_cuda strata_nvrtc_text emulated_cuda)
strata_cli_test(models)
strata_cli_test(run)
strata_cli_test(decode)
strata_cli_test(bad_files)
strata_cli_test(mapping)
strata_cli_test(artifacts)
strata_cli_test(training)
strata_cli_test(database)
strata_cli_test(sweep)
strata_cli_test(inspect)
strata_cli_test(residual)
strata_cli_test(dist)
