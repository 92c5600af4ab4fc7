/*
 * cib.h: a claude-in-box client for microcontrollers. C99, no malloc, no globals, no recursion.
 *
 * It watches Claude Code sessions and answers their questions over one of three carriers:
 *
 *   raw TCP         cib_link_*    encrypted, one connection, no TLS needed       docs/PROTOCOL.md
 *   AES envelope    cib_http_*    encrypted, plain HTTP requests                 docs/AES-TRANSPORT.md
 *   MQTT 3.1.1      cib_mqtt_*    a broker in between, or a serial modem;        docs/MQTT.md
 *                                 plain, or with a link inside
 *
 * What travels in all of them is the same CBOR: frames come out, commands go in (cib_next, cib_cmd_*).
 *
 * The smallest whole client, over raw TCP:
 *
 *   static uint8_t rx[CIB_RECORD_ROOM(512)], tx[CIB_RECORD_ROOM(192)];
 *   static cib_key key;
 *   static cib_link box;
 *   static cib_follow follow;
 *
 *   cib_key_init(&key, KEY_ID, KEY_SECRET, boot_counter_raised_and_saved());
 *   cib_link_init(&box, &key, &port, rx, sizeof rx, tx, sizeof tx);
 *   cib_follow_init(&follow, SESSION);
 *   for (;;) {
 *       connect_the_socket();                              // yours; then, on every new connection:
 *       int n = cib_link_start(&box);
 *       while (n >= 0) {
 *           if ((n = cib_link_poll(&box)) > 0) {           // n bytes of plaintext at box.plain
 *               cib_reader r = cib_reader_of(box.plain, (size_t)n);
 *               cib_item item;
 *               while (cib_next(&r, &item) > 0)
 *                   if (cib_follow_take(&follow, &item) == CIB_NEW)
 *                       handle(&item.frame);               // once each, in order
 *           }
 *           if (n >= 0 && cib_link_ready(&box) && cib_follow_due(&follow)) {
 *               cib_writer w = cib_link_writer(&box);
 *               cib_cmd_attach(&w, &follow, ALL_TYPES);
 *               n = cib_link_send(&box, &w);
 *           }
 *           sleep_until_bytes_come_or(100);
 *       }
 *       close_the_socket();
 *       cib_follow_lost(&follow);                          // attach again where it stopped
 *       wait_before_the_next_try();                        // cib_backoff
 *   }
 *
 * Rules that hold everywhere:
 *
 *   - Functions return an int: negative is one of enum cib_error, 0 is "done" or "nothing", positive counts.
 *   - Nothing here waits, but for sending: a send that is not taken within CIB_SEND_MS is CIB_ELINE.
 *   - Buffers are yours, and live as long as what they were given to. Pointers into received bytes are good
 *     until the next poll.
 *   - What is too long for a buffer is skipped and counted, and what follows it is read.
 *   - One context is for one task; different contexts share nothing.
 *   - Every number from outside is checked against what is left to read, once for each read. No cast reads memory.
 */
#ifndef CIB_H
#define CIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cib_frames.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ results and limits */

enum cib_error {
    CIB_OK = 0,
    CIB_ELINE = -1,    /* the port said that the connection is dead, or took nothing for CIB_SEND_MS: connect again */
    CIB_EDEAD = -2,    /* nothing whole came for too long (90 s on a link): close, connect again */
    CIB_EKEY = -3,     /* a reply or record does not verify: wrong key, or somebody in between. Close, connect again */
    CIB_EFORMAT = -4,  /* bytes that this protocol does not know: close, connect again */
    CIB_EROOM = -5,    /* your buffer is too small for this: nothing was sent */
    CIB_EBUSY = -6,    /* not now: no link yet, or a request is under way */
    CIB_EBYE = -7,     /* the other side said goodbye: link.bye has the reason, one of enum cib_bye */
    CIB_EREFUSED = -8, /* CONNACK or HTTP status said no: .status has the number */
    CIB_ERANDOM = -9,  /* the port has no random bytes, or the cipher failed */
    CIB_EREKEY = -10,  /* the keys of this link are used up: connect again at once */
};

