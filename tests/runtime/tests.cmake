# Tests of the runtime; included by tests/CMakeLists.txt.

# strata_object(NAME SOURCE FLAGS...): objects/SOURCE.c as a relocatable object, without whatever would make it
# call into a library. Tests find it as OBJECT_NAME.
set(STRATA_OBJECT_PATHS "")
function(strata_object name source)
    add_library(object_${name} OBJECT runtime/objects/${source}.c)
    target_include_directories(object_${name} PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_options(object_${name} PRIVATE -O1 -ffreestanding -fno-stack-protector -fno-sanitize=all
        -fno-asynchronous-unwind-tables ${ARGN})
    string(TOUPPER OBJECT_${name} definition)
    set(STRATA_OBJECT_PATHS ${STRATA_OBJECT_PATHS} "${definition}=\"$<TARGET_OBJECTS:object_${name}>\""
        PARENT_SCOPE)
endfunction()
strata_object(scale scale)
strata_object(scale_fixed scale -fno-pic -mcmodel=small -fno-pie)
strata_object(scale_unwind scale -fasynchronous-unwind-tables)
strata_object(visible visible -fPIC)
strata_object(undefined undefined)
strata_object(writable writable)
strata_object(nameless nameless)

# A test that loads objects.
function(strata_object_test name)
    strata_test(${name} ${ARGN})
    string(REPLACE "/" "_" target ${name})
    if(TARGET ${target})
        target_compile_definitions(${target} PRIVATE ${STRATA_OBJECT_PATHS})
        foreach(object scale scale_fixed scale_unwind visible undefined writable nameless)
            add_dependencies(${target} object_${object})
        endforeach()
    endif()
endfunction()

strata_object_test(runtime/object runtime/test_object.c LIBS strata_runtime)
strata_test(runtime/pool runtime/test_pool.c LIBS strata_runtime)
strata_test(runtime/plan runtime/test_plan.c runtime/plan_sample.c LIBS strata_runtime)

strata_fuzz(plan_read LIBS strata_runtime)
target_sources(fuzz_plan_read PRIVATE runtime/plan_sample.c)
strata_test(runtime/init runtime/test_init.c LIBS strata_runtime)
strata_object_test(runtime/session runtime/test_session.c LIBS strata_runtime)
strata_test(runtime/dataset runtime/test_dataset.c LIBS strata_runtime)
strata_test(runtime/safetensors runtime/test_safetensors.c LIBS strata_runtime)
strata_fuzz(safetensors LIBS strata_runtime)
