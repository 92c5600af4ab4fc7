/* pick.h: which session to follow, where menuconfig names none: the one that needs a person most, as the box ranks them. */
#ifndef PICK_H
#define PICK_H

#include <stdbool.h>
#include <stdint.h>

#include <cib.h>

typedef struct pick {
    bool is_asked; /* the box has not answered yet */
    uint32_t asked_at;
} pick;

/* A connection has come about: the box is asked at once. */
void pick_restart(pick *p, uint32_t now);
/* Is it time to ask (again)? */
bool pick_is_due(const pick *p, uint32_t now);
/* Asks: one command. */
void pick_ask(pick *p, cib_writer *w, uint32_t now);
/* True, and the session, where this item is the answer and names one. */
bool pick_take(pick *p, const cib_item *item, uint8_t session[CIB_SESSION_BYTES]);

#endif