/* Longest time in milliseconds that a send may block. */
#ifndef CIB_SEND_MS
#define CIB_SEND_MS 5000u
#endif

/* Bytes of a buffer that holds a record with n bytes of plaintext: length, ciphertext, tag. At least 128 to receive. */
#define CIB_RECORD_ROOM(n) ((n) + 18u)

#define CIB_KEY_ID_BYTES 8
#define CIB_SECRET_BYTES 32
/* A command's id as cib_id makes it, with its end: "0000001f-00000007". */
#define CIB_ID_ROOM 18

/* ------------------------------------------------------------------ port: what the library needs of your board */

typedef struct cib_port {
    void *user;
    /* Takes up to n bytes; returns how many it took, 0 for none now, negative when the connection is dead. */
    int (*send)(void *user, const uint8_t *bytes, size_t n);
    /* Gives up to room bytes that are there; 0 for none now (never for "closed"), negative when the connection is dead. */
    int (*recv)(void *user, uint8_t *bytes, size_t room);
    /* Milliseconds since any time; may wrap. */
    uint32_t (*ms)(void *user);
    /* Fills n bytes with random ones; 0, or negative when it cannot. Not for MQTT without a link: may be NULL there. */
    int (*random)(void *user, uint8_t *bytes, size_t n);
} cib_port;

/* ------------------------------------------------------------------ CBOR (RFC 8949, the subset of docs/frames.cddl) */

/* A place in received bytes. After an error `error` stays set and every read gives 0 or nothing. */
typedef struct cib_reader {
    const uint8_t *at;
    const uint8_t *end;
    int error; /* 0 or CIB_EFORMAT */
} cib_reader;

enum cib_cbor_kind {
    CIB_CBOR_UINT = 0,
    CIB_CBOR_NEGATIVE = 1,
    CIB_CBOR_BYTES = 2,
    CIB_CBOR_TEXT = 3,
    CIB_CBOR_ARRAY = 4,
    CIB_CBOR_MAP = 5,
    CIB_CBOR_TAG = 6, /* never sent: an error */
    CIB_CBOR_OTHER = 7, /* false, true, null, floats */
    CIB_CBOR_END = 8, /* nothing left, or an error */
};

/* Text or bytes inside the received bytes; text is UTF-8 without an end mark. at is NULL where there is none. */
typedef struct cib_text {
    const uint8_t *at;
    size_t n;
} cib_text;

cib_reader cib_reader_of(const uint8_t *bytes, size_t n);
/* What comes next; reads nothing. */
enum cib_cbor_kind cib_peek(const cib_reader *r);
/* A head of that kind: a number's value, the length of bytes or text, the count of items or pairs. */
uint64_t cib_read_head(cib_reader *r, enum cib_cbor_kind kind);
uint64_t cib_read_uint(cib_reader *r);
/* Bytes or text, whichever is there. */
cib_text cib_read_text(cib_reader *r);
/* true for CBOR true, false for false and null; anything else is an error. */
bool cib_read_bool(cib_reader *r);
/* Over one whole item, however deep it is (a count, no recursion). */
void cib_skip(cib_reader *r);
/* Does text equal this C string? */
bool cib_text_is(cib_text text, const char *word);

/* A place in a buffer to fill. What does not fit sets `full`, and nothing is written from then on. */
typedef struct cib_writer {
    uint8_t *start;
    uint8_t *at;
    uint8_t *end;
    bool full;
} cib_writer;

cib_writer cib_writer_of(uint8_t *bytes, size_t room);
/* Bytes written so far. */
size_t cib_written(const cib_writer *w);
void cib_write_head(cib_writer *w, enum cib_cbor_kind kind, uint64_t value);
void cib_write_uint(cib_writer *w, uint64_t value);
void cib_write_bool(cib_writer *w, bool value);
void cib_write_text(cib_writer *w, const char *text);
void cib_write_text_n(cib_writer *w, cib_text text);
void cib_write_bytes(cib_writer *w, const uint8_t *bytes, size_t n);

