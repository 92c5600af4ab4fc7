/* desk_link.h: a desk over raw TCP, encrypted: hello, attach, and after any loss again. */
#ifndef DESK_LINK_H
#define DESK_LINK_H

#include "desk.h"

typedef struct desk_link {
    desk *desk;
    cib_link link;
    uint32_t types; /* of frames: DESK_TYPES, or 0 for all */
    uint8_t tries;  /* links in a row that came to nothing */
    bool away;
    bool over;      /* the box said a goodbye after which nobody may come back: revoked, expired, superseded */
    uint32_t since, wait; /* ms: of the pause before the next try */
} desk_link;

/* tx: at least CIB_RECORD_ROOM(DESK_COMMAND_BYTES). */
void desk_link_init(desk_link *l, desk *d, cib_key *key, const cib_port *port, uint32_t types, uint8_t *rx, size_t rx_room,
                    uint8_t *tx, size_t tx_room);
/* Moves what there is; call it every few milliseconds. 0, or the error that ended the link: the next one is under way. */
int desk_link_step(desk_link *l);

#endif
