// interrupt.c: a signal handler has no other way to say anything than a variable of the file.
#include "cli/interrupt.h"

#include <unistd.h>

#include "base/diag.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    if (interrupted) _exit(FAIL_INTERRUPTED);
    interrupted = 1;
}

const volatile sig_atomic_t *interrupt_catch(void) {
    // SA_RESTART: files being written go on; who can stop asks the flag.
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return &interrupted;
}