/* ------------------------------------------------------------------ frames, replies and what else the box says */

/* One frame; `data` stands before the pairs of its map. */
typedef struct cib_frame {
    uint32_t type; /* enum cib_type, or a number of a later version */
    uint64_t seq;  /* in CIB_FRAME_PTY_RAW: byte offset */
    uint64_t ts;   /* milliseconds since 1970 */
    const uint8_t *session; /* CIB_SESSION_BYTES */
    cib_reader data;
    uint32_t pairs;
    bool last; /* false while more parts of this frame follow (CIB_KEY_PART) */
} cib_frame;

/* One reply; `body` stands before the pairs of its map, whose keys are text. */
typedef struct cib_reply {
    bool ok;
    uint32_t id;   /* of a command with a number as id, else 0 */
    cib_text name; /* of a command with a text as id, else NULL */
    cib_text code; /* of an error: "ask_settled", docs/ERRORS.md */
    bool retryable;
    cib_reader body;
    uint32_t pairs;
} cib_reply;

enum cib_item_kind {
    CIB_ITEM_FRAME,
    CIB_ITEM_REPLY,
    CIB_ITEM_GAP,      /* retention has overtaken the reader: frames from..to-1 are gone */
    CIB_ITEM_DETACHED, /* this attachment ended */
    CIB_ITEM_BYE,      /* the connection ends */
    CIB_ITEM_NEXT,     /* the next token of an AES envelope: for cib_http, which keeps it */
    CIB_ITEM_OTHER,    /* of a later version: skip it */
};

enum cib_bye { /* docs/PROTOCOL.md says what to do after each */
    CIB_BYE_OTHER = 0, /* a later version's: as a cut */
    CIB_BYE_REKEY,
    CIB_BYE_STOPPING,
    CIB_BYE_TOO_FAR_BEHIND,
    CIB_BYE_SUPERSEDED, /* somebody else came with this key: stop */
    CIB_BYE_REVOKED,    /* stop */
    CIB_BYE_EXPIRED,    /* stop */
    CIB_BYE_BAD_REQUEST,
    CIB_BYE_DETACHED,
    CIB_BYE_MAX_FRAMES, /* an AES stream gave what was asked for */
    CIB_BYE_WAIT_MS,
};

typedef struct cib_item {
    enum cib_item_kind kind;
    cib_frame frame;        /* CIB_ITEM_FRAME */
    cib_reply reply;        /* CIB_ITEM_REPLY */
    uint64_t from, to;      /* CIB_ITEM_GAP */
    enum cib_bye reason;    /* CIB_ITEM_BYE, CIB_ITEM_DETACHED */
    const uint8_t *session; /* CIB_ITEM_GAP, CIB_ITEM_DETACHED; NULL where none was named */
    cib_text token;         /* CIB_ITEM_NEXT: 16 bytes */
} cib_item;

/* The next item of a plaintext or an MQTT payload: 1, 0 at the end, CIB_EFORMAT. */
int cib_next(cib_reader *r, cib_item *item);
/* A field of a frame by its CIB_KEY_...: puts `value` before it; false where the frame has none. */
bool cib_field(const cib_frame *frame, uint32_t key, cib_reader *value);
/* The same, for a field that is text; at is NULL where there is none. */
cib_text cib_field_text(const cib_frame *frame, uint32_t key);
/* A field of a reply by its name. */
bool cib_reply_field(const cib_reply *reply, const char *name, cib_reader *value);

/* ------------------------------------------------------------------ following one session, over any carrier */

/* Where a client stands in a session. To survive a power cut, keep `seq` and `epoch` in flash and put them back after init. */
typedef struct cib_follow {
    uint8_t session[CIB_SESSION_BYTES];
    uint64_t seq;   /* of the last frame handled; 0: from the beginning */
    uint32_t epoch; /* of the last verdict; 0: none yet */
    uint32_t attach_id; /* of the attach that is under way or in force; for each session from a range of its own */
    uint8_t state;
} cib_follow;

