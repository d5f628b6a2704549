# Tests on a real GPU; included by tests/CMakeLists.txt. tools/test_gpu.sh runs them, also from an archive
# (tools/dist.sh).
set(STRATA_GPU_PROGRAMS bench_step)

# strata_gpu_program(NAME SOURCES...): tests/gpu_NAME.
function(strata_gpu_program name)
    if(NOT TARGET strata_cmocka)
        return()
    endif()
    add_executable(gpu_${name} gpu/gpu.c ${ARGN})
    strata_compile_options(gpu_${name})
    # Files are found where the programs are run: in the source root, or at the top of an archive.
    target_compile_definitions(gpu_${name} PRIVATE ${STRATA_DEFINITIONS} STRATA_TEST_SOURCE_DIR="."
        STRATA_MODELS_DIR="models")
    target_link_libraries(gpu_${name} PRIVATE strata_frontend strata_autotune strata_codegen strata_ir strata_runtime
        strata_base strata_cmocka m)
    set(STRATA_GPU_PROGRAMS ${STRATA_GPU_PROGRAMS} gpu_${name} PARENT_SCOPE)
endfunction()

strata_gpu_program(models gpu/test_gpu.c models/plan_check.c ir/numbers.c ../cli/pipeline.c)
# The tests of single kernels, with the card in the emulation's place.
set(stream_cases codegen/stream_case.c)
foreach(kernels loop stream ws)
    strata_gpu_program(${kernels} gpu/device_simt.c codegen/test_cuda_${kernels}.c ${${kernels}_cases}
        codegen/cuda_bench.c ir/tile_bench.c)
endforeach()
foreach(kernels loop stream)
    strata_gpu_program(model_${kernels} gpu/device_simt.c models/test_cuda_${kernels}.c models/cuda_kernels.c
        codegen/cuda_bench.c ir/tile_bench.c ../cli/pipeline.c)
endforeach()
# The hand-written kernels, by which the emulation's models of barriers, copies and products are compared with the card.
strata_gpu_program(machine gpu/device_simt.c simt/test_simt.c simt/simt_kernels.c)
foreach(test machine ws)
    if(TARGET gpu_${test})
        target_compile_definitions(gpu_${test} PRIVATE STRATA_GPU_SM90A)
    endif()
endforeach()

# What tools/dist.sh packs.
add_custom_target(dist_programs)
add_dependencies(dist_programs strata ${STRATA_GPU_PROGRAMS})

add_test(NAME gpu COMMAND ${PROJECT_SOURCE_DIR}/tools/test_gpu.sh ${CMAKE_BINARY_DIR})
# 3: there is no GPU.
set_tests_properties(gpu PROPERTIES SKIP_RETURN_CODE 3 TIMEOUT 900 LABELS slow)

add_test(NAME gpu_scripts COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/gpu/scripts.sh ${CMAKE_BINARY_DIR} ${PROJECT_SOURCE_DIR})
set_tests_properties(gpu_scripts PROPERTIES SKIP_RETURN_CODE 77 LABELS slow)

# A GPU that is the emulation: what the programs above do with the driver is tried out without one.
add_library(emulated_cuda SHARED runtime/fake_cuda.c gpu/emulated_code.c runtime/fake_stream.c runtime/fake_cublaslt.c)
strata_compile_options(emulated_cuda)
target_link_options(emulated_cuda PRIVATE -Wl,-Bsymbolic)
target_link_libraries(emulated_cuda PRIVATE strata_simt strata_runtime strata_base)
if(TARGET gpu_machine)
    add_test(NAME gpu_machine COMMAND gpu_machine WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(gpu_machine PROPERTIES SKIP_RETURN_CODE 77 LABELS slow ENVIRONMENT
        "STRATA_LIBCUDA=$<TARGET_FILE:emulated_cuda>;STRATA_NVRTC=$<TARGET_FILE:strata_nvrtc_text>")
    add_dependencies(gpu_machine emulated_cuda strata_nvrtc_text)
endif()
