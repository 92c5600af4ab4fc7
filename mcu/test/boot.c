/* boot.c: raises the boot counter of a file once, and says what came of it: a line of JSON. */
#include "cib_posix.h"

#include <inttypes.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    uint32_t boot = 0;
    int error = argc == 2 ? cib_posix_boot(argv[1], &boot) : CIB_EFORMAT;
    printf("{\"boot\":%" PRIu32 ",\"error\":%d}\n", boot, error);
    return 0;
}
