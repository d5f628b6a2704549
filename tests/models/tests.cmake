set(MODEL_LIBRARIES strata_frontend strata_autotune strata_codegen strata_ir strata_runtime strata_base)
strata_test(models/plans models/test_plans.c models/plan_check.c ir/numbers.c ../cli/pipeline.c LIBS ${MODEL_LIBRARIES})
if(TARGET models_plans)
    target_compile_definitions(models_plans PRIVATE STRATA_MODELS_DIR="${PROJECT_SOURCE_DIR}/models")
    if(TARGET strata_llvm)
        add_dependencies(models_plans strata_llvm)
    endif()
endif()
# Every kernel of the models for GPUs, one by one.
foreach(name cuda_loop cuda_stream)
    strata_test(models/${name} models/test_${name}.c models/cuda_kernels.c codegen/cuda_bench.c ir/tile_bench.c
        ../cli/pipeline.c LIBS strata_simt ${MODEL_LIBRARIES} m)
    if(TARGET models_${name})
        target_compile_definitions(models_${name} PRIVATE STRATA_MODELS_DIR="${PROJECT_SOURCE_DIR}/models")
        set_tests_properties(models/${name} PROPERTIES LABELS slow)
    endif()
endforeach()

# Plans for GPUs, run on the CPU: NVRTC's place is taken by a library that keeps the text, the session's by one
# that runs it.
add_library(strata_nvrtc_text MODULE simt/nvrtc_text.c)
strata_compile_options(strata_nvrtc_text)
strata_simt_test(models/cuda_plans models/test_cuda_plans.c models/plan_check.c ir/numbers.c simt/session_simt.c ../cli/pipeline.c
    LIBS strata_simt ${MODEL_LIBRARIES})
if(TARGET models_cuda_plans)
    target_compile_definitions(models_cuda_plans PRIVATE STRATA_MODELS_DIR="${PROJECT_SOURCE_DIR}/models"
        STRATA_NVRTC_TEXT="$<TARGET_FILE:strata_nvrtc_text>")
    add_dependencies(models_cuda_plans strata_nvrtc_text)
    set_tests_properties(models/cuda_plans PROPERTIES LABELS slow)
endif()

# Every kernel of every way to connect sublayers, with the evaluator's numbers.
strata_simt_test(models/cuda_schemes models/test_cuda_schemes.c ir/numbers.c ../cli/pipeline.c
    LIBS strata_simt ${MODEL_LIBRARIES} m)
if(TARGET models_cuda_schemes)
    target_compile_definitions(models_cuda_schemes PRIVATE STRATA_MODELS_DIR="${PROJECT_SOURCE_DIR}/models")
    set_tests_properties(models/cuda_schemes PROPERTIES LABELS slow)
endif()

strata_test(models/cuda_compile models/test_cuda_compile.c models/cuda_kernels.c ../cli/pipeline.c LIBS ${MODEL_LIBRARIES})
if(TARGET models_cuda_compile)
    target_compile_definitions(models_cuda_compile PRIVATE STRATA_MODELS_DIR="${PROJECT_SOURCE_DIR}/models")
    set_tests_properties(models/cuda_compile PROPERTIES SKIP_RETURN_CODE 77 LABELS slow)
endif()

# models_python(NAME ARGUMENTS...): NAME.py with the arguments; skipped where there is no NumPy.
function(models_python name)
    add_test(NAME models/${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/models/compare.sh ${name}.py ${ARGN})
    set_tests_properties(models/${name} PROPERTIES SKIP_RETURN_CODE 77
        ENVIRONMENT ASAN_OPTIONS=detect_leaks=0)  # as for tests/cli
endfunction()
models_python(reference)
models_python(schemes)
models_python(variants)
models_python(linear_layers)
models_python(compare $<TARGET_FILE:strata> ${PROJECT_SOURCE_DIR}/models)
models_python(compare_schemes $<TARGET_FILE:strata> ${PROJECT_SOURCE_DIR}/models)
models_python(compare_moe $<TARGET_FILE:strata> ${PROJECT_SOURCE_DIR}/models)
models_python(compare_attention $<TARGET_FILE:strata> ${PROJECT_SOURCE_DIR}/models)
models_python(compare_recurrence $<TARGET_FILE:strata> ${PROJECT_SOURCE_DIR}/models)
models_python(compare_linear $<TARGET_FILE:strata> ${PROJECT_SOURCE_DIR}/models)
models_python(compare_kimi $<TARGET_FILE:strata> ${PROJECT_SOURCE_DIR}/models)
models_python(compare_mapping $<TARGET_FILE:strata> ${PROJECT_SOURCE_DIR}/models)
# Also on the emulation of a GPU (tests/gpu).
set_tests_properties(models/compare_recurrence PROPERTIES ENVIRONMENT
    "ASAN_OPTIONS=detect_leaks=0;STRATA_LIBCUDA=$<TARGET_FILE:emulated_cuda>;STRATA_NVRTC=$<TARGET_FILE:strata_nvrtc_text>")
# Many small models: the others show the sanitizers the same code.
set_tests_properties(models/compare_schemes models/compare_recurrence PROPERTIES LABELS slow)
