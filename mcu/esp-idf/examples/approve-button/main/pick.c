/* pick.c: sessions.list with a limit of one: it begins with those that wait for a person, then those that work, the newest first. */
#include "pick.h"

#include <string.h>

#include <esp_log.h>
#include <sdkconfig.h>

/* Numbers of attaches are made of a session's last bytes (cib_follow_init): 1 is none of them. */
#define PICK_ID 1u
#define AGAIN_MS ((uint32_t)CONFIG_DESK_PICK_MS)

void pick_restart(pick *p, uint32_t now) {
    p->is_asked = false;
    p->asked_at = now - AGAIN_MS;
}

bool pick_is_due(const pick *p, uint32_t now) {
    return !p->is_asked && now - p->asked_at >= AGAIN_MS;
}

void pick_ask(pick *p, cib_writer *w, uint32_t now) {
    p->is_asked = true;
    p->asked_at = now;
    cib_cmd_begin(w, "sessions.list", NULL, PICK_ID, NULL, 1);
    cib_write_text(w, "limit");
    cib_write_uint(w, 1);
}

/* The id in {session: 16 bytes, ...}. */
static bool read_session(cib_reader *r, uint8_t session[CIB_SESSION_BYTES]) {
    for (uint64_t pairs = cib_read_head(r, CIB_CBOR_MAP); pairs > 0 && r->error == 0; pairs--) {
        if (!cib_text_is(cib_read_text(r), "session")) {
            cib_skip(r);
            continue;
        }
        cib_text id = cib_read_text(r);
        if (id.at == NULL || id.n != CIB_SESSION_BYTES) return false;
        memcpy(session, id.at, CIB_SESSION_BYTES);
        return true;
    }
    return false;
}

/* {re: PICK_ID, ok: true, sessions: [...]} */
bool pick_take(pick *p, const cib_item *item, uint8_t session[CIB_SESSION_BYTES]) {
    if (item->kind != CIB_ITEM_REPLY || item->reply.id != PICK_ID) return false;
    p->is_asked = false;
    if (!item->reply.ok) ESP_LOGW("pick", "no list of sessions: %.*s", (int)item->reply.code.n, (const char *)item->reply.code.at);
    cib_reader r;
    if (!item->reply.ok || !cib_reply_field(&item->reply, "sessions", &r)) return false;
    return cib_read_head(&r, CIB_CBOR_ARRAY) > 0 && read_session(&r, session);
}
