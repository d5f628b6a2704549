// nvrtc_text.c: a library in NVRTC's place that compiles nothing: its "cubin" is the text that
// it was given. Plans made with it carry kernels that tests/simt can run. STRATA_NVRTC names
// it.
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *text;
} Program;

enum { OK = 0, OUT_OF_MEMORY = 1 };

#define EXPORT __attribute__((visibility("default")))

EXPORT int nvrtcVersion(int *major, int *minor);
EXPORT int nvrtcCreateProgram(Program **out, const char *source, const char *name, int headers,
                              const char *const *texts, const char *const *names);
EXPORT int nvrtcDestroyProgram(Program **program);
EXPORT int nvrtcCompileProgram(Program *program, int count, const char *const *options);
EXPORT int nvrtcGetProgramLogSize(Program *program, size_t *bytes);
EXPORT int nvrtcGetProgramLog(Program *program, char *out);
EXPORT int nvrtcGetCUBINSize(Program *program, size_t *bytes);
EXPORT int nvrtcGetCUBIN(Program *program, char *out);
EXPORT int nvrtcGetPTXSize(Program *program, size_t *bytes);
EXPORT int nvrtcGetPTX(Program *program, char *out);

int nvrtcVersion(int *major, int *minor) {
    *major = *minor = 0;
    return OK;
}

// NOLINTNEXTLINE(readability-function-size): the library's parameters
int nvrtcCreateProgram(Program **out, const char *source, const char *name, int headers,
                       const char *const *texts, const char *const *names) {
    (void)name, (void)headers, (void)texts, (void)names;
    Program *program = malloc(sizeof *program);
    char *text = malloc(strlen(source) + 1);
    if (!program || !text) {
        free(program);
        free(text);
        return OUT_OF_MEMORY;
    }
    memcpy(text, source, strlen(source) + 1);
    program->text = text;
    *out = program;
    return OK;
}

int nvrtcDestroyProgram(Program **program) {
    free((*program)->text);
    free(*program);
    *program = NULL;
    return OK;
}

int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
    (void)program, (void)count, (void)options;
    return OK;
}

// What ptxas would say of a kernel with 40 registers.
static const char compiler_log[] = "ptxas info    : Used 40 registers\n";

int nvrtcGetProgramLogSize(Program *program, size_t *bytes) {
    (void)program;
    *bytes = sizeof compiler_log;
    return OK;
}

int nvrtcGetProgramLog(Program *program, char *out) {
    (void)program;
    memcpy(out, compiler_log, sizeof compiler_log);
    return OK;
}

int nvrtcGetCUBINSize(Program *program, size_t *bytes) {
    *bytes = strlen(program->text);
    return OK;
}

int nvrtcGetCUBIN(Program *program, char *out) {
    memcpy(out, program->text, strlen(program->text));
    return OK;
}

int nvrtcGetPTXSize(Program *program, size_t *bytes) {
    *bytes = strlen(program->text) + 1;
    return OK;
}

int nvrtcGetPTX(Program *program, char *out) {
    memcpy(out, program->text, strlen(program->text) + 1);
    return OK;
}
