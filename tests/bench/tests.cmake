# Built with the tests but not run by them: timings decide nothing.
add_executable(bench_rows bench/bench_rows.c bench/row_cases.c)
strata_compile_options(bench_rows)
target_compile_definitions(bench_rows PRIVATE ${STRATA_DEFINITIONS})
target_compile_options(bench_rows PRIVATE -O2 -march=native)
target_link_libraries(bench_rows PRIVATE strata_autotune strata_codegen strata_runtime strata_ir
    strata_base m)
if(TARGET strata_llvm)
    add_dependencies(bench_rows strata_llvm)
endif()

add_executable(bench_step bench/bench_step.c)
strata_compile_options(bench_step)
target_link_libraries(bench_step PRIVATE strata_autotune strata_runtime strata_base m)

add_executable(bench_peak bench/bench_peak.c bench/fma.c)
strata_compile_options(bench_peak)
target_compile_options(bench_peak PRIVATE -O2 -march=native -ffp-contract=fast)
target_link_libraries(bench_peak PRIVATE strata_runtime strata_base m)

add_executable(bench_nvrtc bench/bench_nvrtc.c models/cuda_kernels.c ../cli/pipeline.c)
strata_compile_options(bench_nvrtc)
target_compile_definitions(bench_nvrtc PRIVATE STRATA_MODELS_DIR="${PROJECT_SOURCE_DIR}/models")
target_link_libraries(bench_nvrtc PRIVATE ${MODEL_LIBRARIES})
