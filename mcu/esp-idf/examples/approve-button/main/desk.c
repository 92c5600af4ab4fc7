/* desk.c: frames to lamp and questions. */
#include "desk.h"

#include <string.h>

void desk_init(desk *d) {
    memset(d, 0, sizeof *d);
}

/* Text with an end mark, cut between characters; what would move a terminal's cursor becomes a question mark. */
static void copy(char *out, size_t room, cib_text text) {
    size_t n = text.n < room ? text.n : room - 1;
    /* A byte 10xxxxxx goes on with a character (RFC 3629, 3): do not end before one. */
    while (n > 0 && n < text.n && (text.at[n] & 0xc0) == 0x80) n--;
    for (size_t i = 0; i < n; i++) out[i] = text.at[i] < 0x20 || text.at[i] == 0x7f ? '?' : (char)text.at[i];
    out[n] = 0;
}

/* False where the question cannot be answered from here. */
static bool ask_of(ask *made, const cib_frame *frame) {
    cib_text id = cib_field_text(frame, CIB_KEY_ASK_QUESTION_ID);
    cib_text summary = cib_field_text(frame, CIB_KEY_ASK_QUESTION_SUMMARY);
    if (id.at == NULL || id.n >= sizeof made->id) return false;
    memset(made, 0, sizeof *made);
    memcpy(made->id, id.at, id.n);
    copy(made->tool, sizeof made->tool, cib_field_text(frame, CIB_KEY_ASK_QUESTION_TOOL));
    copy(made->summary, sizeof made->summary, summary.at != NULL ? summary : cib_field_text(frame, CIB_KEY_ASK_QUESTION_PROMPT));
    made->is_permission = cib_text_is(cib_field_text(frame, CIB_KEY_ASK_QUESTION_KIND), CIB_ASK_QUESTION_KIND_PERMISSION);
    made->seq = frame->seq;
    return true;
}

static void drop(desk *d, size_t at) {
    d->waiting--;
    memmove(&d->asks[at], &d->asks[at + 1], (d->waiting - at) * sizeof d->asks[0]);
}

void desk_settle(desk *d, cib_text id) {
    for (size_t i = d->waiting; i-- > 0;)
        if (cib_text_is(id, d->asks[i].id)) drop(d, i);
}

void desk_forget(desk *d, uint64_t seq) {
    while (d->waiting > 0 && d->asks[d->waiting - 1].seq >= seq) d->waiting--;
}

enum desk_news desk_take(desk *d, const cib_frame *frame) {
    cib_text state;
    switch (frame->type) {
    case CIB_FRAME_STATUS:
        state = cib_field_text(frame, CIB_KEY_STATUS_STATE);
        d->is_working = cib_text_is(state, CIB_STATUS_STATE_WORKING);
        d->is_waiting = cib_text_is(state, CIB_STATUS_STATE_WAITING_FOR_INPUT);
        return DESK_SAME;
    case CIB_FRAME_STOP:
        d->is_working = false;
        d->is_waiting = false;
        return DESK_SAME;
    case CIB_FRAME_ASK_QUESTION:
        if (d->waiting == DESK_ASKS || !ask_of(&d->asks[d->waiting], frame)) return DESK_CROWDED;
        d->waiting++;
        return DESK_ASKED;
    case CIB_FRAME_ASK_ANSWER:
        desk_settle(d, cib_field_text(frame, CIB_KEY_ASK_ANSWER_ID));
        return DESK_SETTLED;
    default:
        return DESK_SAME;
    }
}

ask *desk_question(desk *d) {
    return d->waiting > 0 ? &d->asks[0] : NULL;
}

enum lamp desk_lamp(const desk *d) {
    if (d->waiting > 0 || d->is_waiting) return LAMP_WAITING;
    return d->is_working ? LAMP_WORKING : LAMP_DONE;
}
