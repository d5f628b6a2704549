# Compiler flags for every target of ours.
set(STRATA_WARNINGS
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes
    -Wmissing-prototypes -Wmissing-declarations -Wold-style-definition -Wundef -Wvla -Wwrite-strings
    -Wcast-qual -Wcast-align -Wpointer-arith -Wformat=2 -Wimplicit-fallthrough -Wdouble-promotion)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    list(APPEND STRATA_WARNINGS -Wlogical-op -Wduplicated-cond -Wduplicated-branches
        -Wnull-dereference -Wjump-misses-init)
    if(STRATA_SANITIZE OR NOT STRATA_WERROR)
        # What sanitizers insert, and -O3 inlines, makes gcc warn about paths that cannot happen.
        list(REMOVE_ITEM STRATA_WARNINGS -Wnull-dereference)
        list(APPEND STRATA_WARNINGS -Wno-maybe-uninitialized -Wno-format-overflow)
    endif()
elseif(CMAKE_C_COMPILER_ID MATCHES "Clang")
    list(APPEND STRATA_WARNINGS -Wcomma -Wconditional-uninitialized -Wmissing-variable-declarations
        -Wunreachable-code)
endif()
if(STRATA_WERROR)
    list(APPEND STRATA_WARNINGS -Werror)
endif()

add_link_options(-Wl,--as-needed)
if(STRATA_SANITIZE)
    add_compile_options(-fsanitize=${STRATA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${STRATA_SANITIZE})
endif()
if(STRATA_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Contraction is off so that the same source gives the same numbers on every machine.
function(strata_compile_options target)
    target_compile_options(${target} PRIVATE ${STRATA_WARNINGS} -fno-common -ffp-contract=off)
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
endfunction()
