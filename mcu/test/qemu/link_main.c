/*
 * link_main.c: the encrypted client on the STM32F100: a desk over a CIB1 link, all in software, in 3 KiB of RAM with a record of
 * 512 bytes. Arguments: the device's key, the session. Buttons: "a" approves, "d" denies, "q" tells how much RAM it took
 * and ends.
 */
#include "board.h"
#include "desk_link.h"
#include "semihost.h"

#include <string.h>

#define RECORD_BYTES 512
#define EXIT_START 3

static uint8_t rx[CIB_RECORD_ROOM(RECORD_BYTES)], tx[CIB_RECORD_ROOM(DESK_COMMAND_BYTES)];
static cib_key key;
static desk box;
static desk_link line;

void desk_frame(const cib_frame *frame)
{
    semihost_tell("frame", (uint32_t)frame->seq);
}

static int send_bytes(void *user, const uint8_t *bytes, size_t n)
{
    (void)user;
    board_send(bytes, n);
    return (int)n;
}

static int recv_bytes(void *user, uint8_t *bytes, size_t room)
{
    (void)user;
    return (int)ring_receive(bytes, room);
}

static uint32_t ms(void *user)
{
    (void)user;
    return board_ms();
}

static int random_bytes(void *user, uint8_t *bytes, size_t n)
{
    (void)user;
    return semihost_random(bytes, n);
}

static const cib_port port = {NULL, send_bytes, recv_bytes, ms, random_bytes};

/* Both arguments are read where records will be: they take no RAM of their own. */
static int set_up(void)
{
    uint8_t session[CIB_SESSION_BYTES];
    char *words = (char *)rx;
    if (semihost_arguments(words, sizeof rx) < 0)
        return CIB_EROOM;
    char *second = strchr(words, ' ');
    if (second == NULL)
        return CIB_EFORMAT;
    *second++ = 0;
    if (cib_key_parse(&key, words, 1) != 0 || cib_session_parse(session, second) != 0)
        return CIB_EFORMAT;
    desk_init(&box, session, key.boot);
    desk_link_init(&line, &box, &key, &port, 0, rx, sizeof rx, tx, sizeof tx);
    return 0;
}

static void show_lamp(void)
{
    static uint8_t shown = UINT8_MAX;
    if (box.lamp != shown)
        semihost_tell("lamp", shown = box.lamp);
}

int main(void)
{
    board_start();
    if (set_up() != 0)
        return EXIT_START;
    for (;;) {
        const int error = desk_link_step(&line);
        if (error != 0)
            semihost_tell("lost", (uint32_t)-error);
        show_lamp();
        const uint8_t button = board_button();
        if (button == 'a' || button == 'd')
            semihost_tell("pressed", desk_press(&box, button == 'a'));
        if (button == 'q')
            break;
        board_sleep();
    }
    semihost_tell("stack", board_stack_used());
    semihost_tell("ram", board_ram_used());
    return 0;
}
