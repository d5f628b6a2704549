// interrupt.h: Ctrl-C for commands that stop in good order.
#pragma once

#include <signal.h>

// From now on the first SIGINT or SIGTERM sets the flag; a second one ends the process at once.
const volatile sig_atomic_t *interrupt_catch(void);
