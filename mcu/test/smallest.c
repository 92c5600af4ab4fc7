/* smallest.c: the smallest whole client, as cib.h shows it: what `make size` links to tell how much of the library it needs. */
#include "cib.h"

#define ALL_TYPES 0

/* The board's. */
extern const cib_port port;
extern const uint8_t KEY_ID[CIB_KEY_ID_BYTES], KEY_SECRET[CIB_SECRET_BYTES], SESSION[CIB_SESSION_BYTES];
uint32_t boot_counter_raised_and_saved(void);
void connect_the_socket(void);
void close_the_socket(void);
void sleep_until_bytes_come_or(uint32_t ms);
void wait_before_the_next_try(void);
void handle(const cib_frame *frame);
int main(void);

static uint8_t rx[CIB_RECORD_ROOM(512)], tx[CIB_RECORD_ROOM(192)];
static cib_key key;
static cib_link box;
static cib_follow follow;

int main(void)
{
    cib_key_init(&key, KEY_ID, KEY_SECRET, boot_counter_raised_and_saved());
    cib_link_init(&box, &key, &port, rx, sizeof rx, tx, sizeof tx);
    cib_follow_init(&follow, SESSION);
    for (;;) {
        connect_the_socket();
        int n = cib_link_start(&box);
        while (n >= 0) {
            if ((n = cib_link_poll(&box)) > 0) {
                cib_reader r = cib_reader_of(box.plain, (size_t)n);
                cib_item item;
                while (cib_next(&r, &item) > 0)
                    if (cib_follow_take(&follow, &item) == CIB_NEW)
                        handle(&item.frame);
            }
            if (n >= 0 && cib_link_ready(&box) && cib_follow_due(&follow)) {
                cib_writer w = cib_link_writer(&box);
                cib_cmd_attach(&w, &follow, ALL_TYPES);
                n = cib_link_send(&box, &w);
            }
            sleep_until_bytes_come_or(100);
        }
        close_the_socket();
        cib_follow_lost(&follow);
        wait_before_the_next_try();
    }
}
