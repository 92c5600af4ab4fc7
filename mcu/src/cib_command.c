/* cib_command.c: commands as CBOR maps (docs/PROTOCOL.md, "Commands"), and one of them kept until it has been answered. */
#include "cib.h"
#include "cib_bytes.h"
#include "cib_text.h"

#include <string.h>

/* ------------------------------------------------------------------ commands */

void cib_cmd_begin(cib_writer *w, const char *cmd, const char *id, uint32_t number, const uint8_t *session, uint32_t pairs)
{
    cib_write_head(w, CIB_CBOR_MAP, (uint64_t)pairs + 2 + (session != NULL));
    cib_write_text(w, "cmd");
    cib_write_text(w, cmd);
    cib_write_text(w, "id");
    if (id != NULL)
        cib_write_text(w, id);
    else
        cib_write_uint(w, number);
    if (session != NULL) {
        cib_write_text(w, "session");
        cib_write_bytes(w, session, CIB_SESSION_BYTES);
    }
}

void cib_cmd_decide(cib_writer *w, const char *id, const uint8_t session[CIB_SESSION_BYTES], cib_text ask, bool allow)
{
    cib_cmd_begin(w, "answer", id, 0, session, 2);
    cib_write_text(w, "ask");
    cib_write_text_n(w, ask);
    cib_write_text(w, "decision");
    cib_write_text(w, allow ? "allow" : "deny");
}

void cib_cmd_choose(cib_writer *w, const char *id, const uint8_t session[CIB_SESSION_BYTES], cib_text ask, uint32_t choice)
{
    cib_cmd_begin(w, "answer", id, 0, session, 2);
    cib_write_text(w, "ask");
    cib_write_text_n(w, ask);
    cib_write_text(w, "choices");
    cib_write_head(w, CIB_CBOR_ARRAY, 1);
    cib_write_uint(w, choice);
}

void cib_cmd_input(cib_writer *w, const char *id, const uint8_t session[CIB_SESSION_BYTES], const char *text)
{
    cib_cmd_begin(w, "input", id, 0, session, 1);
    cib_write_text(w, "text");
    cib_write_text(w, text);
}

void cib_id(char out[CIB_ID_ROOM], uint32_t boot, uint32_t number)
{
    uint8_t bytes[4];
    cib_put32(bytes, boot);
    out = cib_hex(out, bytes, sizeof bytes);
    *out++ = '-';
    cib_put32(bytes, number);
    *cib_hex(out, bytes, sizeof bytes) = 0;
}

/* ------------------------------------------------------------------ one command that must happen once */

void cib_outbox_init(cib_outbox *o, uint8_t *bytes, uint16_t room)
{
    o->bytes = bytes;
    o->room = room;
    o->n = 0;
    o->sent = false;
}

cib_writer cib_outbox_writer(cib_outbox *o)
{
    cib_writer w = cib_writer_of(o->bytes, o->room);
    w.full = o->n != 0;
    return w;
}

int cib_outbox_keep(cib_outbox *o, const cib_writer *w)
{
    if (o->n != 0)
        return CIB_EBUSY;
    if (w->full)
        return CIB_EROOM;
    o->n = (uint16_t)cib_written(w);
    o->sent = false;
    return CIB_OK;
}

bool cib_outbox_due(const cib_outbox *o)
{
    return o->n != 0 && !o->sent;
}

void cib_outbox_lost(cib_outbox *o)
{
    o->sent = false;
}

bool cib_outbox_take(cib_outbox *o, const cib_item *item)
{
    const cib_reply *reply = &item->reply;
    cib_reply kept = {0}; /* a command is a map with text keys, as a reply is: its id is found the same way */
    cib_reader id;
    if (item->kind != CIB_ITEM_REPLY || o->n == 0 || reply->name.at == NULL)
        return false;
    kept.body = cib_reader_of(o->bytes, o->n);
    kept.pairs = (uint32_t)cib_read_head(&kept.body, CIB_CBOR_MAP);
    if (!cib_reply_field(&kept, "id", &id))
        return false;
    cib_text name = cib_read_text(&id);
    if (name.n != reply->name.n || memcmp(name.at, reply->name.at, name.n) != 0)
        return false;
    if (reply->ok || !reply->retryable)
        o->n = 0;
    o->sent = false;
    return true;
}
