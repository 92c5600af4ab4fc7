/* desk.c: what three lamps and two buttons mean. */
#include "desk.h"

#include <string.h>

void desk_init(desk *d, const uint8_t session[CIB_SESSION_BYTES], uint32_t boot)
{
    memset(d, 0, sizeof *d);
    cib_follow_init(&d->follow, session);
    cib_outbox_init(&d->outbox, d->command, sizeof d->command);
    d->boot = boot;
}

void desk_lost(desk *d)
{
    cib_follow_lost(&d->follow);
    cib_outbox_lost(&d->outbox);
    d->lamp = DESK_DARK;
}

static bool is(const desk_question *q, cib_text id)
{
    return id.n == q->n && memcmp(id.at, q->id, q->n) == 0;
}

static void forget(desk *d, unsigned at)
{
    d->waiting--;
    memmove(&d->questions[at], &d->questions[at + 1], (d->waiting - at) * sizeof d->questions[0]);
}

static void asked(desk *d, const cib_frame *frame)
{
    cib_text id = cib_field_text(frame, CIB_KEY_ASK_QUESTION_ID);
    cib_text kind = cib_field_text(frame, CIB_KEY_ASK_QUESTION_KIND);
    if (!cib_text_is(kind, CIB_ASK_QUESTION_KIND_PERMISSION) || id.n > DESK_ASK_BYTES || d->waiting == DESK_QUESTIONS)
        return;
    desk_question *q = &d->questions[d->waiting++];
    q->seq = frame->seq;
    q->n = (uint8_t)id.n;
    memcpy(q->id, id.at, id.n);
}

static void answered(desk *d, const cib_frame *frame)
{
    cib_text id = cib_field_text(frame, CIB_KEY_ASK_ANSWER_ID);
    for (unsigned i = d->waiting; i-- > 0;)
        if (is(&d->questions[i], id))
            forget(d, i);
}

static void showed(desk *d, const cib_frame *frame)
{
    cib_text state = cib_field_text(frame, CIB_KEY_STATUS_STATE);
    if (cib_text_is(state, CIB_STATUS_STATE_WORKING))
        d->lamp = DESK_WORKING;
    else if (cib_text_is(state, CIB_STATUS_STATE_WAITING_FOR_INPUT))
        d->lamp = DESK_WAITING;
    else
        d->lamp = DESK_DONE;
}

/* Frames are read when their last part is there; what a desk reads of them stands in every part. */
static void take_frame(desk *d, const cib_frame *frame)
{
    if (!frame->last)
        return;
    if (frame->type == CIB_FRAME_STATUS)
        showed(d, frame);
    else if (frame->type == CIB_FRAME_ASK_QUESTION)
        asked(d, frame);
    else if (frame->type == CIB_FRAME_ASK_ANSWER)
        answered(d, frame);
    desk_frame(frame);
}

void desk_take(desk *d, const cib_item *item)
{
    cib_outbox_take(&d->outbox, item);
    switch (cib_follow_take(&d->follow, item)) {
    case CIB_NEW:
        take_frame(d, &item->frame);
        break;
    case CIB_AHEAD: /* the box lost power: these questions were never asked */
        while (d->waiting > 0 && d->questions[d->waiting - 1].seq > d->follow.seq)
            d->waiting--;
        break;
    case CIB_GAP: /* what was asked meanwhile, or answered, is not known: an answer too late is refused by the box */
    case CIB_OLD:
    case CIB_FOLLOWED:
        break;
    case CIB_UNFOLLOWED:
        d->lamp = DESK_DARK;
        break;
    }
}

bool desk_press(desk *d, bool approve)
{
    char id[CIB_ID_ROOM];
    if (d->waiting == 0)
        return false;
    const cib_text ask = {d->questions[0].id, d->questions[0].n};
    cib_writer w = cib_outbox_writer(&d->outbox);
    cib_id(id, d->boot, d->presses);
    cib_cmd_decide(&w, id, d->follow.session, ask, approve);
    if (cib_outbox_keep(&d->outbox, &w) != CIB_OK)
        return false;
    d->presses++;
    forget(d, 0);
    return true;
}
