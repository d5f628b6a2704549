strata_test(models/plans models/test_plans.c ../cli/pipeline.c
    LIBS strata_frontend strata_autotune strata_codegen strata_ir strata_runtime strata_base)
if(TARGET models_plans)
    target_compile_definitions(models_plans PRIVATE STRATA_MODELS_DIR="${PROJECT_SOURCE_DIR}/models")
    if(TARGET strata_llvm)
        add_dependencies(models_plans strata_llvm)
    endif()
endif()

# models_python(NAME ARGUMENTS...): compare.sh with the arguments; skipped where there is no NumPy.
function(models_python name)
    add_test(NAME models/${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/models/compare.sh ${ARGN})
    set_tests_properties(models/${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600
        ENVIRONMENT ASAN_OPTIONS=detect_leaks=0)  # as for tests/cli
endfunction()
models_python(reference selftest)
models_python(compare $<TARGET_FILE:strata> ${PROJECT_SOURCE_DIR}/models)