enum cib_taken {
    CIB_OLD = 0,  /* seen before, of another session, or not about this session: nothing to do */
    CIB_NEW,      /* a frame to handle: each once, in order. Of one in parts each part, and after a cut again from part 0 */
    CIB_GAP,      /* frames are gone for ever before the next one; show it */
    CIB_AHEAD,    /* forget what you know from follow->seq + 1 on: those numbers come again */
    CIB_FOLLOWED, /* the attach is in force */
    CIB_UNFOLLOWED, /* the attach was refused, or ended: item tells why. Unless cib_follow_due says that it is due again, show it
                     * to a person, or where the reply is retryable call cib_follow_lost after a wait */
};

void cib_follow_init(cib_follow *f, const uint8_t session[CIB_SESSION_BYTES]);
/* From now on, not from the beginning: only frames that are newer than the attach. */
void cib_follow_from_now(cib_follow *f);
/* Is an attach to be sent on this connection? */
bool cib_follow_due(const cib_follow *f);
/* The connection is gone: the next attach goes on behind seq. */
void cib_follow_lost(cib_follow *f);
/* What an item means for this session. Give it every item that came. */
enum cib_taken cib_follow_take(cib_follow *f, const cib_item *item);

/* Milliseconds to wait before try number `tries` (0: the first after a connection that worked): 0.25 s doubled up to 15 s,
 * half of it by `random`, any 32 bits. */
uint32_t cib_backoff(uint32_t tries, uint32_t random);

/* ------------------------------------------------------------------ commands */

/* An id that is new for each thing you want done: from the boot counter and a number that you count up. */
void cib_id(char out[CIB_ID_ROOM], uint32_t boot, uint32_t number);

/* Bits for `types` of an attach: CIB_TYPE(CIB_FRAME_STATUS) | CIB_TYPE(CIB_FRAME_ASK_QUESTION). 0 means all. */
#define CIB_TYPE(type) (UINT32_C(1) << (type))

/* Follows f: {cmd, id, session, from, epoch, types}. Counts f->attach_id up and marks f as asked. */
void cib_cmd_attach(cib_writer *w, cib_follow *f, uint32_t types);
/* The same for one AES request: ends after max_frames frames or wait_ms milliseconds; records of at most max_bytes. */
void cib_cmd_attach_for(cib_writer *w, cib_follow *f, uint32_t types, uint32_t max_frames, uint32_t wait_ms, uint32_t max_bytes);
/* Settles the question `ask` (CIB_KEY_ASK_QUESTION_ID): allow or deny. */
void cib_cmd_decide(cib_writer *w, const char *id, const uint8_t session[CIB_SESSION_BYTES], cib_text ask, bool allow);
/* Answers a question by its choice, counted from 0. */
void cib_cmd_choose(cib_writer *w, const char *id, const uint8_t session[CIB_SESSION_BYTES], cib_text ask, uint32_t choice);
void cib_cmd_input(cib_writer *w, const char *id, const uint8_t session[CIB_SESSION_BYTES], const char *text);
/* Any other: begin with how many pairs you will write after cmd, id and session (NULL: none), then write them with
 * cib_write_text (the key) and another cib_write_... (the value). id NULL: number is the id. */
void cib_cmd_begin(cib_writer *w, const char *cmd, const char *id, uint32_t number, const uint8_t *session, uint32_t pairs);

/* One command that must happen once: kept, with its id, until its reply has come, and sent again after every cut. */
typedef struct cib_outbox {
    uint8_t *bytes; /* yours */
    uint16_t room;
    uint16_t n;    /* 0: empty */
    bool sent;     /* on this connection: set it when you have sent bytes */
} cib_outbox;

