# strata_layer(name SOURCES ... LINKS ...): the static library strata_<name>, or, as long as it has no
# sources, an interface library that only passes its links on.
function(strata_layer name)
    cmake_parse_arguments(PARSE_ARGV 1 layer "" "" "SOURCES;LINKS")
    if(layer_SOURCES)
        add_library(strata_${name} STATIC ${layer_SOURCES})
        strata_compile_options(strata_${name})
        target_compile_definitions(strata_${name} PRIVATE ${STRATA_DEFINITIONS})
        target_link_libraries(strata_${name} PUBLIC ${layer_LINKS})
    else()
        add_library(strata_${name} INTERFACE)
        target_link_libraries(strata_${name} INTERFACE ${layer_LINKS})
    endif()
endfunction()
