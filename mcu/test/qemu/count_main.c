/*
 * count_main.c: instructions that sealing, opening and a handshake take on a Cortex-M4. To be run with `-icount shift=0`, where QEMU's
 * clock moves by one nanosecond with each instruction, so that a millisecond is a million of them. It counts instructions, not
 * cycles: flash wait states and multi-cycle instructions come on top.
 */
#include "board.h"
#include "cib.h"
#include "cib_crypto.h"
#include "semihost.h"

#define TIMES 256u
#define RECORD 512u
#define A_MILLISECOND 1000000u

static uint8_t record[CIB_RECORD_ROOM(RECORD)];
static const uint8_t key[32] = {1};

static void seal(void)
{
    cib_seal(key, 1, record, RECORD);
}

static void hash(void)
{
    uint8_t out[32];
    const cib_piece piece = {record, CIB_HELLO_BYTES};
    cib_hmac(out, key, &piece, 1);
}

static void count(const char *what, void (*work)(void))
{
    const uint32_t since = board_ms();
    for (unsigned i = 0; i < TIMES; i++)
        work();
    semihost_tell(what, (board_ms() - since) * (A_MILLISECOND / TIMES));
}

int main(void)
{
    board_start();
    count("seal512", seal);
    count("hmac48", hash);
    return 0;
}