void cib_outbox_init(cib_outbox *o, uint8_t *bytes, uint16_t room);
/* Begin a command here (the writer is full while one is kept), then cib_outbox_keep it. */
cib_writer cib_outbox_writer(cib_outbox *o);
/* 0, CIB_EROOM, CIB_EBUSY. The command must carry a text id. */
int cib_outbox_keep(cib_outbox *o, const cib_writer *w);
bool cib_outbox_due(const cib_outbox *o);
/* The connection is gone. */
void cib_outbox_lost(cib_outbox *o);
/* Is this the reply to it? Then it is empty again, unless the error is retryable: then it is due again; wait a second first. */
bool cib_outbox_take(cib_outbox *o, const cib_item *item);

/* ------------------------------------------------------------------ keys */

/* A device's key: from `cib token create "desk lamp" --device --scopes sessions:read,sessions:answer`. Give each device its own. */
typedef struct cib_key {
    uint8_t id[CIB_KEY_ID_BYTES];
    uint8_t prk0[32]; /* made from the secret, which need not be kept */
    uint32_t boot;    /* raised and saved in flash before the first connection after every start */
    uint32_t uses;    /* connections and requests since then */
} cib_key;

int cib_key_init(cib_key *key, const uint8_t id[CIB_KEY_ID_BYTES], const uint8_t secret[CIB_SECRET_BYTES], uint32_t boot);
/* A key from its text, "<16 hex digits>:<64 hex digits>" as the box prints it. 0 or CIB_EFORMAT. */
int cib_key_parse(cib_key *key, const char *text, uint32_t boot);
/* The MQTT password of a sealed link: 32 hex digits and an end mark. The user name is the key id in hex. */
int cib_key_mqtt_password(const cib_key *key, char out[33]);

/* ------------------------------------------------------------------ CIB1 links */

typedef struct cib_link {
    cib_key *key;
    const cib_port *port;
    uint8_t *rx, *tx;
    uint16_t rx_room, tx_room;
    uint16_t got;  /* bytes of the record that is coming in */
    uint8_t state;
    uint16_t accepts; /* largest plaintext the box takes */
    uint32_t sent, received; /* counters of the next records */
    uint32_t heard, spoke;   /* ms of the last whole record, and of ours */
    uint8_t send_key[32], receive_key[32];
    const uint8_t *plain; /* the plaintext of the last poll */
    enum cib_bye bye;
} cib_link;

/* rx: CIB_RECORD_ROOM of the largest plaintext you accept, at least 128, or better 512; tx: of your longest command, at least 64 bytes. */
void cib_link_init(cib_link *l, cib_key *key, const cib_port *port, uint8_t *rx, size_t rx_room, uint8_t *tx, size_t tx_room);
/* A connection has just come about: sends the hello. Everything of the one before is forgotten. */
int cib_link_start(cib_link *l);
/* Moves what there is: >0 bytes of plaintext at l->plain, 0 nothing, or an error, after which the connection is to be closed.
 * Keeps the link alive (every 30 s), and finds that it is dead (90 s). Call it at least every second, or when bytes come.
 * Plaintext must be gone through before the next call. A goodbye is found here: what came before it in the same record is
 * given first, then CIB_EBYE. */
int cib_link_poll(cib_link *l);
/* May commands be sent? */
bool cib_link_ready(const cib_link *l);
/* For the next command, in tx: write one or more, then send them as one record. */
cib_writer cib_link_writer(cib_link *l);
int cib_link_send(cib_link *l, const cib_writer *w);
/* Sends bytes that were written elsewhere (an outbox). */
int cib_link_send_bytes(cib_link *l, const uint8_t *bytes, size_t n);
/* Says {"bye":"done"}; then close the connection. */
int cib_link_end(cib_link *l);

