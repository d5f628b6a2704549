# Tests of the emitters; included by tests/CMakeLists.txt. They skip what needs LLVM where there is none.
function(strata_codegen_test name)
    strata_test(codegen/${name} codegen/test_${name}.c codegen/kernel_bench.c ir/tile_bench.c ${ARGN}
        LIBS strata_codegen strata_runtime strata_ir strata_base m)
    if(TARGET codegen_${name} AND TARGET strata_llvm)
        add_dependencies(codegen_${name} strata_llvm)
    endif()
endfunction()
strata_codegen_test(attend codegen/attend_case.c)
strata_codegen_test(chunk codegen/chunk_case.c)
strata_codegen_test(grouped codegen/grouped_case.c)
strata_codegen_test(loop)
foreach(name attend loop)  # most is machine code, which no sanitizer sees; their emitters run in tests of models
    if(TEST codegen/${name})
        set_tests_properties(codegen/${name} PROPERTIES LABELS slow)
    endif()
endforeach()
strata_codegen_test(lines codegen/line_table.c)
strata_codegen_test(stream codegen/stream_case.c)
strata_codegen_test(math)
strata_test(codegen/cuda_loop codegen/test_cuda_loop.c codegen/cuda_bench.c ir/tile_bench.c
    LIBS strata_simt strata_codegen strata_ir strata_base m)
if(TEST codegen/cuda_loop)
    set_tests_properties(codegen/cuda_loop PROPERTIES LABELS slow)
endif()
strata_test(codegen/cuda_ws codegen/test_cuda_ws.c codegen/cuda_bench.c ir/tile_bench.c
    LIBS strata_simt strata_codegen strata_ir strata_base m)
strata_test(codegen/cuda_stream codegen/test_cuda_stream.c codegen/stream_case.c codegen/cuda_bench.c ir/tile_bench.c
    LIBS strata_simt strata_codegen strata_ir strata_base m)
strata_test(codegen/cuda_grouped codegen/test_cuda_grouped.c codegen/grouped_case.c codegen/cuda_bench.c ir/tile_bench.c
    LIBS strata_simt strata_codegen strata_ir strata_base m)
strata_test(codegen/cuda_attend codegen/test_cuda_attend.c codegen/attend_case.c codegen/cuda_bench.c ir/tile_bench.c
    LIBS strata_simt strata_codegen strata_ir strata_base m)
strata_test(codegen/cuda_chunk codegen/test_cuda_chunk.c codegen/chunk_case.c codegen/chunk_limits.c codegen/cuda_bench.c
    ir/tile_bench.c
    LIBS strata_simt strata_codegen strata_ir strata_base m)
strata_test(codegen/cuda_parts codegen/test_cuda_parts.c codegen/cuda_bench.c ir/tile_bench.c
    LIBS strata_simt strata_codegen strata_ir strata_base m)
strata_test(codegen/cuda_layouts codegen/test_cuda_layouts.c ir/tile_bench.c LIBS strata_codegen strata_ir strata_base m)
strata_test(codegen/nvrtc codegen/test_nvrtc.c LIBS strata_codegen Threads::Threads)

# Built with the tests but not run by them: timings decide nothing.
add_executable(bench_gemm bench/bench_gemm.c bench/fma.c bench/onednn.c bench/turns.c)
strata_compile_options(bench_gemm)
target_compile_definitions(bench_gemm PRIVATE ${STRATA_DEFINITIONS})
target_compile_options(bench_gemm PRIVATE -O2 -march=native -ffp-contract=fast)
target_link_libraries(bench_gemm PRIVATE strata_autotune strata_codegen strata_runtime strata_ir
    strata_base ${STRATA_DNNL_TARGET} m)
if(TARGET strata_llvm)
    add_dependencies(bench_gemm strata_llvm)
endif()
