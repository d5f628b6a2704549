# strata_embed(OUT SYMBOL HEADER FILE): the text FILE as C code, compiled again when FILE changes: a function
# "Str SYMBOL(void)", declared in HEADER, that returns it. OUT gets the name of the C file.
# The same file is also the script that writes the C file (cmake -P).
if(CMAKE_SCRIPT_MODE_FILE)
    file(READ ${INPUT} bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes ${bytes})
    file(WRITE ${OUTPUT} "#include \"${HEADER}\"\n\nstatic const char text[] = {${bytes}0};\n\n"
        "Str ${SYMBOL}(void) { return (Str){text, sizeof text - 1}; }\n")
    return()
endif()

set(STRATA_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
function(strata_embed out symbol header file)
    set(output ${CMAKE_BINARY_DIR}/embed/${symbol}.c)
    add_custom_command(OUTPUT ${output}
        COMMAND ${CMAKE_COMMAND} -DINPUT=${PROJECT_SOURCE_DIR}/${file} -DOUTPUT=${output}
            -DSYMBOL=${symbol} -DHEADER=${header} -P ${STRATA_EMBED_SCRIPT}
        DEPENDS ${file} ${STRATA_EMBED_SCRIPT})
    set(${out} ${output} PARENT_SCOPE)
endfunction()