/* The parts, without I/O, for other carriers (cib_mqtt's sealed links use them). Sizes in bytes. */
#define CIB_HELLO_BYTES 48
#define CIB_REPLY_BYTES 40
/* Makes new keys' first half: the hello, at l->tx, where it must stay until the reply has come. */
int cib_link_hello(cib_link *l, uint8_t flags);
/* Checks the box's reply (CIB_REPLY_BYTES) and makes the keys. */
int cib_link_reply(cib_link *l, const uint8_t *reply, size_t n);
/* Seals n bytes of plaintext at record + 2 in place; returns the record's bytes, n + 18. */
int cib_link_seal(cib_link *l, uint8_t *record, size_t n);
/* Opens a whole record in place; returns the plaintext's bytes, at record + 2. */
int cib_link_open(cib_link *l, uint8_t *record, size_t n);
/* Forgets the keys. */
void cib_link_wipe(cib_link *l);

/* ------------------------------------------------------------------ AES envelope over HTTP */

/* One request and its response at a time, each over a connection of its own (or a kept one). */
typedef struct cib_http {
    cib_key *key;
    const cib_port *port;
    const char *host; /* for the Host header: "box.local:8080" */
    uint8_t *buf;     /* of the request, then of one record of the response */
    uint16_t room;
    uint16_t got;
    uint16_t status;  /* HTTP status of the response, 0 before it */
    uint8_t state;    /* of the response as HTTP */
    uint8_t step;     /* of what it carries */
    bool chunked;
    bool has_token;
    uint8_t line;     /* bytes of the header line that is being read that count */
    uint32_t left;    /* of the body or chunk */
    uint32_t counter; /* of the next record */
    uint32_t heard;   /* ms of the last whole record */
    uint32_t token_at; /* ms when the token came */
    uint8_t token[16];
    uint8_t response_key[32]; /* PRK until Rs has come, then Kresp */
    const uint8_t *plain;
} cib_http;

/* buf: CIB_HTTP_ROOM of your longest commands or of the largest record you ask for (max_bytes), whichever is more. */
#define CIB_HTTP_ROOM(n) ((n) + 66u)
void cib_http_init(cib_http *h, cib_key *key, const cib_port *port, const char *host, uint8_t *buf, size_t room);
/* Is a token needed first? At the beginning, after CIB_EREFUSED with status 401, and after a stream of more than 120 s. */
bool cib_http_needs_token(const cib_http *h);
/* GET /aes/token, on a new connection; then poll until CIB_HTTP_END. */
int cib_http_get_token(cib_http *h);
/* For the commands of one request. */
cib_writer cib_http_writer(cib_http *h);
/* POST /aes with them, on a new connection; then poll. */
int cib_http_post(cib_http *h, const cib_writer *w);
/* >0 bytes of plaintext at h->plain, for cib_next; 0 nothing yet; CIB_HTTP_END after the marked last record (or the token): then the
 * connection may carry the next request. Or CIB_EREFUSED with h->status, CIB_EDEAD after 45 s of silence, CIB_ELINE where the line ended
 * before, CIB_EKEY, CIB_EFORMAT, CIB_EROOM where a record is longer than buf: ask for shorter ones with max_bytes. */
int cib_http_poll(cib_http *h);
#define CIB_HTTP_END (-100)

/* ------------------------------------------------------------------ MQTT 3.1.1 */

/* One connection; QoS 0 and 1; one message of QoS 1 of ours under way at a time. */
typedef struct cib_mqtt {
    const cib_port *port;
    uint8_t *buf; /* the packet that is coming in */
    uint16_t room;
    uint16_t got;
    uint32_t left;     /* of a packet that is too long for buf and is skipped */
    uint32_t heard, spoke;
    uint16_t keepalive; /* seconds */
    uint16_t packet;    /* id of our last packet with one */
    uint16_t waiting;   /* id that an acknowledgement is due for, 0: none */
    uint16_t skipped;   /* messages that did not fit buf */
    uint8_t state;
    uint8_t status;     /* of CONNACK or SUBACK: 0 is yes; docs/MQTT.md has the others */
    const char *box;    /* at a broker that the box has joined as a bridge: its name there, for sealed links; else NULL */
} cib_mqtt;

