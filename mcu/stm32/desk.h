/*
 * desk.h: the box on the desk: three lamps and two buttons for one session, whatever carries it. No I/O: items that came go
 * in, and a command that must happen once comes out.
 */
#ifndef DESK_H
#define DESK_H

#include "cib.h"

enum desk_lamp { DESK_DARK, DESK_DONE, DESK_WORKING, DESK_WAITING };

/* Permissions that may wait at once; of more than that the newest are left to other clients. */
#define DESK_QUESTIONS 3
/* Claude's id of a tool use and "/0": 32 characters today. */
#define DESK_ASK_BYTES 47
/* A decision: id, session and ask with their names. */
#define DESK_COMMAND_BYTES 128
/* What a desk has to know of; the others it never gets. */
#define DESK_TYPES (CIB_TYPE(CIB_FRAME_STATUS) | CIB_TYPE(CIB_FRAME_ASK_QUESTION) | CIB_TYPE(CIB_FRAME_ASK_ANSWER))

typedef struct desk_question {
    uint64_t seq;
    uint8_t n;
    uint8_t id[DESK_ASK_BYTES];
} desk_question;

typedef struct desk {
    cib_follow follow;
    cib_outbox outbox;
    uint8_t command[DESK_COMMAND_BYTES];
    desk_question questions[DESK_QUESTIONS]; /* oldest first */
    uint8_t waiting;                         /* of questions */
    uint8_t lamp;                            /* enum desk_lamp */
    uint32_t boot, presses;
} desk;

/* boot: a number that no earlier start had; ids of commands are made of it. */
void desk_init(desk *d, const uint8_t session[CIB_SESSION_BYTES], uint32_t boot);
/* Give it every item that came. For a frame that is new and whole it calls desk_frame. */
void desk_take(desk *d, const cib_item *item);
/* Approves or denies the oldest question. false: there is none, or the answer before is still on its way. */
bool desk_press(desk *d, bool approve);
/* The connection is gone. */
void desk_lost(desk *d);

/* Yours, if you want to show more: each frame once, in order. */
void desk_frame(const cib_frame *frame);

#endif
