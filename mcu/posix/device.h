/*
 * device.h: what every device does, whatever its carrier: comes in, follows a session, sends what must happen once until
 * it has, and comes back after every cut. It tells one piece of news at a time; what to show is yours.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include "carrier.h"

/* Longest command that is kept: one that fits whatever a carrier puts around it (66 bytes in an envelope). */
#define DEVICE_KEEPS (CARRIER_SAYS - 128u)

typedef struct device {
    carrier carrier;
    cib_follow follow;   /* where we stand in the session */
    bool has_session;    /* false: the one that needs you first is asked for, and taken */
    uint32_t types;      /* CIB_TYPE bits of what is wanted; 0: all */
    uint32_t max_bytes;  /* longest frame that is wanted, 128 or more; 0: whatever fits */
    cib_outbox outbox;   /* the command that must happen once */
    uint8_t kept[DEVICE_KEEPS];

    cib_item item;        /* DEVICE_ITEM: what came, */
    enum cib_taken taken; /* and what it means for the session */
    bool settled;         /* it is the reply to the outbox */
    int why;              /* DEVICE_DOWN, DEVICE_OVER: one of enum cib_error, */
    enum cib_bye bye;     /* and after CIB_EBYE the box's reason */

    uint8_t state;
    bool is_up, is_quiet, listens;
    uint8_t turned_away;     /* connections that ended before the box ever knew us */
    uint32_t tries, wait_ms; /* since a connection that worked; before the next */
    uint32_t since;          /* ms when the waiting began */
    cib_reader reader;       /* items of the last poll that are not told yet */
} device;

enum device_news {
    DEVICE_UP,    /* the box has let us in */
    DEVICE_ITEM,  /* d->item has come */
    DEVICE_QUIET, /* everything that came has been told: a good time to draw */
    DEVICE_INPUT, /* the other file has something to read */
    DEVICE_DOWN,  /* the connection is gone, d->why; it comes back by itself */
    DEVICE_OVER,  /* it is of no use to come back, d->why: a person must look */
};

/* After carrier_init, carrier_key or carrier_token, and carrier_name. session: NULL to find one. */
void device_init(device *d, const uint8_t *session);
/* Waits for news of the box and, where `other` is no negative number, of that file. */
enum device_news device_next(device *d, int other);
/* Milliseconds until device_next has something to do by itself. */
#define DEVICE_TICK_MS 1000

#endif
