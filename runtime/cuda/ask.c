// ask.c: a child that starts the driver, looks, and ends.
#include "runtime/cuda/ask.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REASON_CAP = 512 };

typedef struct {
    bool found;
    CudaAnswer answer;
    char reason[REASON_CAP];  // why none was found
} Message;

static bool suits(Arena *arena, const CudaDevice *device, Str arch) {
    if (arch.len) return cuda_device_runs(device, arch);
    return cuda_device_runs(device, cuda_device_arch(arena, device));
}

static bool no_device(Diag *diag, Str arch) {
    if (arch.len)
        return diag_fail(diag, FAIL_ENVIRONMENT, "there is no GPU here that runs code for %.*s",
                         STR_ARG(arch));
    return diag_fail(diag, FAIL_ENVIRONMENT,
                     "there is no GPU here that code can be made for; cuda:sm_80, cuda:sm_90a "
                     "and cuda:sm_100a compile without one");
}

bool cuda_look(Diag *diag, Arena *arena, Str arch, CudaAnswer *out) {
    Diag ignored;
    diag_init(&ignored, arena);
    if (!diag) diag = &ignored;
    CudaDevice *devices = NULL;
    uint32_t count = 0;
    const CudaDriver *cu = cuda_driver(diag);
    if (!cu || !cuda_devices(diag, arena, cu, &devices, &count)) return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!suits(arena, &devices[i], arch)) continue;
        out->device = devices[i];
        snprintf(out->driver, sizeof out->driver, "%.*s",
                 STR_ARG(cuda_driver_version(arena, cu)));
        return true;
    }
    return no_device(diag, arch);
}

NORETURN static void child_main(Str arch, int report) {
    Message message;
    memset(&message, 0, sizeof message);
    signal(SIGINT, SIG_IGN);
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    message.found = cuda_look(&diag, &arena, arch, &message.answer);
    if (!message.found)
        snprintf(message.reason, REASON_CAP, "%.*s", STR_ARG(diag.items[0].message));
    _exit(write(report, &message, sizeof message) != (ssize_t)sizeof message);
}

static bool receive(int from, Message *out) {
    size_t got = 0;
    while (got < sizeof *out) {
        ssize_t n = read(from, (char *)out + got, sizeof *out - got);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        got += (size_t)n;
    }
    return true;
}

static bool ask(Str arch, Message *out) {
    int ends[2];
    if (pipe(ends)) return false;
    pid_t pid = fork();
    if (pid == 0) child_main(arch, ends[1]);
    close(ends[1]);
    bool ok = pid > 0 && receive(ends[0], out);
    close(ends[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return ok;
}

bool cuda_ask(Diag *diag, Str arch, CudaAnswer *out) {
    Message message;
    if (!ask(arch, &message))
        return diag && diag_fail(diag, FAIL_ENVIRONMENT, "no GPU can be used: asking failed");
    *out = message.answer;
    return message.found || (diag && diag_fail(diag, FAIL_ENVIRONMENT, "%s", message.reason));
}
