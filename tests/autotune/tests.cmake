# Tests of the autotuner; included by tests/CMakeLists.txt.
strata_test(autotune/database autotune/test_database.c LIBS strata_autotune strata_base)
strata_test(autotune/measure autotune/test_measure.c LIBS strata_autotune strata_base m)
strata_test(autotune/library autotune/test_library.c LIBS strata_autotune strata_ir strata_base)
strata_test(autotune/check autotune/test_check.c LIBS strata_autotune strata_ir strata_base)
strata_test(autotune/worker autotune/test_worker.c LIBS strata_autotune strata_ir strata_base)
strata_test(autotune/tune autotune/test_tune.c LIBS strata_autotune strata_ir strata_base)

if(TARGET autotune_worker)
    foreach(kind right wrong slow crash hang)
        string(TOUPPER ${kind} upper)
        add_library(object_planted_${kind} OBJECT autotune/objects/planted.c)
        target_include_directories(object_planted_${kind} PRIVATE ${PROJECT_SOURCE_DIR})
        target_compile_options(object_planted_${kind} PRIVATE -DPLANTED_${upper} -O1 -ffreestanding
            -fno-stack-protector -fno-sanitize=all -fno-asynchronous-unwind-tables)
        target_compile_definitions(autotune_worker PRIVATE
            OBJECT_${upper}="$<TARGET_OBJECTS:object_planted_${kind}>")
        add_dependencies(autotune_worker object_planted_${kind})
    endforeach()
endif()
if(TARGET autotune_tune AND TARGET strata_llvm)
    add_dependencies(autotune_tune strata_llvm)
endif()