typedef struct cib_message {
    cib_text topic;
    cib_text payload;
    uint16_t packet; /* of QoS 1: to be acknowledged with cib_mqtt_ack once handled; 0: of QoS 0 */
    bool retained, again;
} cib_message;

/* buf: the longest message you take: topic, payload and 9 bytes; at least 16. Ask for short ones with max_bytes. A longer one is skipped,
 * acknowledged and counted; one whose topic alone does not fit is CIB_EROOM. */
void cib_mqtt_init(cib_mqtt *m, const cib_port *port, uint8_t *buf, size_t room);
/* On every new connection, and after any silence on a serial bridge: forgets half-read packets and says CONNECT (clean session).
 * Behind a transparent serial bridge nobody tells that the connection was lost: CIB_EDEAD from poll does. */
int cib_mqtt_connect(cib_mqtt *m, const char *client_id, const char *user, const char *password, uint16_t keepalive_s);
int cib_mqtt_subscribe(cib_mqtt *m, const char *filter, uint8_t qos);
/* QoS 0, or 1: then CIB_EBUSY until the one before is acknowledged (m->waiting is 0 again). `again`: the DUP flag, for a
 * message sent before on this session. */
int cib_mqtt_publish(cib_mqtt *m, const char *topic, const uint8_t *payload, size_t n, uint8_t qos, bool again);
/* Moves what there is: 1 a message, 0 nothing, or an error, after which connect again; but CIB_EREFUSED with a status of 128 is a
 * subscription that was refused, and the connection goes on. Pings every half keepalive. Liveness counts whole packets: 1.5 times
 * keepalive without one is CIB_EDEAD; so are 10 s without CONNACK. Call it at least every second, or when bytes come. */
int cib_mqtt_poll(cib_mqtt *m, cib_message *message);
/* Connected, and nothing of ours waits for an acknowledgement. */
bool cib_mqtt_ready(const cib_mqtt *m);
int cib_mqtt_ack(cib_mqtt *m, const cib_message *message);
int cib_mqtt_disconnect(cib_mqtt *m);

/* Joins up to three parts into a topic: cib_topic(out, room, "cib/client/", id, "/reply"); NULL parts are left out. CIB_EROOM or its length. */
int cib_topic(char *out, size_t room, const char *a, const char *b, const char *c);
/* A session's id as text, 36 characters and an end mark, and back (0 or CIB_EFORMAT). */
void cib_session_text(char out[37], const uint8_t session[CIB_SESSION_BYTES]);
int cib_session_parse(uint8_t session[CIB_SESSION_BYTES], const char *text);

/* A sealed link over MQTT: its hello and records, through the functions above. Come in with the key's id in hex as user name, with
 * cib_key_mqtt_password, and a client id that begins with "<key id>-". Records are opened where cib_mqtt has put them: the link needs
 * no rx (NULL, 0); buf has room for CIB_MQTT_RECORD_ROOM of the largest plaintext, at least 128, and 39 bytes more (the message around
 * it); tx for CIB_MQTT_RECORD_ROOM of your longest command.
 * Once cib_mqtt_ready: cib_mqtt_link_start; then give it every message, and acknowledge each; >0 is plaintext at l->plain, as from
 * cib_link_poll. Whatever these return below 0, but for CIB_EBUSY and CIB_EROOM of a send: disconnect, connect again. After CIB_EBYE
 * another link may begin on the same connection. */
#define CIB_MQTT_RECORD_ROOM(n) ((n) + 22u)
int cib_mqtt_link_start(cib_mqtt *m, cib_link *l);
int cib_mqtt_link_take(cib_mqtt *m, cib_link *l, const cib_message *message);
cib_writer cib_mqtt_link_writer(cib_link *l);
int cib_mqtt_link_send(cib_mqtt *m, cib_link *l, const cib_writer *w);
/* Keep-alive and deadlines: call it beside cib_mqtt_poll. */
int cib_mqtt_link_tick(cib_mqtt *m, cib_link *l);

#ifdef __cplusplus
}
#endif

#endif
