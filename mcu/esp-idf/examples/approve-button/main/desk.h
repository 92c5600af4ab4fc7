/*
 * desk.h: what the desk knows of its session: whether Claude works, and the questions that wait. No I/O: frames go in, the
 * lamp and the question to answer come out.
 */
#ifndef DESK_H
#define DESK_H

#include <stdbool.h>
#include <stdint.h>

#include <cib.h>

#include "lamp.h"

/* Types of frames that desk_take reads: the box sends no others. */
#define DESK_TYPES                                                                                              \
    (CIB_TYPE(CIB_FRAME_STATUS) | CIB_TYPE(CIB_FRAME_STOP) | CIB_TYPE(CIB_FRAME_ASK_QUESTION) |                 \
     CIB_TYPE(CIB_FRAME_ASK_ANSWER))

/* Claude seldom asks more at once; what does not fit is answered elsewhere, and the log says so. 8 × 240 bytes. */
#define DESK_ASKS 8
/* "<tool use>/<n>": 32 characters today. */
#define ASK_ID_ROOM 64
#define ASK_TOOL_ROOM 40
#define ASK_SUMMARY_ROOM 120

typedef struct ask {
    char id[ASK_ID_ROOM];
    char tool[ASK_TOOL_ROOM];
    char summary[ASK_SUMMARY_ROOM];
    bool is_permission; /* else a question of Claude's own, which two buttons cannot answer */
    bool is_answered;   /* by this desk; the box has not told so yet */
    uint64_t seq;
} ask;

typedef struct desk {
    bool is_working, is_waiting; /* as its last status said */
    size_t waiting;
    ask asks[DESK_ASKS]; /* the oldest first */
} desk;

enum desk_news {
    DESK_SAME,
    DESK_ASKED,   /* desk_question may be another one */
    DESK_SETTLED, /* a question was settled, by whomever */
    DESK_CROWDED, /* a question did not fit */
};

void desk_init(desk *d);
/* One frame, new and in order. */
enum desk_news desk_take(desk *d, const cib_frame *frame);
/* Forgets everything from this seq on: those numbers come again with other frames. */
void desk_forget(desk *d, uint64_t seq);
/* A question that is known to be settled. */
void desk_settle(desk *d, cib_text id);
/* The question that the buttons are for, or NULL. */
ask *desk_question(desk *d);
enum lamp desk_lamp(const desk *d);

#endif
