// main.c: the strata command.
#include <stdio.h>

int main(void) {
    fputs("usage: strata COMMAND MODEL.strata [options]\n", stderr);
    return 2;
}
