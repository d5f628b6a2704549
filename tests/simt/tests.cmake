# Kernels on the CPU; included by tests/CMakeLists.txt. They are compiled by the tests themselves, with $CXX,
# g++ or clang++; where there is none, the tests are skipped.
add_library(strata_simt STATIC
    simt/barrier.c
    simt/copy.c
    simt/fiber.c
    simt/machine.c
    simt/matrix.c
    simt/memory.c
    simt/order.c
    simt/product.c
    simt/ptx.c
    simt/ptx_ops.c
    simt/simt.c
    simt/transfer.c
    simt/warp.c)
strata_compile_options(strata_simt)
# The models of products run often enough that a debug build of them is not worth having.
target_compile_options(strata_simt PRIVATE -O3)
target_compile_definitions(strata_simt PRIVATE ${STRATA_DEFINITIONS}
    STRATA_TEST_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
target_link_libraries(strata_simt PUBLIC strata_base ${CMAKE_DL_LIBS} m)

# strata_simt_test(NAME SOURCES... LIBS LIBRARIES...): like strata_test, and skipped without a C++ compiler.
function(strata_simt_test name)
    strata_test(${name} ${ARGN})
    if(TEST ${name})
        set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77)
    endif()
endfunction()
strata_simt_test(simt/machine simt/test_simt.c simt/simt_kernels.c LIBS strata_simt strata_base)
strata_simt_test(simt/mutate simt/test_mutate.c simt/planted.c simt/mutate.c simt/simt_kernels.c
    LIBS strata_simt strata_base)
strata_simt_test(simt/prelude simt/test_prelude.c simt/ptx_text.c simt/planted.c simt/mutate.c simt/simt_kernels.c
    LIBS strata_simt strata_base)
strata_simt_test(simt/mutate_cuda simt/test_mutate_cuda.c simt/mutate.c codegen/grouped_case.c ir/tile_bench.c
    LIBS strata_simt strata_codegen strata_ir strata_base m)
if(TEST simt/mutate_cuda)
    set_tests_properties(simt/mutate_cuda PROPERTIES LABELS slow)  # changed kernels, which no sanitizer sees
endif()
